package folder

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
)

// RemoveStore removes a folder with the files of a store, if there is one and nothing else is
// in it.
func RemoveStore(files vfs.FS, dir string) error {
	info, err := Lstat(files, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = StrangeError(dir, info.Mode())
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
			return ContentError(files.PathJoin(dir, name))
		}
	}
	return files.RemoveAll(dir)
}

// Make makes a folder that nobody else may read, with its parents, durably.
func Make(files vfs.FS, dir string) error {
	_, err := files.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := files.PathDir(dir)
	if err := Make(files, parent); err != nil {
		return err
	}
	if err := files.MkdirAll(dir, Mode); err != nil {
		return err
	}
	return Sync(files, parent)
}

func Sync(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func WriteFile(files vfs.FS, name string, content []byte) error {
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

// ReadFile reads a file.
func ReadFile(files vfs.FS, name string) ([]byte, error) {
	b, whole, err := readDamaged(files, name)
	if err == nil && !whole {
		err = fmt.Errorf("read %s: the disk does not give it back", name)
	}
	return b, err
}

// readDamaged reads a file as far as it can be read. A block that the disk does not give back becomes one that no chunk
// can be found in, and then the file is not whole.
func readDamaged(files vfs.FS, name string) (_ []byte, whole bool, err error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	b := make([]byte, info.Size())
	whole = true
	for off := 0; off < len(b); off += pebblefile.ChunkBlock {
		block := b[off:min(off+pebblefile.ChunkBlock, len(b))]
		if n, err := f.ReadAt(block, int64(off)); n < len(block) && err != nil {
			whole = false
			for i := range block {
				block[i] = 0xff
			}
		}
	}
	return b, whole, nil
}
