package pebble

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// treeFS is where Pebble, which is the tree of records, writes. It does three things:
//
// A table of a flush begins when the log is on stable storage up to its end. So no state of a
// record reaches the files of the tree before the frame that made it is safe, and what the tree
// has is always what the log had at some moment.
//
// When the list of tables, Pebble's MANIFEST, cannot be written, synced, closed or begun, or the
// syncedFolder cannot be synced, fail hears of it instead of Pebble, which would panic with its locks
// held, and says what Pebble is told: see Engine.fail. An fsync must not be tried again: the
// system reports an error once and then takes the pages it could not write for clean.
//
// What says which MANIFEST counts is made when the name of that one is on stable storage.
//
// Other files are untouched, and so are all in other folders than dir, such as those of a backup.
type treeFS struct {
	vfs.FS
	dir     *syncedFolder
	syncLog func() error // brings all of the log to stable storage
	fail    func(error) error
}

func (fs treeFS) Unwrap() vfs.FS { return fs.FS }

func (fs treeFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category == diskspace.CategoryFlush {
		if err := fs.syncLog(); err != nil {
			return nil, err
		}
	}
	if !fs.ours(name) {
		return fs.FS.Create(name, category)
	}
	if layout.MakesStore(fs.PathBase(name)) { // a power cut must not leave it without the file that it names
		if err := folder.Sync(fs, fs.dir.path); err != nil {
			return nil, err
		}
	}
	f, err := fs.FS.Create(name, category)
	if err != nil && (layout.IsManifest(name) || layout.MakesStore(fs.PathBase(name))) {
		if err = fs.fail(fmt.Errorf("begin the list of tables: %w", err)); err == nil {
			f, err = fs.FS.Create(name, category) // once the store has failed, this works: see failedFS
		}
	}
	if err != nil || !layout.IsManifest(name) {
		return f, err
	}
	return &manifestFile{f, fs.fail}, nil
}

func (fs treeFS) ours(name string) bool { return fs.PathDir(name) == fs.dir.path }

// manifestFile is a MANIFEST. Pebble syncs it after each edit.
type manifestFile struct {
	vfs.File
	fail func(error) error
}

func (f *manifestFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	if err != nil {
		return len(p), f.failed("write", err)
	}
	return n, nil
}

func (f *manifestFile) Sync() error     { return f.failed("sync", f.File.Sync()) }
func (f *manifestFile) SyncData() error { return f.failed("sync", f.File.SyncData()) }

func (f *manifestFile) SyncTo(length int64) (fullSync bool, err error) {
	fullSync, err = f.File.SyncTo(length)
	return fullSync && err == nil, f.failed("sync", err)
}

// Close fails for a write that was put off, on a network file system.
func (f *manifestFile) Close() error { return f.failed("close", f.File.Close()) }

func (f *manifestFile) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return f.fail(fmt.Errorf("%s the list of tables: %w", what, err))
}

// OpenDir opens the folder in order to sync it.
func (fs treeFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil || name != fs.dir.path {
		return f, err
	}
	return &folderFile{f, fs.dir, fs.fail}, nil
}

// syncedFolder is the one that the store is in.
type syncedFolder struct {
	path string

	mu   sync.Mutex // held while it is synced
	lost error      // a sync failed: the names that it was for may be gone, and no other finds them
}

// folderFile is an open folder. Its sync keeps the names of files that were created or renamed.
type folderFile struct {
	vfs.File
	dir  *syncedFolder
	fail func(error) error
}

func (f *folderFile) Sync() error {
	f.dir.mu.Lock()
	if f.dir.lost == nil {
		f.dir.lost = f.File.Sync()
	}
	err := f.dir.lost
	f.dir.mu.Unlock()
	if err != nil {
		return f.fail(fmt.Errorf("sync the folder: %w", err))
	}
	return nil
}
