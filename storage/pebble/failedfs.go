package pebble

import (
	"os"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
)

// failedFS keeps a store that has failed from its disk, which then stays as it is. Writing and
// syncing is an error, which treeFS keeps from Pebble where that would end in a panic. A new file
// is one in memory: Pebble writes what it has in its tables, so that nobody waits for that any
// more, which is bounded; compactions are not, and fail.
type failedFS struct {
	vfs.FS
	over   atomic.Bool
	memory *vfs.MemFS // files since then, by their names without the folder
}

func newFailedFS(files vfs.FS) *failedFS { return &failedFS{FS: files, memory: vfs.NewMem()} }

// Unwrap implements vfs.FS.
func (fs *failedFS) Unwrap() vfs.FS { return fs.FS }

func (fs *failedFS) err() error {
	if fs.over.Load() {
		return storage.ErrFailed
	}
	return nil
}

// do runs an operation that changes the disk.
func (fs *failedFS) do(change func() error) error {
	if err := fs.err(); err != nil {
		return err
	}
	return change()
}

func (fs *failedFS) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &failedFile{f, fs}, nil
}

// Create implements vfs.FS.
func (fs *failedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	switch {
	case !fs.over.Load():
		return fs.file(fs.FS.Create(name, category))
	case category == diskspace.CategoryCompaction:
		return nil, storage.ErrFailed
	default:
		return fs.memory.Create(fs.PathBase(name), category)
	}
}

// ReuseForWrite implements vfs.FS.
func (fs *failedFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if fs.over.Load() {
		return fs.Create(newname, category)
	}
	return fs.file(fs.FS.ReuseForWrite(oldname, newname, category))
}

// Open implements vfs.FS.
func (fs *failedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if fs.over.Load() {
		if f, err := fs.memory.Open(fs.PathBase(name), opts...); err == nil {
			return f, nil
		}
	}
	return fs.FS.Open(name, opts...)
}

// OpenReadWrite implements vfs.FS.
func (fs *failedFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := fs.err(); err != nil {
		return nil, err
	}
	return fs.file(fs.FS.OpenReadWrite(name, category, opts...))
}

// OpenDir implements vfs.FS.
func (fs *failedFS) OpenDir(name string) (vfs.File, error) { return fs.file(fs.FS.OpenDir(name)) }

// Link implements vfs.FS.
func (fs *failedFS) Link(oldname, newname string) error {
	return fs.do(func() error { return fs.FS.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (fs *failedFS) Rename(oldname, newname string) error {
	return fs.do(func() error { return fs.FS.Rename(oldname, newname) })
}

// MkdirAll implements vfs.FS.
func (fs *failedFS) MkdirAll(dir string, perm os.FileMode) error {
	return fs.do(func() error { return fs.FS.MkdirAll(dir, perm) })
}

// Remove implements vfs.FS.
func (fs *failedFS) Remove(name string) error {
	if fs.over.Load() {
		return nil // it would be tried again
	}
	return fs.FS.Remove(name)
}

// RemoveAll implements vfs.FS.
func (fs *failedFS) RemoveAll(name string) error {
	return fs.do(func() error { return fs.FS.RemoveAll(name) })
}

// failedFile is a file of the disk.
type failedFile struct {
	vfs.File
	fs *failedFS
}

func (f *failedFile) Write(p []byte) (n int, err error) {
	err = f.fs.do(func() error { n, err = f.File.Write(p); return err })
	return n, err
}

func (f *failedFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.fs.do(func() error { n, err = f.File.WriteAt(p, at); return err })
	return n, err
}

func (f *failedFile) Preallocate(offset, length int64) error {
	return f.fs.do(func() error { return f.File.Preallocate(offset, length) })
}

func (f *failedFile) Sync() error     { return f.fs.do(f.File.Sync) }
func (f *failedFile) SyncData() error { return f.fs.do(f.File.SyncData) }

func (f *failedFile) SyncTo(length int64) (fullSync bool, err error) {
	err = f.fs.do(func() error { fullSync, err = f.File.SyncTo(length); return err })
	return fullSync, err
}
