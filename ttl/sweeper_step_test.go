package ttl_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// shelf runs a Sweeper over records that are nothing but deadlines. It is for a synctest
// bubble.
type shelf struct {
	t         *testing.T
	wall      *settable
	clock     *ttl.Forward
	deadlines []ttl.Instant
	failures  int      // of the next calls
	told      []string // what happened, in order
}

// newShelf starts the sweeper, with a budget of two.
func newShelf(t *testing.T, seen ttl.Instant, deadlines ...ttl.Instant) *shelf {
	s := &shelf{t: t, wall: newSettable(began), deadlines: deadlines}
	s.clock = ttl.NewForward(s.wall, seen)
	sweeper := ttl.Sweeper{
		Clock: s.clock, Sweep: s.sweep, Budget: 2, Pause: time.Millisecond,
		OnError: func(err error) { s.tell("%v", err) },
		OnStep:  func(from, to ttl.Instant) { s.tell("step from %d to %d", from-began, to-began) },
	}
	go sweeper.Run(t.Context())
	synctest.Wait()
	return s
}

func (s *shelf) tell(format string, args ...any) {
	s.told = append(s.told, fmt.Sprintf(format, args...))
}

func (s *shelf) sweep(_ context.Context, now ttl.Instant, budget int) (n int, next ttl.Instant, err error) {
	if s.failures > 0 {
		s.failures--
		return 0, ttl.Never, errors.New("disk")
	}
	slices.Sort(s.deadlines)
	for n < budget && len(s.deadlines) > 0 && s.deadlines[0].Due(now) {
		s.deadlines = s.deadlines[1:]
		n++
	}
	s.tell("%d at %d", n, now-began)
	if len(s.deadlines) > 0 {
		next = s.deadlines[0]
	}
	return n, next, nil
}

// pass lets time pass, millisecond by millisecond.
func (s *shelf) pass(d time.Duration) {
	for range d / time.Millisecond {
		s.wall.Advance(time.Millisecond)
		synctest.Wait()
	}
}

// wants compares what happened since the last call, and where time is now.
func (s *shelf) wants(now ttl.Instant, told ...string) {
	s.t.Helper()
	if !slices.Equal(s.told, told) {
		s.t.Errorf("what happened is %q, want %q", s.told, told)
	}
	if got := s.clock.Now() - began; got != now {
		s.t.Errorf("the clock stands at %d, want %d", got, now)
	}
	s.told = nil
}

// Ensure that the clock goes back only when everything due at the highest instant is gone, that Sweep
// is called with the earlier instant first, and that the step is reported once.
func TestSweeper_Run_SetBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, ttl.Never)
		s.wants(0, "0 at 0")
		for i := range ttl.Instant(5) {
			s.deadlines = append(s.deadlines, began-i)
		}
		s.deadlines = append(s.deadlines, began+1)
		s.wall.step(-time.Hour)
		s.pass(1000 * time.Millisecond)
		s.wants(0, "step from 0 to -3599000", "2 at 0")
		s.pass(time.Millisecond)
		s.wants(0, "2 at 0")
		s.pass(time.Millisecond)
		s.wants(-3598998, "1 at 0", "0 at -3598998")
		s.pass(time.Second)
		s.wants(-3597998, "0 at -3598997")
		if len(s.deadlines) != 1 {
			t.Errorf("%d records are left, want the one that was not due", len(s.deadlines))
		}
	})
}

// Ensure that a clock that was set back while nothing ran waits for the sweeper, too.
func TestSweeper_Run_BeginsBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, began+5000, began+4000, began+5000, began+5001)
		s.wants(5000, "step from 5000 to 0", "2 at 5000")
		s.pass(time.Millisecond)
		s.wants(1, "0 at 5000", "0 at 1")
	})
}

// Ensure that time does not go back while records that are due cannot be removed.
func TestSweeper_Run_SetBackError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, ttl.Never)
		s.wants(0, "0 at 0")
		s.wall.step(-time.Minute)
		s.failures = 2
		s.pass(2 * time.Second)
		s.wants(0, "step from 0 to -59000", "disk", "disk")
		s.pass(time.Second)
		s.wants(-57_000, "0 at 0", "0 at -57000")
	})
}

// failing is a SweepFunc that fails when it is called with a certain instant.
func failing(at ttl.Instant, calls *[]ttl.Instant) ttl.SweepFunc {
	return func(_ context.Context, now ttl.Instant, _ int) (int, ttl.Instant, error) {
		*calls = append(*calls, now)
		if now == at {
			return 0, ttl.Never, errors.New("disk")
		}
		return 0, ttl.Never, nil
	}
}

// Ensure that time does not go back unless the store has noted it.
func TestSweeper_Run_SetBackUnheard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wall := ttl.NewManual(began)
		clock := ttl.NewForward(wall, began+5000)
		var calls []ttl.Instant
		go ttl.Sweeper{Clock: clock, Sweep: failing(began, &calls)}.Run(t.Context())
		synctest.Wait()
		if got := clock.Now(); got != began+5000 || len(calls) != 2 {
			t.Errorf("after %v the clock stands at %d, want %d", calls, got, began+5000)
		}
		wall.Advance(time.Second)
		synctest.Wait()
		if got := clock.Now(); got != began+1000 || len(calls) != 4 {
			t.Errorf("after %v the clock stands at %d, want %d", calls, got, began+1000)
		}
	})
}

// Ensure that a clock that is a little behind stands still until the other one has caught up, without
// a report.
func TestSweeper_Run_SmallStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, began+999)
		s.wants(999, "0 at 999")
		s.pass(998 * time.Millisecond)
		s.wants(999)
		s.pass(2 * time.Millisecond)
		s.wants(1000, "0 at 1000")
	})
}

// Ensure that each step back is reported, also one that follows before the clock went back.
func TestSweeper_Run_SetBackTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, began+10_000, began, began, began, began)
		s.wants(10_000, "step from 10000 to 0", "2 at 10000")
		s.wall.step(-500 * time.Millisecond)
		s.pass(time.Millisecond)
		s.wants(10_000, "2 at 10000")
		s.wall.step(-time.Minute)
		s.pass(time.Millisecond)
		s.wants(-60_498, "step from 10000 to -60498", "0 at 10000", "0 at -60498")
	})
}

// Ensure that a clock that was set forward is reported once, and a long pause is not.
func TestSweeper_Run_SetForward(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, ttl.Never, began+3000)
		s.wall.step(2 * time.Second)
		s.pass(time.Second)
		s.wants(3000, "0 at 0", "1 at 3000")
		s.wall.step(2001 * time.Millisecond)
		s.pass(time.Second)
		s.wants(6001, "step from 4000 to 6001", "0 at 6001")
		s.pass(time.Second)
		s.wants(7001, "0 at 7001")
	})
}

// Ensure that a clock which may go back by itself is left alone.
func TestSweeper_Run_OtherClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wall := newSettable(began)
		var calls []ttl.Instant
		go ttl.Sweeper{
			Clock: wall, Sweep: failing(-1, &calls),
			OnStep: func(from, to ttl.Instant) { t.Errorf("step from %d to %d", from, to) },
		}.Run(t.Context())
		synctest.Wait()
		wall.step(-time.Hour)
		wall.Advance(time.Second)
		synctest.Wait()
		if want := []ttl.Instant{began, began - 3_599_000}; !slices.Equal(calls, want) {
			t.Errorf("Sweep was called at %v, want %v", calls, want)
		}
	})
}
