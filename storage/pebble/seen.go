package pebble

import (
	"context"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// Seen implements storage.Engine. It lies in the log before whatever is stored later: who
// finds a record of after the clock was set back finds that time, too, and not the one
// before it.
//
// It says nothing of a record that came due, was shown as ended and was not yet removed when
// the process was killed: that one lives again if the clock is also set back, before the
// next start, to before its deadline. Between the deadline and the removal lie milliseconds;
// a power cut may take back about a second of removals.
func (e *Engine) Seen() ttl.Instant { return ttl.Instant(e.index.seen.Load()) }

// moveTime notes when a sweep is. Time that goes back does so on stable storage, and takes
// what was removed along: a power cut afterwards must not bring back what the later time
// had ended and the earlier one would not end.
func (e *Engine) moveTime(ctx context.Context, now ttl.Instant) error {
	x := &e.index
	if now >= x.last {
		x.last = now
		return nil
	}
	if now < e.Seen() {
		if err := e.writeSeen(now); err != nil {
			return err
		}
	}
	if err := e.await(ctx, e.logEnd()); err != nil {
		return err
	}
	x.last = now
	return nil
}

// keepSeen writes the time of the last sweep, so that a start can say how far the clock was
// set back meanwhile. The sweeper must have stopped.
func (e *Engine) keepSeen() error {
	if last := e.index.last; last > e.Seen() {
		return e.writeSeen(last)
	}
	return nil
}

func (e *Engine) writeSeen(now ttl.Instant) error {
	if _, err := e.append(layout.AppendClock(layout.NewFrame(nil), now), e.commits.RLocker()); err != nil {
		return err
	}
	defer e.commits.RUnlock()
	e.index.seen.Store(int64(now))
	return nil
}
