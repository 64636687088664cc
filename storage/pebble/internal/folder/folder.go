// Package folder keeps the folder of a store its owner's alone: it finds the one name of a folder,
// locks it, makes sure that what lies in it is a store or nothing, and opens and makes files that
// nobody else may read. It knows the names and the beginnings of files, and nothing of what a store
// does with them.
package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
)

// Errors of Open. Compare with errors.Is.
var (
	// ErrLocked is returned if the folder is already open, in this process or another.
	ErrLocked = errors.New("folder is in use")
	// ErrForeign is returned if the folder holds something that is not a store, or something
	// else in the place of one of its files. It is left as it is.
	ErrForeign = errors.New("folder holds something else")
	// ErrNoStore is returned by those who read a store that must exist.
	ErrNoStore = errors.New("the folder holds no sessions of sessiond")
)

// Sessions are nobody else's business.
const (
	Mode     fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// Lock creates the folder if need be, makes sure that it is ours and takes it.
func Lock(files vfs.FS, dir string) (*pebbledb.Lock, error) {
	if err := files.MkdirAll(dir, Mode); err != nil {
		return nil, err
	}
	names, err := files.List(dir)
	if err != nil {
		return nil, err
	}
	if err := Check(names); err != nil {
		if strange := Recognise(files, dir); strange != nil {
			return nil, strange
		}
		return nil, pebblefile.OpenError(dir, err)
	}
	// To take the lock empties the file.
	if err := recogniseFile(files, dir, layout.LockFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	lock, err := pebbledb.LockDirectory(dir, files)
	if err == nil || errors.Is(err, ErrForeign) {
		return lock, err
	}
	// The file could not be created, or the file system knows no locks: not a conflict.
	var pathErr *fs.PathError
	var errno syscall.Errno
	busy := !errors.As(err, &errno) || errno == syscall.EAGAIN || errno == syscall.EACCES
	if errors.As(err, &pathErr) || !busy {
		return nil, err
	}
	return nil, fmt.Errorf("%w: stop the process that has it open or choose another folder", ErrLocked)
}

// Check looks at the names in a folder before anything is written to it.
func Check(names []string) error {
	store, content, foreign := false, "", ""
	for _, name := range names {
		switch kind := layout.KindOf(name); {
		case strings.HasPrefix(name, layout.FormatMarker):
			version, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(name), "."))
			if err == nil && version > int(pebblefile.Format) {
				return fmt.Errorf("%w: it uses format %d of Pebble, and this one reads up to %d",
					layout.ErrNewerFormat, version, int(pebblefile.Format))
			}
			content = name
		case strings.HasPrefix(name, layout.ManifestMarker):
			store = true
		case kind == layout.ContentFile:
			content = name
		case kind == layout.ForeignFile:
			foreign = name
		}
	}
	switch {
	case store:
		return nil
	case foreign != "":
		return fmt.Errorf("%w, %q for instance: choose an empty folder", ErrForeign, foreign)
	case content != "":
		// Pebble would take the folder for an empty one and remove what it holds.
		return fmt.Errorf("%w: it has %s and no %s*", layout.ErrDamaged, content, layout.ManifestMarker)
	}
	return nil
}

// Resolve names a folder in one way only, so that a lock of this process is found whatever
// path led to it.
func Resolve(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return dir, nil
	}
	return real, err
}

// RefuseOther refuses the folder of a store of another format and leaves it as it is.
func RefuseOther(files vfs.FS, dir string) error {
	names, err := files.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return layout.OtherFormat(names)
}

// NoStore returns the error of a caller who finds no store in a folder that has these names.
func NoStore(names []string) error {
	if slices.Contains(names, layout.ReceiptName) {
		return fmt.Errorf("%w, but a backup: sessiond restore makes a data folder of it", ErrNoStore)
	}
	return ErrNoStore
}
