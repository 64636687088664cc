package ttl_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// sleeper starts a Sleep and returns where its result will be. It is for a synctest bubble.
func sleeper(ctx context.Context, clock ttl.Clock, d time.Duration) <-chan error {
	woken := make(chan error, 1)
	go func() { woken <- clock.Sleep(ctx, d) }()
	synctest.Wait()
	return woken
}

// awake reports whether the Sleep has returned, and fails if it did so with an error.
func awake(t *testing.T, woken <-chan error) bool {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-woken:
		if err != nil {
			t.Errorf("Sleep: %v", err)
		}
		return true
	default:
		return false
	}
}

// Ensure that a manual clock stands still until it is moved, and moves by exactly that.
func TestManual_Now(t *testing.T) {
	t.Parallel()
	clock := ttl.NewManual(100)
	for _, test := range []struct {
		move func()
		want ttl.Instant
	}{
		{func() {}, 100},
		{func() { clock.Advance(time.Second) }, 1100},
		{func() { clock.Set(50) }, 50},
		{func() { clock.Advance(-10 * time.Millisecond) }, 40},
	} {
		test.move()
		if got := clock.Now(); got != test.want {
			t.Errorf("Now = %d, want %d", got, test.want)
		}
	}
}

// Ensure that Sleep ends when the clock has moved far enough, in one move or in several.
func TestManual_Sleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock := ttl.NewManual(100)
		woken := sleeper(t.Context(), clock, 10*time.Millisecond)
		for _, now := range []ttl.Instant{100, 105, 50, 109} {
			clock.Set(now)
			if awake(t, woken) {
				t.Fatalf("awake at %d, want to sleep until 110", now)
			}
		}
		clock.Set(110)
		if !awake(t, woken) {
			t.Error("asleep at 110")
		}
		woken = sleeper(t.Context(), clock, time.Hour)
		clock.Advance(2 * time.Hour)
		if !awake(t, woken) {
			t.Error("asleep after twice the time")
		}
	})
}

// Ensure that each sleeper wakes at its own time.
func TestManual_Sleep_Several(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock := ttl.NewManual(0)
		short := sleeper(t.Context(), clock, time.Second)
		long := sleeper(t.Context(), clock, 2*time.Second)
		clock.Advance(time.Second)
		if !awake(t, short) || awake(t, long) {
			t.Error("after a second: want the short sleep ended and the long one not")
		}
		clock.Advance(time.Second)
		if !awake(t, long) {
			t.Error("the long sleep has not ended after two seconds")
		}
	})
}

// Ensure that a sleep of no time ends at once and one of a part of a millisecond does not.
func TestManual_Sleep_Short(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock := ttl.NewManual(100)
		for _, d := range []time.Duration{0, -time.Second} {
			if !awake(t, sleeper(t.Context(), clock, d)) {
				t.Errorf("Sleep(%v) does not return", d)
			}
		}
		woken := sleeper(t.Context(), clock, time.Microsecond)
		if awake(t, woken) {
			t.Error("Sleep(1µs) returns before the clock moved")
		}
		clock.Set(101)
		if !awake(t, woken) {
			t.Error("Sleep(1µs) does not return after the clock moved")
		}
	})
}

// Ensure that Sleep of either clock ends with its context.
func TestClock_Sleep_Cancelled(t *testing.T) {
	t.Parallel()
	for name, clock := range map[string]ttl.Clock{"Manual": nil, "System": ttl.System} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if clock == nil {
					clock = ttl.NewManual(100)
				}
				ctx, cancel := context.WithCancel(t.Context())
				woken := sleeper(ctx, clock, time.Hour)
				cancel()
				if err := <-woken; !errors.Is(err, context.Canceled) {
					t.Errorf("Sleep = %v, want context.Canceled", err)
				}
				if err := clock.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
					t.Errorf("Sleep after the context ended = %v, want context.Canceled", err)
				}
			})
		})
	}
}

// Ensure that the system clock is the machine's: it has the same time and sleeps as long.
func TestSystem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		before := time.Now()
		if got := ttl.System.Now(); got != ttl.Of(before) {
			t.Errorf("Now = %d, want %d", got, ttl.Of(before))
		}
		if err := ttl.System.Sleep(t.Context(), 1500*time.Millisecond); err != nil {
			t.Errorf("Sleep: %v", err)
		}
		if got := time.Since(before); got != 1500*time.Millisecond {
			t.Errorf("Sleep(1.5s) took %v", got)
		}
	})
}
