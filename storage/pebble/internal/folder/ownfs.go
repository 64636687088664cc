package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// SystemFS is the file system of the operating system, as far as it is sessiond's.
var SystemFS vfs.FS = ownFS{vfs.Default}

// ownFS makes files and folders that nobody but their owner may use, whatever the umask and
// whoever may enter the folder around them. They never have another mode, not even at first.
//
// It opens regular files only. In the place of a file there may be a link out of the folder,
// whose target would be written over; a FIFO, which would be waited for; or a folder, a socket
// or a device. All of these it refuses with ErrForeign and leaves as they are.
//
// Folders above a file may be links: operators move the data of a machine in this way.
type ownFS struct{ vfs.FS }

func (x ownFS) Unwrap() vfs.FS { return x.FS }

// Create implements vfs.FS. A file that has the name is removed, not written over: it may have
// other names.
func (x ownFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	err := makeFile(name)
	for errors.Is(err, fs.ErrExist) {
		if _, err := lstatOwn(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := x.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		err = makeFile(name)
	}
	if err != nil {
		return nil, err
	}
	return openOwn(name, func() (vfs.File, error) { return x.FS.OpenReadWrite(name, category) })
}

// MkdirAll implements vfs.FS. Pebble asks for folders that everybody may enter.
func (x ownFS) MkdirAll(dir string, _ fs.FileMode) error { return x.FS.MkdirAll(dir, Mode) }

func (x ownFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return openOwn(name, func() (vfs.File, error) { return x.FS.Open(name, opts...) })
}

func (x ownFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := ensure(name); err != nil {
		return nil, err
	}
	return openOwn(name, func() (vfs.File, error) { return x.FS.OpenReadWrite(name, category, opts...) })
}

func (x ownFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := x.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return x.OpenReadWrite(newname, category)
}

// Link implements vfs.FS. A link to a symbolic link would be one, too; and one to a file that
// others may use would be theirs. Callers make a copy then.
func (x ownFS) Link(oldname, newname string) error {
	info, err := lstatOwn(oldname)
	if err == nil && othersMay(info.Mode()) {
		err = fmt.Errorf("link %s: %w", oldname, errors.ErrUnsupported)
	}
	if err != nil {
		return err
	}
	return x.FS.Link(oldname, newname)
}

// Lock implements vfs.FS. What is in the file is lost: see recognise.
func (x ownFS) Lock(name string) (io.Closer, error) {
	if err := ensure(name); err != nil {
		return nil, err
	}
	return x.FS.Lock(name)
}

// List implements vfs.FS.
func (x ownFS) List(dir string) ([]string, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() { // to open a FIFO would be to wait for it
		err = fmt.Errorf("%s is %s: a folder is needed", dir, kindName(info.Mode()))
	}
	if err != nil {
		return nil, err
	}
	return x.FS.List(dir)
}

// ensure makes an empty file unless there is one.
func ensure(name string) error {
	_, err := lstatOwn(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return makeFile(name)
}

// makeFile makes an empty file where there is nothing, not even a link that leads to nothing.
func makeFile(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	return f.Close()
}

// openOwn calls open for a file that exists and makes sure that it is the one it opened. It
// must not empty the file.
func openOwn(name string, open func() (vfs.File, error)) (vfs.File, error) {
	before, err := lstatOwn(name)
	if err != nil {
		return nil, err
	}
	f, err := open()
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err == nil && !sameFile(before, after) {
		err = fmt.Errorf("%w: %s was replaced while it was opened", ErrForeign, name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lstatOwn describes a file of sessiond's, and refuses what is none.
func lstatOwn(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = StrangeError(path, info.Mode())
	}
	return info, err
}

// Lstat describes what has a name, not what a link there leads to.
func Lstat(files vfs.FS, path string) (fs.FileInfo, error) {
	if files == SystemFS {
		return os.Lstat(path)
	}
	return files.Stat(path) // in memory, where there are no links
}

func StrangeError(path string, mode fs.FileMode) error {
	return fmt.Errorf("%w: %s is %s, where sessiond has something of its own: move it away", ErrForeign, path, kindName(mode))
}

func ContentError(path string) error {
	return fmt.Errorf("%w: %s was not written by sessiond: move it away", ErrForeign, path)
}

func kindName(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "not a regular file"
}
