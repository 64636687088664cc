package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Errors of Open. Compare with errors.Is.
var (
	// ErrLocked is returned if the folder is already open, in this process or another.
	ErrLocked = errors.New("folder is in use")
	// ErrNewerFormat is returned if a newer version of the program wrote the store.
	ErrNewerFormat = errors.New("store was written by a newer version")
	// ErrForeign is returned if the folder holds something that is not a store.
	ErrForeign = errors.New("folder holds something else")
)

const folderMode = 0o700 // sessions are nobody else's business

// lockFolder creates the folder if need be, makes sure that it is ours and takes it.
func lockFolder(files vfs.FS, dir string) (*pebbledb.Lock, error) {
	if err := files.MkdirAll(dir, folderMode); err != nil {
		return nil, err
	}
	names, err := files.List(dir)
	if err != nil {
		return nil, err
	}
	if err := checkFolder(names); err != nil {
		return nil, err
	}
	lock, err := pebbledb.LockDirectory(dir, files)
	if err == nil {
		return lock, nil
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

// checkFolder looks at the names in a folder before anything is written to it.
func checkFolder(names []string) error {
	const format, manifest = "marker.format-version.", "marker.manifest."
	store := false
	foreign := ""
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, format):
			version, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(name), "."))
			if err == nil && version > int(pebbleFormat) {
				return fmt.Errorf("%w: it uses format %d of Pebble, and this one reads up to %d",
					ErrNewerFormat, version, int(pebbleFormat))
			}
		case strings.HasPrefix(name, manifest):
			store = true
		case !leftover(name):
			foreign = name
		}
	}
	if foreign != "" && !store {
		return fmt.Errorf("%w, %q for instance: choose an empty folder", ErrForeign, foreign)
	}
	return nil
}

// leftover reports whether the creation of a store may have left the file behind when it
// was interrupted, or whether it is what a fresh file system contains.
func leftover(name string) bool {
	if name == "LOCK" || name == "lost+found" || strings.HasPrefix(name, "marker.") {
		return true
	}
	var number string
	switch ext := filepath.Ext(name); {
	case ext == ".log" || ext == ".sst" || ext == ".dbtmp":
		number = strings.TrimSuffix(name, ext)
	case strings.HasPrefix(name, "MANIFEST-"):
		number = strings.TrimPrefix(name, "MANIFEST-")
	case strings.HasPrefix(name, "OPTIONS-"):
		number = strings.TrimPrefix(name, "OPTIONS-")
	}
	_, err := strconv.ParseUint(number, 10, 64)
	return err == nil
}

// resolve names a folder in one way only, so that a lock of this process is found whatever
// path led to it.
func resolve(dir string) (string, error) {
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
