package ttl

import (
	"context"
	"time"
)

// SweepFunc removes up to budget records whose deadline is due at now. It returns how
// many index entries it dealt with and the deadline that comes due next (Never if none
// is known), and must look at a record's true deadline again before it removes it.
//
// If n is below budget and next is not due, no record is left that is due at now, and every change
// that began before the call has finished. If now is earlier than in the last call, the clock is about
// to go back.
type SweepFunc func(ctx context.Context, now Instant, budget int) (n int, next Instant, err error)

// Sweeper calls a SweepFunc in the background to free the space of ended records. No read depends on it having run: reads judge by the deadline itself. Only a
// Forward clock waits for it before it goes back.
type Sweeper struct {
	// Clock paces the sweeper. Nil means System. A *Forward is released by the sweeper, and
	// no one else may do that.
	Clock Clock
	// Sweep does the work of one batch.
	Sweep SweepFunc
	// Budget is the size of one batch. Zero means 512.
	Budget int
	// MaxSleep is the longest pause, so a deadline that was shortened while the sweeper
	// slept is noticed. Zero means 1s.
	MaxSleep time.Duration
	// Pause is the pause between batches while there is work. It leaves the disk to commands.
	// Zero means 1ms.
	Pause time.Duration
	// OnError is called with the error of a failed batch. Then the sweeper sleeps for MaxSleep and
	// goes on.
	OnError func(error)
	// OnStep is called once when the wall clock is at to and should be at from. An earlier to is
	// noticed within MaxSleep if Clock is a *Forward. A later to is noticed if it is more than 2s
	// later than the sweeper's pause explains, which also happens after the machine was suspended or
	// the process was stopped. A step during a batch is not noticed. Nil does nothing.
	OnStep func(from, to Instant)
}

// Run sweeps until ctx ends and then returns. Call it in a goroutine and wait for it.
func (s Sweeper) Run(ctx context.Context) {
	s.setDefaults()
	steps := steps{clock: s.Clock, report: s.OnStep}
	for {
		now := s.Clock.Now()
		steps.back(now)
		n, next, err := s.Sweep(ctx, now, s.Budget)
		if err == nil && n < s.Budget && !next.Due(now) {
			err = s.release(ctx, now)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && s.OnError != nil {
			s.OnError(err)
		}
		if steps.sleep(ctx, s.rest(now, n, next, err)) != nil {
			return
		}
	}
}

func (s *Sweeper) setDefaults() {
	if s.Clock == nil {
		s.Clock = System
	}
	if s.Budget == 0 {
		s.Budget = 512
	}
	if s.MaxSleep == 0 {
		s.MaxSleep = time.Second
	}
	if s.Pause == 0 {
		s.Pause = time.Millisecond
	}
	if s.OnStep == nil {
		s.OnStep = func(Instant, Instant) {}
	}
}

// release lets a Forward go back if the wall clock is behind it. No record is left that is due at now.
// It calls Sweep with the earlier instant first, so that the store lowers its clock high water:
// otherwise the clock would start at now again after a crash, and end records that were stored since.
func (s *Sweeper) release(ctx context.Context, now Instant) error {
	f, ok := s.Clock.(*Forward)
	if !ok {
		return nil
	}
	wall := f.Wall()
	if now.Sub(wall) < smallStep {
		return nil
	}
	if _, _, err := s.Sweep(ctx, wall, s.Budget); err != nil {
		return err
	}
	f.Release(now, wall)
	return nil
}

func (s *Sweeper) rest(now Instant, n int, next Instant, err error) time.Duration {
	switch {
	case err != nil:
		return s.MaxSleep
	case n >= s.Budget || next.Due(now):
		return s.Pause
	case next == Never:
		return s.MaxSleep
	default:
		return min(next.Sub(now), s.MaxSleep)
	}
}

// steps notices when the wall clock is set.
type steps struct {
	clock    Clock
	report   func(from, to Instant)
	reported time.Duration // how far the clock was behind at the last report
}

// back reports the wall clock if it is behind now, and further behind than reported before.
func (s *steps) back(now Instant) {
	wall := s.wall()
	behind := now.Sub(wall)
	if behind < s.reported+smallStep {
		s.reported = max(0, min(s.reported, behind))
		return
	}
	s.reported = behind
	s.report(now, wall)
}

// largeDelay is how late a pause may end on a busy machine without a report.
const largeDelay = 2 * time.Second

// sleep sleeps for d and makes a report if the clock went further than that.
func (s *steps) sleep(ctx context.Context, d time.Duration) error {
	due := s.wall().Add(d)
	err := s.clock.Sleep(ctx, d)
	if wall := s.wall(); err == nil && wall.Sub(due) > largeDelay {
		s.report(due, wall)
	}
	return err
}

func (s *steps) wall() Instant {
	if f, ok := s.clock.(*Forward); ok {
		return f.Wall()
	}
	return s.clock.Now()
}
