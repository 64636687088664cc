package ttl_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// began is where the clock of each test stands at first.
const began ttl.Instant = 1_000_000

// batch is one call of a SweepFunc with its arguments.
type batch struct {
	n    int
	next ttl.Instant
	err  error
}

// bench runs a Sweeper over planned batches. It is for a synctest bubble.
type bench struct {
	t       *testing.T
	clock   *ttl.Manual
	plan    []batch       // still to come; then there is nothing to sweep
	calls   []ttl.Instant // when Sweep was called
	budgets []int
	errs    []error
	done    chan struct{} // closed when Run has returned
	cancel  context.CancelFunc
}

// run starts the sweeper and waits until it sleeps.
func run(t *testing.T, s ttl.Sweeper, plan ...batch) *bench {
	b := &bench{t: t, clock: ttl.NewManual(began), plan: plan, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	s.Clock, s.Sweep = b.clock, b.sweep
	s.OnError = func(err error) { b.errs = append(b.errs, err) }
	go func() {
		defer close(b.done)
		s.Run(ctx)
	}()
	synctest.Wait()
	return b
}

func (b *bench) sweep(_ context.Context, now ttl.Instant, budget int) (int, ttl.Instant, error) {
	b.calls, b.budgets = append(b.calls, now), append(b.budgets, budget)
	if len(b.plan) == 0 {
		return 0, ttl.Never, nil
	}
	planned := b.plan[0]
	b.plan = b.plan[1:]
	return planned.n, planned.next, planned.err
}

// stop ends the sweeper and waits for it.
func (b *bench) stop() {
	b.cancel()
	<-b.done
}

// walk moves the clock millisecond by millisecond until it stands d after began.
func (b *bench) walk(d time.Duration) {
	for b.clock.Now() < began.Add(d) {
		b.clock.Advance(time.Millisecond)
		synctest.Wait()
	}
}

// wantCalls compares when Sweep was called, in milliseconds after began.
func (b *bench) wantCalls(after ...ttl.Instant) {
	b.t.Helper()
	var got []ttl.Instant
	for _, at := range b.calls {
		got = append(got, at-began)
	}
	if !slices.Equal(got, after) {
		b.t.Errorf("Sweep was called at %v, want %v", got, after)
	}
}

// Ensure that a sweeper with work goes from batch to batch with a pause in between, and
// with none sleeps until the next deadline, but not longer than MaxSleep.
func TestSweeper_Run_Pace(t *testing.T) {
	t.Parallel()
	pace := ttl.Sweeper{Budget: 10, MaxSleep: 100 * time.Millisecond, Pause: 5 * time.Millisecond}
	tests := []struct {
		name string
		plan []batch
		want []ttl.Instant // within 250 ms
	}{
		{"Nothing", nil, []ttl.Instant{0, 100, 200}},
		{"Backlog", []batch{{10, began - 50, nil}, {10, began - 20, nil}, {3, ttl.Never, nil}}, []ttl.Instant{0, 5, 10, 110, 210}},
		{"FullBatchNextUnknown", []batch{{10, ttl.Never, nil}}, []ttl.Instant{0, 5, 105, 205}},
		{"FullBatchNextFar", []batch{{10, began + 5000, nil}}, []ttl.Instant{0, 5, 105, 205}},
		{"StillDue", []batch{{3, began, nil}}, []ttl.Instant{0, 5, 105, 205}},
		{"NextSoon", []batch{{3, began + 1, nil}}, []ttl.Instant{0, 1, 101, 201}},
		{"NextLater", []batch{{0, began + 40, nil}}, []ttl.Instant{0, 40, 140, 240}},
		{"NextAtMaxSleep", []batch{{0, began + 100, nil}}, []ttl.Instant{0, 100, 200}},
		{"NextFar", []batch{{0, began + 5000, nil}}, []ttl.Instant{0, 100, 200}},
		{"NextLatest", []batch{{0, ttl.Latest, nil}, {0, ttl.Latest, nil}}, []ttl.Instant{0, 100, 200}},
		{"Error", []batch{{10, began, errors.New("disk")}}, []ttl.Instant{0, 100, 200}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := run(t, pace, test.plan...)
				b.walk(250 * time.Millisecond)
				b.stop()
				b.wantCalls(test.want...)
			})
		})
	}
}

// Ensure that the sweeper reports a failed batch once, and goes on.
func TestSweeper_Run_Error(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		errDisk := errors.New("disk")
		b := run(t, ttl.Sweeper{MaxSleep: 10 * time.Millisecond}, batch{err: errDisk}, batch{}, batch{err: errDisk})
		b.walk(35 * time.Millisecond)
		b.stop()
		b.wantCalls(0, 10, 20, 30)
		if !slices.Equal(b.errs, []error{errDisk, errDisk}) {
			t.Errorf("OnError was told %v, want the error twice", b.errs)
		}
	})
}

// Ensure that a sweeper nobody listens to survives an error, too.
func TestSweeper_Run_ErrorUnheard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		ctx, cancel := context.WithCancel(t.Context())
		go ttl.Sweeper{Sweep: func(context.Context, ttl.Instant, int) (int, ttl.Instant, error) {
			if calls++; calls == 3 {
				cancel()
			}
			return 0, ttl.Never, errors.New("disk")
		}}.Run(ctx)
		<-ctx.Done()
		synctest.Wait()
		if calls != 3 {
			t.Errorf("Sweep was called %d times, want 3", calls)
		}
	})
}

// Ensure that Run returns when its context ends: asleep, at work, or before it began.
func TestSweeper_Run_Stops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := run(t, ttl.Sweeper{})
		b.stop()
		b.wantCalls(0)

		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		ttl.Sweeper{
			Clock: ttl.NewManual(began),
			Sweep: func(ctx context.Context, _ ttl.Instant, _ int) (int, ttl.Instant, error) {
				calls++
				cancel()
				return 0, ttl.Never, ctx.Err()
			},
			OnError: func(err error) { t.Errorf("OnError is told of the end: %v", err) },
		}.Run(ctx)
		if calls != 1 {
			t.Errorf("Sweep was called %d times, want once", calls)
		}
	})
}

// Ensure that the zero values mean what their comments say.
func TestSweeper_Run_Defaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := run(t, ttl.Sweeper{}, batch{n: 512}, batch{n: 511})
		b.walk(1100 * time.Millisecond)
		b.stop()
		b.wantCalls(0, 1, 1001)
		if b.budgets[0] != 512 {
			t.Errorf("budget = %d, want 512", b.budgets[0])
		}
	})
	synctest.Test(t, func(t *testing.T) {
		// Without a clock it is the system's, which is the bubble's here.
		var calls []ttl.Instant
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		ttl.Sweeper{Sweep: func(_ context.Context, now ttl.Instant, _ int) (int, ttl.Instant, error) {
			calls = append(calls, now)
			return 0, ttl.Never, nil
		}}.Run(ctx)
		if len(calls) != 3 || calls[2]-calls[0] != 2000 {
			t.Errorf("Sweep was called at %v, want each second", calls)
		}
	})
}

// Ensure that a clock that jumps ahead is noticed, and one that is set back does no harm
// once it has caught up.
func TestSweeper_Run_ClockJumps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := run(t, ttl.Sweeper{MaxSleep: 100 * time.Millisecond})
		b.clock.Advance(time.Hour)
		synctest.Wait()
		b.wantCalls(0, 3_600_000)
		b.clock.Set(began)
		synctest.Wait()
		b.wantCalls(0, 3_600_000)
		b.clock.Advance(time.Hour + 100*time.Millisecond)
		synctest.Wait()
		b.stop()
		b.wantCalls(0, 3_600_000, 3_600_100)
	})
}
