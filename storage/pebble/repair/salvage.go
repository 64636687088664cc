package repair

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"syscall"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
)

// Problem is one thing that is wrong with a store. It names no session: a record appears by
// its database and the position that the hash of its name gives it, in hex.
type Problem struct {
	Where  string // the file, or the kind of record and where it lies
	What   string // what is wrong with it and what that means
	Advice string // what to do
}

// String returns the problem as one line.
func (p Problem) String() string {
	line := p.Where + ": " + p.What
	if p.Advice != "" {
		line += "; " + p.Advice
	}
	return line
}

const (
	adviceRepair   = "save the rest with sessiond repair, or restore a backup"
	adviceRebuild  = "sessiond repair makes it anew"
	adviceManifest = "restore a backup"
)

// ErrManifest is returned by Repair if the list of the store's tables, Pebble's MANIFEST, is
// lost. Without it nobody knows which tables hold sessions that were ended since: to save
// what the tables hold would log people in again. It wraps ErrDamaged.
var ErrManifest = fmt.Errorf("%w: the list of tables is lost, and without it nobody knows which sessions were ended", layout.ErrDamaged)

// salvage is a store that may be damaged, opened for reading only. See openSalvage.
type salvage struct {
	dir      string
	files    vfs.FS // as it is
	view     *salvageFS
	lock     *pebbledb.Lock // nil if there can be none: see lockExisting
	unopened bool           // nobody has ever opened the folder where it is
	db       *pebbledb.DB
	pebble   *pebbledb.Options
	tables   []table
	head     head
	log      salvagedLog
	problems []pebblefile.Problem // of files, found by inspect
}

// table is one of Pebble's files as the manifest has it.
type table struct {
	name  string
	level int
	size  int64
}

// salvageCache bounds the cache of who reads a store once.
const salvageCache = 32 << 20

// openSalvage opens a store that exists. Damage to tables shows when they are read.
func openSalvage(dir string, files vfs.FS, progress func(bytes int)) (_ *salvage, err error) {
	if files == nil {
		files = folder.SystemFS
		if dir, err = folder.Resolve(dir); err != nil {
			return nil, err
		}
	}
	lock, err := lockExisting(files, dir)
	if err != nil {
		return nil, err
	}
	s := &salvage{dir: dir, files: files, lock: lock}
	s.unopened = !s.lockFileExists()
	s.view = &salvageFS{FS: files, memory: vfs.NewMem(), progress: progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.pebble = tree.Options(tree.Config{
		FS: s.view, CacheBytes: salvageCache, MemTableBytes: salvageCache / 4, Logger: slog.New(slog.DiscardHandler),
		Fatal: func(err error) { panic(err) },
	})
	if err := s.inspect(); err != nil {
		return nil, err
	}
	s.pebble.DisableAutomaticCompactions = true
	s.pebble.L0StopWritesThreshold = math.MaxInt32 // what comes from the log is never merged
	s.pebble.DisableTableStats = true
	s.pebble.DisableConsistencyCheck = true
	s.pebble.EventListener = &pebbledb.EventListener{
		DataCorruption: func(pebbledb.DataCorruptionInfo) {}, // the default ends the process
	}
	s.pebble.Cache = pebbledb.NewCache(salvageCache)
	defer s.pebble.Cache.Unref()
	if s.db, err = pebbledb.Open(dir, s.pebble); err != nil {
		return nil, err
	}
	s.listTables()
	s.readHead()
	if s.head.other == nil {
		err = s.followLog()
	}
	return s, errors.Join(s.head.other, err)
}

// close releases the store.
func (s *salvage) close() (err error) {
	if s.db != nil {
		err = s.db.Close()
	}
	if s.lock != nil {
		return errors.Join(err, s.lock.Close())
	}
	if s.db != nil && s.unopened && s.lockFileExists() {
		err = errors.Join(err, fmt.Errorf("%w: somebody opened it meanwhile; try again when that is over", folder.ErrLocked))
	}
	return err
}

func (s *salvage) lockFileExists() bool {
	_, err := s.files.Stat(s.files.PathJoin(s.dir, layout.LockFile))
	return err == nil
}

// lockExisting takes a folder that must be a store. If there is no lock file, nobody has
// the folder open, and none is made: a copy stays as it is. Nobody has a folder open that is on a
// disk for reading only. Then the lock is nil.
func lockExisting(files vfs.FS, dir string) (*pebbledb.Lock, error) {
	names, err := files.List(dir)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(names, ofStore) {
		return nil, folder.NoStore(names)
	}
	if err := layout.OtherFormat(names); err != nil {
		return nil, err
	}
	err = folder.Check(names)
	if errors.Is(err, layout.ErrDamaged) {
		return nil, fmt.Errorf("%w: %s* is missing", ErrManifest, layout.ManifestMarker)
	}
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, layout.LockFile) {
		return nil, nil
	}
	lock, err := folder.Lock(files, dir)
	if errors.Is(err, syscall.EROFS) {
		return nil, nil
	}
	return lock, err
}

// ofStore reports whether a file can only come from a store.
func ofStore(name string) bool {
	return strings.HasPrefix(name, layout.ManifestMarker) || layout.KindOf(name) == layout.ContentFile
}

// inspect looks at the files as Open does. Without the list of tables it is over.
func (s *salvage) inspect() error {
	found, err := pebblefile.Inspect(s.files, s.dir, s.pebble)
	if err != nil {
		return err
	}
	s.problems = found.Problems
	for _, p := range s.problems {
		if strings.HasPrefix(p.File, layout.ManifestMarker) || strings.HasPrefix(p.File, "MANIFEST-") {
			return fmt.Errorf("%w: %v", ErrManifest, p)
		}
	}
	return nil
}

// listTables takes the list from Pebble.
func (s *salvage) listTables() {
	seen := map[string]bool{} // parts of one file may count as tables of their own
	for level, files := range s.db.DebugCurrentVersion().Levels {
		for f := range files.All() {
			t := table{f.TableBacking.DiskFileNum.String() + ".sst", level, int64(f.TableBacking.Size)}
			if !seen[t.name] {
				seen[t.name] = true
				s.tables = append(s.tables, t)
			}
		}
	}
}

func (s *salvage) tableBytes() (sum int64) {
	for _, t := range s.tables {
		sum += t.size
	}
	return sum
}

// positionText names a place in reports: the database and the position in it.
func (h *head) positionText(p layout.HashSlot) string {
	return fmt.Sprintf("database %d at %012x", h.DBs.Logical(p.PhysicalDB()), p.Hash())
}
