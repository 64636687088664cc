package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/sessiond/sessiond/storage/pebble/internal/mmap"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// salvagedLog is what the log of a store that is salvaged held.
type salvagedLog struct {
	changes int       // that were made again
	bytes   int64     // of frames
	damage  error     // why not all of it can be read, or nil
	gaps    []wal.Gap // where
}

// followLog makes the changes of the log again, in the memory of who reads. If the log is damaged,
// those behind the damage are made, too: each frame is a whole commit and holds final states. So
// what comes after the damage is newer than what came before, and to leave it out would bring back
// every session that was ended there. What stays uncertain is what the lost frames changed: those
// records are as they were before, unless a later frame wrote them; if that moved a deadline, the
// new deadline meets the old value.
func (s *salvage) followLog() error {
	config := wal.Config{FS: logFS{FS: s.files, readOnly: true}, Dir: s.dir, Segments: wal.MaxSegments, Boot: mmap.Boot()}
	r := s.recovery()
	found, err := wal.Inspect(config, s.head.followed, r.repeat)
	switch {
	case err == nil:
		s.log.bytes = int64(found.End - found.From)
	case errors.Is(err, wal.ErrDamaged), errors.Is(err, wal.ErrMissing), errors.Is(err, fs.ErrNotExist), isUnreadable(err):
		s.log.damage = logProblem(err)
		r = s.recovery()
		s.log.gaps, err = wal.Salvage(config, s.head.followed, func(f wal.Frame) error {
			s.log.bytes += int64(wal.HeaderSize + len(f.Payload))
			return r.repeat(f)
		})
		if err != nil && !errors.Is(err, wal.ErrMissing) && !isUnreadable(err) {
			return err
		}
	case errors.Is(err, wal.ErrReleased):
		return fmt.Errorf("%w: it ends too early, or is an older one (%w)", ErrManifest, err)
	default:
		return logProblem(err)
	}
	s.log.changes = r.changes
	e := r.e
	w := newTreeWriter(context.Background(), e)
	w.patch = true
	if err := w.finish(w.write(r.g)); err != nil {
		return err
	}
	h := &s.head
	if w.earliest != ttl.Never {
		h.fence = min(h.fence, w.earliest)
	}
	h.spaces, h.counts = e.databases.spaces, e.counters.of
	all := h.followedKnown && s.log.damage == nil
	h.countsKnown, h.revisionKnown = h.countsKnown && all, h.revisionKnown && all
	h.seen, h.revision = e.Seen(), e.revisions.Load()
	return nil
}

// isUnreadable reports whether an error says that the disk does not give a file back.
func isUnreadable(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && !errors.Is(err, fs.ErrPermission)
}

// recovery returns what makes changes in the memory of who reads, beginning with the head of the
// store.
func (s *salvage) recovery() *recovery {
	e := s.engine()
	h := &s.head
	e.databases.spaces = maps.Clone(h.spaces)
	e.counters.of = maps.Clone(h.counts)
	e.index.seen.Store(int64(h.seen))
	e.revisions.Store(h.revision)
	return newRecovery(e)
}
