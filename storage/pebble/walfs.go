package pebble

import (
	"strings"
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
// Files other than logs are untouched.
type walFS struct {
	vfs.FS
	demand *atomic.Int64
}

func (fs walFS) Unwrap() vfs.FS { return fs.FS }

func (fs walFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return fs.wrap(name, f, err)
}

// ReuseForWrite is how Pebble recycles the file of an old log.
func (fs walFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldname, newname, category)
	return fs.wrap(newname, f, err)
}

func (fs walFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return &walFile{File: f, demand: fs.demand}, nil
}

// walFile is a log. SyncTo is not held back: it promises nothing, and where it does more
// than it promises, it really does it.
type walFile struct {
	vfs.File
	demand *atomic.Int64
	dirty  bool // something was written since the last real sync
}

func (f *walFile) Write(p []byte) (int, error) {
	f.dirty = true
	return f.File.Write(p)
}

func (f *walFile) Sync() error { return f.SyncData() }

func (f *walFile) SyncData() error {
	if f.demand.Load() == 0 {
		return nil
	}
	return f.settle()
}

func (f *walFile) settle() error {
	if err := f.File.SyncData(); err != nil {
		return err
	}
	f.dirty = false
	return nil
}

func (f *walFile) Close() error {
	if f.dirty {
		if err := f.settle(); err != nil {
			_ = f.File.Close() // the first error is the one that matters
			return err
		}
	}
	return f.File.Close()
}
