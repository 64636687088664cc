package pebble

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walFS lets one sync of the write-ahead log mean two things. Pebble hands its buffer to
// the operating system only when somebody asks it to sync, and then syncs. Here the second
// half is left out unless somebody demands it, which makes a change survive kill -9 at the
// price of a write.
//
// It rests on three facts about Pebble. A sync of the log begins after the request for it
// was queued, so whoever raises demand, asks for a sync and lowers demand again when that
// returns has had a real one. A log is closed before the next one is created, and closing
// makes it durable here, so a later log never survives the loss of an earlier one's tail.
// Logs are written and synced by one goroutine at a time.
//
// When a log cannot be written, synced, closed or begun, or the folder cannot be synced, fail
// hears of it before Pebble does, which would try some of it again. An fsync must not be: the
// system reports an error once and then takes the pages it could not write for clean. Pebble
// syncs the folder in several goroutines, and to one of them the next sync would say that all
// is well, just before the process ends.
//
// Up to where a log or a MANIFEST was really synced is noted in synced. Pebble syncs the
// folder before it writes to a new log, so what is noted can be found under its name. Other
// files are untouched, and so are all in other folders than dir, such as those of a backup.
type walFS struct {
	vfs.FS
	dir    *folder
	demand *atomic.Int64
	synced *synced
	fail   func(error)
}

func (fs walFS) Unwrap() vfs.FS { return fs.FS }

func (fs walFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return fs.wrap(name, f, err)
}

// ReuseForWrite is how Pebble recycles the file of an old log.
func (fs walFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.synced.gone(oldname)
	f, err := fs.FS.ReuseForWrite(oldname, newname, category)
	return fs.wrap(newname, f, err)
}

func (fs walFS) Remove(name string) error {
	fs.synced.gone(name)
	return fs.FS.Remove(name)
}

func (fs walFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	_, log, ok := fs.synced.parse(name)
	if err != nil && log {
		fs.fail(fmt.Errorf("begin a log: %w", err))
	}
	if err != nil || !ok {
		return f, err
	}
	grown := grownFile{File: f, name: name, synced: fs.synced}
	if log {
		return &walFile{grownFile: grown, demand: fs.demand, fail: fs.fail}, nil
	}
	return &manifestFile{grown}, nil
}

// grownFile is a file that is written from its beginning to its end.
type grownFile struct {
	vfs.File
	name    string
	synced  *synced
	written int64
}

func (f *grownFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written += int64(n)
	return n, err
}

// manifestFile is a MANIFEST. Pebble syncs it after each edit.
type manifestFile struct{ grownFile }

func (f *manifestFile) Sync() error {
	size := f.written
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.synced.reached(f.name, size)
	return nil
}

// walFile is a log. SyncTo is not held back: it promises nothing, and where it does more
// than it promises, it really does it.
type walFile struct {
	grownFile
	demand *atomic.Int64
	fail   func(error)
	dirty  bool // something was written since the last real sync
}

func (f *walFile) Write(p []byte) (int, error) {
	f.dirty = true
	n, err := f.grownFile.Write(p)
	if err != nil {
		f.fail(fmt.Errorf("write the log: %w", err))
	}
	return n, err
}

func (f *walFile) Sync() error { return f.SyncData() }

func (f *walFile) SyncData() error {
	if f.demand.Load() == 0 {
		return nil
	}
	return f.settle()
}

func (f *walFile) settle() error {
	size := f.written
	if err := f.File.SyncData(); err != nil {
		f.fail(fmt.Errorf("sync the log: %w", err))
		return err
	}
	f.dirty = false
	f.synced.reached(f.name, size)
	return nil
}

func (f *walFile) Close() error {
	if f.dirty {
		if err := f.settle(); err != nil {
			_ = f.File.Close() // the first error is the one that matters
			return err
		}
	}
	err := f.File.Close()
	if err != nil { // of a write that was put off, on a network file system
		f.fail(fmt.Errorf("close the log: %w", err))
	}
	return err
}

// OpenDir opens the folder in order to sync it.
func (fs walFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil || name != fs.dir.path {
		return f, err
	}
	return &folderFile{f, fs.dir, fs.fail}, nil
}

// folder is the one that the store is in.
type folder struct {
	path string

	mu   sync.Mutex // held while it is synced
	lost error      // a sync failed: the names that it was for may be gone, and no other finds them
}

// folderFile is an open folder. Its sync keeps the names of files that were created or renamed.
type folderFile struct {
	vfs.File
	dir  *folder
	fail func(error)
}

func (f *folderFile) Sync() error {
	f.dir.mu.Lock()
	if f.dir.lost == nil {
		f.dir.lost = f.File.Sync()
	}
	err := f.dir.lost
	f.dir.mu.Unlock()
	if err != nil {
		f.fail(fmt.Errorf("sync the folder: %w", err))
	}
	return err
}
