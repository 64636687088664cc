package pebble

import (
	"os"
	"path"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileOp is one operation on a file system.
type fileOp struct {
	kind opKind
	name string // without the folder
}

type opKind string

const (
	opCreate      opKind = "create"
	opReuse       opKind = "reuse"
	opRename      opKind = "rename"
	opRemove      opKind = "remove"
	opLink        opKind = "link"
	opMkdir       opKind = "mkdir"
	opOpen        opKind = "open"
	opRead        opKind = "read"
	opWrite       opKind = "write"
	opPreallocate opKind = "preallocate"
	opSync        opKind = "sync"
	opSyncDir     opKind = "sync of the folder"
)

// tapFS lets a test look at each operation before it happens, and make it fail, and after
// it happened. A file whose sync failed is treated as Linux treats it: the bytes that were
// not written are gone for good, and the next sync says that all is well.
type tapFS struct {
	vfs.FS
	before func(fileOp) error
	after  func(fileOp)

	lost sync.Map // by name: its sync failed
}

// do runs one operation between the hooks.
func (fs *tapFS) do(kind opKind, name string, run func() error) error {
	op := fileOp{kind, path.Base(name)}
	if fs.before != nil {
		if err := fs.before(op); err != nil {
			return err
		}
	}
	err := run()
	if err == nil && fs.after != nil {
		fs.after(op)
	}
	return err
}

func (fs *tapFS) Unwrap() vfs.FS { return fs.FS }

func (fs *tapFS) file(kind opKind, name string, open func() (vfs.File, error)) (f vfs.File, err error) {
	err = fs.do(kind, name, func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if kind == opCreate || kind == opReuse {
		fs.lost.Delete(path.Base(name))
	}
	return &tapFile{File: f, fs: fs, name: path.Base(name)}, nil
}

func (fs *tapFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(opCreate, name, func() (vfs.File, error) { return fs.FS.Create(name, category) })
}

func (fs *tapFS) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.file(opReuse, to, func() (vfs.File, error) { return fs.FS.ReuseForWrite(from, to, category) })
}

func (fs *tapFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return fs.file(opOpen, name, func() (vfs.File, error) { return fs.FS.Open(name, opts...) })
}

func (fs *tapFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return fs.file(opOpen, name, func() (vfs.File, error) { return fs.FS.OpenReadWrite(name, category, opts...) })
}

func (fs *tapFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &tapFile{File: f, fs: fs, name: path.Base(name), dir: true}, nil
}

func (fs *tapFS) Rename(from, to string) error {
	return fs.do(opRename, to, func() error { return fs.FS.Rename(from, to) })
}

func (fs *tapFS) Remove(name string) error {
	return fs.do(opRemove, name, func() error { return fs.FS.Remove(name) })
}

func (fs *tapFS) Link(from, to string) error {
	return fs.do(opLink, to, func() error { return fs.FS.Link(from, to) })
}

type tapFile struct {
	vfs.File
	fs   *tapFS
	name string
	dir  bool
}

func (f *tapFile) Read(p []byte) (n int, err error) {
	hook := f.fs.do(opRead, f.name, func() error {
		n, err = f.File.Read(p)
		return nil // io.EOF is no failure
	})
	if hook != nil {
		return 0, hook
	}
	return n, err
}

func (f *tapFile) ReadAt(p []byte, at int64) (n int, err error) {
	hook := f.fs.do(opRead, f.name, func() error {
		n, err = f.File.ReadAt(p, at)
		return nil
	})
	if hook != nil {
		return 0, hook
	}
	return n, err
}

func (f *tapFile) Write(p []byte) (n int, err error) {
	err = f.fs.do(opWrite, f.name, func() error {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f *tapFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.fs.do(opWrite, f.name, func() error {
		n, err = f.File.WriteAt(p, at)
		return err
	})
	return n, err
}

func (f *tapFile) Preallocate(offset, length int64) error {
	return f.fs.do(opPreallocate, f.name, func() error { return f.File.Preallocate(offset, length) })
}

func (f *tapFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *tapFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *tapFile) sync(sync func() error) error {
	kind := opSync
	if f.dir {
		kind = opSyncDir
	}
	err := f.fs.do(kind, f.name, func() error {
		if _, lost := f.fs.lost.Load(f.name); lost {
			return nil
		}
		return sync()
	})
	if err != nil {
		f.fs.lost.Store(f.name, true)
	}
	return err
}

func (fs *tapFS) MkdirAll(dir string, mode os.FileMode) error {
	return fs.do(opMkdir, dir, func() error { return fs.FS.MkdirAll(dir, mode) })
}
