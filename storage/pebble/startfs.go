package pebble

import (
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// startFS lets a start that fails leave the store as it was. Pebble begins a MANIFEST at each start,
// and removes what its list of tables does not name: if that list is not the newest, it would be what a
// repair needs, and that shows only when the log is read. So until the start is over nothing is removed
// that was there before, and if it fails what it made is taken away again.
type startFS struct {
	vfs.FS
	dir string

	mu   sync.Mutex
	had  map[string]bool // names when the start began; nil when it is over
	gone []string        // those of them that Pebble has removed
	made []string        // names that came since
}

func newStartFS(files vfs.FS, dir string) (*startFS, error) {
	names, err := files.List(dir)
	fs := &startFS{FS: files, dir: dir, had: map[string]bool{}}
	for _, name := range names {
		fs.had[name] = true
	}
	return fs, err
}

// Unwrap implements vfs.FS.
func (fs *startFS) Unwrap() vfs.FS { return fs.FS }

// Create implements vfs.FS.
func (fs *startFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.note(name)
	return fs.FS.Create(name, category)
}

// Rename implements vfs.FS.
func (fs *startFS) Rename(oldname, newname string) error {
	fs.note(newname)
	return fs.FS.Rename(oldname, newname)
}

// note notes that there will be a file.
func (fs *startFS) note(name string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if base := fs.PathBase(name); fs.had != nil && !fs.had[base] && fs.PathDir(name) == fs.dir {
		fs.made = append(fs.made, base)
	}
}

// Remove implements vfs.FS.
func (fs *startFS) Remove(name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if base := fs.PathBase(name); fs.had[base] && fs.PathDir(name) == fs.dir {
		fs.gone = append(fs.gone, base)
		return nil
	}
	return fs.FS.Remove(name)
}

// succeed ends the start. What cannot be removed Pebble removes at the next one.
func (fs *startFS) succeed() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.had = nil
	for _, name := range fs.gone {
		_ = fs.FS.Remove(fs.PathJoin(fs.dir, name))
	}
}

// fail ends the start of a store that nobody has open any more. What was being created stays: the next
// start goes on with it.
func (fs *startFS) fail() (err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	was := false
	for name := range fs.had {
		was = was || layout.MakesStore(name)
	}
	if fs.had = nil; !was {
		return nil
	}
	// First those that say which of the others count.
	for _, markers := range [...]bool{true, false} {
		for _, name := range fs.made {
			if _, absent := fs.Stat(fs.PathJoin(fs.dir, name)); absent == nil && layout.IsMarker(name) == markers {
				err = errors.Join(err, fs.FS.Remove(fs.PathJoin(fs.dir, name)))
			}
		}
		if err = errors.Join(err, folder.Sync(fs.FS, fs.dir)); err != nil {
			return err
		}
	}
	return nil
}
