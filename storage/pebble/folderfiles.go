package pebble

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// removeStore removes a folder with the files of a store, if there is one and nothing else is
// in it.
func removeStore(files vfs.FS, dir string) error {
	info, err := lstat(files, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = errStrange(dir, info.Mode())
	}
	if err != nil {
		return err
	}
	names, err := files.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if layout.KindOf(name) == layout.ForeignFile {
			return errContent(files.PathJoin(dir, name))
		}
	}
	return files.RemoveAll(dir)
}

// makeFolder makes a folder that nobody else may read, with its parents, durably.
func makeFolder(files vfs.FS, dir string) error {
	_, err := files.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := files.PathDir(dir)
	if err := makeFolder(files, parent); err != nil {
		return err
	}
	if err := files.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	return syncFolder(files, parent)
}

func syncFolder(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func writeFile(files vfs.FS, name string, content []byte) error {
	f, err := files.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readFile reads a file.
func readFile(files vfs.FS, name string) ([]byte, error) {
	b, whole, err := readDamaged(files, name)
	if err == nil && !whole {
		err = fmt.Errorf("read %s: the disk does not give it back", name)
	}
	return b, err
}
