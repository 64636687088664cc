package ttl

import (
	"context"
	"time"
)

// SweepFunc removes up to budget records whose deadline is due at now. It returns how
// many index entries it dealt with and the deadline that comes due next (Never if none
// is known), and must look at a record's true deadline again before it removes it.
type SweepFunc func(ctx context.Context, now Instant, budget int) (n int, next Instant, err error)

// Sweeper calls a SweepFunc in the background so that the space of ended records is
// given back. Nothing depends on it having run: reads judge by the deadline itself.
type Sweeper struct {
	// Clock paces the sweeper. Nil means System.
	Clock Clock
	// Sweep does the work of one batch.
	Sweep SweepFunc
	// Budget is the size of one batch. Zero means 512.
	Budget int
	// MaxSleep is the longest pause, so a deadline that was shortened while the sweeper
	// slept is noticed. Zero means 1s.
	MaxSleep time.Duration
	// Pause lies between batches while there is work, and leaves the disk to the
	// foreground. Zero means 1ms.
	Pause time.Duration
	// OnError is told of a failed batch; the sweeper then rests MaxSleep and goes on.
	OnError func(error)
}

// Run sweeps until ctx ends and then returns. Call it in a goroutine and wait for it.
func (s Sweeper) Run(ctx context.Context) {
	s.setDefaults()
	for {
		now := s.Clock.Now()
		n, next, err := s.Sweep(ctx, now, s.Budget)
		if ctx.Err() != nil {
			return
		}
		if err != nil && s.OnError != nil {
			s.OnError(err)
		}
		if s.Clock.Sleep(ctx, s.rest(now, n, next, err)) != nil {
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
