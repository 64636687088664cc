package repair

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/logfile"
	"github.com/sessiond/sessiond/storage/pebble/internal/mmap"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
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
	config := wal.Config{FS: logfile.FS{FS: s.files, ReadOnly: true}, Dir: s.dir, Segments: wal.MaxSegments, Boot: mmap.Boot()}
	r := s.replay()
	found, err := wal.Inspect(config, s.head.Followed, r.Frame)
	switch {
	case err == nil:
		s.log.bytes = int64(found.End - found.From)
	case errors.Is(err, wal.ErrDamaged), errors.Is(err, wal.ErrMissing), errors.Is(err, fs.ErrNotExist), isUnreadable(err):
		s.log.damage = logfile.Problem(err)
		r = s.replay()
		s.log.gaps, err = wal.Salvage(config, s.head.Followed, func(f wal.Frame) error {
			s.log.bytes += int64(wal.HeaderSize + len(f.Payload))
			return r.Frame(f)
		})
		if err != nil && !errors.Is(err, wal.ErrMissing) && !isUnreadable(err) {
			return err
		}
	case errors.Is(err, wal.ErrReleased):
		return fmt.Errorf("%w: it ends too early, or is an older one (%w)", ErrManifest, err)
	default:
		return logfile.Problem(err)
	}
	s.log.changes = r.Changes
	w := tree.NewWriter(s.db)
	w.Patch = true
	if err := w.Finish(w.Write(r.Memory.Now())); err != nil {
		return err
	}
	h := &s.head
	all := h.Knows(tree.Followed) && s.log.damage == nil
	h.countsKnown, h.revisionKnown = h.countsKnown && all, h.revisionKnown && all
	fence := h.Fence
	h.Mark = r.Mark
	if h.Fence = fence; w.Earliest() != ttl.Never {
		h.Fence = min(fence, w.Earliest())
	}
	return nil
}

// isUnreadable reports whether an error says that the disk does not give a file back.
func isUnreadable(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && !errors.Is(err, fs.ErrPermission)
}

// replay returns what makes the changes of the log again, beginning with the mark of the store. The
// mark is a copy: a log that turns out to be damaged is read once more.
func (s *salvage) replay() *tree.Replay {
	mark := s.head.Mark
	mark.Counts = maps.Clone(mark.Counts)
	return &tree.Replay{Mark: mark, Memory: dirty.NewMemory()}
}
