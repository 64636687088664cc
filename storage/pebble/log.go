package pebble

import (
	"errors"
	"io/fs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/logfile"
	"github.com/sessiond/sessiond/storage/pebble/internal/mmap"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// The bounds of Options.LogBytes.
const (
	minLogBytes = 1 << 20
	maxLogBytes = wal.MaxSegments * maxSegmentBytes
)

const (
	logSegments     = 16
	maxSegmentBytes = 8 << 20 // a new store has two, and they take time to fill
)

// logConfig says where the log of the store in dir is, and how large a new one is.
func (o *Options) logConfig(dir string) wal.Config {
	size := o.LogBytes
	if size == 0 {
		size = min(8*int64(o.MemTableSize), 128<<20)
	}
	segment := min(size/logSegments, maxSegmentBytes) &^ 4095
	return wal.Config{
		FS:           logfile.FS{FS: o.FS},
		Dir:          dir,
		Segments:     int(size / segment),
		SegmentBytes: int(segment),
		Map:          o.MapFile,
		Boot:         o.boot(),
		Warn:         func(msg string, err error) { o.Logger.Warn(msg, "err", err) },
	}
}

// noteLogSize tells of a size that was asked for in vain.
func (e *Engine) noteLogSize(asked int64, config wal.Config) {
	if asked != 0 && e.log.Most() != int64(config.Segments)*int64(config.SegmentBytes) {
		e.logger.Warn("the log keeps the size it was made with", "bytes", e.log.Most(), "asked", asked)
	}
}

// boot names the run of the machine that the mark of the log belongs to.
func (o *Options) boot() uint64 {
	if o.BootID != 0 {
		return o.BootID
	}
	return mmap.Boot()
}

// createLog makes the log of a store that has none yet and returns where it begins.
func createLog(config wal.Config) (wal.LSN, error) {
	begin, err := wal.Create(config)
	if errors.Is(err, fs.ErrExist) {
		return 0, pebblefile.NewProblemError(wal.ControlName, "is that of a store, and the tables hold none")
	}
	return begin, logfile.Problem(err)
}

// openLog reads into memory what the tree, whose mark is given, has not followed, and begins a life
// of the log.
func (e *Engine) openLog(config wal.Config, mark tree.Mark) (err error) {
	r := tree.Replay{Mark: mark, Memory: e.memory.Load()}
	var found wal.Found
	if e.log, found, err = wal.Open(config, mark.Followed, r.Frame); err != nil {
		return logfile.Problem(err)
	}
	e.counters.of, e.databases.spaces = r.Mark.Counts, r.Mark.DBs
	e.index.last = r.Mark.Clock
	e.index.seen.Store(int64(r.Mark.Clock))
	e.index.notice(r.File())
	e.origin = tree.FirstRevision(e.log.Life())
	// Of what a power cut took nobody knows the revisions, but how many there were at most.
	e.revisions.Store(max(e.origin, r.Mark.Revision+1<<32))
	raise(&e.lasting, uint64(found.End))
	e.following.Store(true)
	e.index.begin()
	if err := e.pace(e.mode()); err != nil {
		return errors.Join(err, e.log.Close())
	}
	if found.Mark != nil && !e.created {
		e.logger.Warn("the log cannot tell a torn end from a damaged one at this start", "err", found.Mark)
	}
	if found.Lost > 0 {
		e.logger.Warn("the end of the log was not on stable storage when the machine stopped, and is lost", "bytes", found.Lost)
	}
	e.recovered = int64(r.Changes)
	if found.Frames > 0 {
		e.logger.Info("recovered what the last life had not brought to the tree",
			"commits", found.Frames, "changes", r.Changes, "log", int64(found.End-found.From))
	}
	return nil
}

// Log implements storage.LogReporter.
func (e *Engine) Log() storage.Log {
	followed := e.followed() // first: the end never lies before it
	return storage.Log{
		Most:      e.log.Most(),
		Pending:   int64(e.log.End() - followed),
		Recovered: e.recovered,
	}
}

// inspectLog adds to what was found of a store the damage of its log, unless the store is still to be
// created: there is a log as soon as there are tables.
func inspectLog(found *pebblefile.Inspection, config wal.Config) error {
	if !found.HasTables() {
		return nil
	}
	_, err := wal.Inspect(config, 0, func(wal.Frame) error { return nil })
	err = logfile.Problem(err)
	var damage *pebblefile.ProblemError
	if errors.As(err, &damage) {
		found.Problems = append(found.Problems, damage.Problem)
		return nil
	}
	return err
}
