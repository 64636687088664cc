package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
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

	categoryLog vfs.DiskWriteCategory = "sessiond-log"
)

// logConfig says where the log of the store in dir is, and how large a new one is.
func (o *Options) logConfig(dir string) wal.Config {
	size := o.LogBytes
	if size == 0 {
		size = min(8*int64(o.memTableSize), 128<<20)
	}
	segment := min(size/logSegments, maxSegmentBytes) &^ 4095
	return wal.Config{
		FS:           logFS{FS: o.fs},
		Dir:          dir,
		Segments:     int(size / segment),
		SegmentBytes: int(segment),
		Map:          o.mapFile,
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
	if o.bootID != 0 {
		return o.bootID
	}
	return mmap.Boot()
}

// createLog makes the log of a store that has none yet and returns where it begins.
func createLog(config wal.Config) (wal.LSN, error) {
	begin, err := wal.Create(config)
	if errors.Is(err, fs.ErrExist) {
		return 0, pebblefile.NewProblemError(wal.ControlName, "is that of a store, and the tables hold none")
	}
	return begin, logProblem(err)
}

// openLog reads into memory what the tree, whose mark is given, has not followed, and begins a life
// of the log.
func (e *Engine) openLog(config wal.Config, mark tree.Mark) (err error) {
	r := tree.Replay{Mark: mark, Memory: e.memory.Load()}
	var found wal.Found
	if e.log, found, err = wal.Open(config, mark.Followed, r.Frame); err != nil {
		return logProblem(err)
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
	err = logProblem(err)
	var damage *pebblefile.ProblemError
	if errors.As(err, &damage) {
		found.Problems = append(found.Problems, damage.Problem)
		return nil
	}
	return err
}

// logProblem makes damage of the log damage of the store.
func logProblem(err error) error {
	var damage *wal.Damage
	switch {
	case errors.As(err, &damage):
		return pebblefile.NewProblemError(damage.File, fmt.Sprintf("is damaged at byte %d: %s", damage.Offset, damage.Reason))
	case errors.Is(err, wal.ErrMissing):
		return pebblefile.NewProblemError(wal.ControlName, "is missing, and the newest changes are in the log")
	case errors.Is(err, wal.ErrNewer):
		return fmt.Errorf("%w: %w", layout.ErrNewerFormat, err)
	}
	return err
}

// logFS is the file system as the log sees it.
type logFS struct {
	vfs.FS
	readOnly bool
	folder   vfs.FS // syncs the folder; nil means FS
	room     *room  // may be nil
	segment  int64  // bytes of one
}

// errNoSegment says that the log does not grow: what is left is for those who make room.
var errNoSegment error = fmt.Errorf("segment of the log put off: %w", syscall.ENOSPC)

func (x logFS) Create(path string) (wal.File, error) {
	if !x.fits(path) {
		return nil, errNoSegment
	}
	return newLogFile(x.FS.Create(path, categoryLog))
}

// fits reports whether there is room for a file of the log. It needs only those that it begins with.
func (x logFS) fits(path string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(x.PathBase(path), "log."))
	if err != nil || n <= wal.MinSegments || x.room == nil {
		return true
	}
	r := x.room
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measure()
	return r.left.Load()-x.segment >= r.bar(grows)
}

func (x logFS) Open(path string) (wal.File, error) {
	if x.readOnly {
		return newLogFile(x.FS.Open(path))
	}
	if _, err := x.Stat(path); err != nil { // to open it would make it
		return nil, err
	}
	return newLogFile(x.OpenReadWrite(path, categoryLog))
}

// SyncDir syncs the folder as the tree does: if that fails it must not be tried again, by whomever.
func (x logFS) SyncDir(dir string) error {
	if x.folder != nil {
		return folder.Sync(x.folder, dir)
	}
	return folder.Sync(x.FS, dir)
}

func (x logFS) Join(dir, name string) string { return x.PathJoin(dir, name) }

// logFile is a file of the log.
type logFile struct{ vfs.File }

func newLogFile(f vfs.File, err error) (wal.File, error) {
	if err != nil {
		return nil, err
	}
	return logFile{f}, nil
}

func (f logFile) Sync() error { return f.SyncData() }

func (f logFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
