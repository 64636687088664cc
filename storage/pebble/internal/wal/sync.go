package wal

import (
	"context"
	"runtime"
)

// Sync returns once the log up to lsn is on stable storage: from then on the end of the machine
// does not take it. Whoever finds no sync under way syncs for all who came before, and does not
// look at ctx meanwhile.
func (l *Log) Sync(ctx context.Context, lsn LSN) error {
	for {
		if l.Synced() >= lsn {
			return l.Err()
		}
		if err := l.Err(); err != nil {
			return err
		}
		l.round.Lock()
		if done := l.round.done; done != nil {
			l.round.Unlock()
			select {
			case <-done:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		done := make(chan struct{})
		l.round.done = done
		l.round.Unlock()
		err := l.syncRound()
		l.round.Lock()
		l.round.done = nil
		l.round.Unlock()
		close(done)
		if err != nil {
			return err
		}
	}
}

// syncRound brings everything that was appended to stable storage.
func (l *Log) syncRound() error {
	runtime.Gosched() // who is about to append comes along: it nearly doubles what a round takes
	if err := l.Write(); err != nil {
		return err
	}
	end := l.Written()
	newest, err := l.syncSegments(end)
	if err != nil {
		return l.fail(err)
	}
	// Without this the last segment could vanish, and nothing would say that it was there.
	err = l.setControl(func(c *control) bool {
		newer := newest > c.newest
		c.newest = max(c.newest, newest)
		return newer
	})
	if err != nil {
		return err
	}
	l.synced.Store(uint64(end))
	l.setMark()
	return nil
}

// syncSegments syncs every segment that has frames between what is on stable storage and end,
// and returns the beginning of the last.
func (l *Log) syncSegments(end LSN) (newest LSN, err error) {
	from := l.Synced()
	l.files.Lock()
	var dirty []File
	for _, s := range l.files.used {
		if s.begin+LSN(l.config.SegmentBytes) > from && s.begin < end {
			dirty = append(dirty, s.file)
			newest = s.begin
		}
	}
	l.files.Unlock()
	for _, f := range dirty {
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return newest, nil
}
