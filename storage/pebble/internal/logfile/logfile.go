// Package logfile lets the log (package wal) write to the folder of a store through the file systems
// that Pebble's files use, and makes damage of the log damage of the store.
package logfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

const category vfs.DiskWriteCategory = "sessiond-log"

// Problem makes damage of the log damage of the store.
func Problem(err error) error {
	var damage *wal.Damage
	switch {
	case errors.As(err, &damage):
		return pebblefile.NewProblemError(damage.File, fmt.Sprintf("is damaged at byte %d: %s", damage.Offset, damage.Reason))
	case errors.Is(err, wal.ErrMissing):
		return pebblefile.NewProblemError(wal.ControlName, "is missing, and the newest changes are in the log")
	case errors.Is(err, wal.ErrNewer):
		return fmt.Errorf("%w: %w", layout.ErrNewerFormat, err)
	}
	return err
}

// FS is the file system as the log sees it: a wal.FS.
type FS struct {
	vfs.FS
	ReadOnly bool
	Folder   vfs.FS      // syncs the folder; nil means FS
	Fits     func() bool // reports whether there is room for one more segment; nil means that there is
}

// errNoSegment says that the log does not grow: what is left is for those who make room.
var errNoSegment error = fmt.Errorf("segment of the log put off: %w", syscall.ENOSPC)

func (x FS) Create(path string) (wal.File, error) {
	if !x.fits(path) {
		return nil, errNoSegment
	}
	return newLogFile(x.FS.Create(path, category))
}

// fits reports whether there is room for a file of the log. It needs only those that it begins with.
func (x FS) fits(path string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(x.PathBase(path), "log."))
	if err != nil || n <= wal.MinSegments || x.Fits == nil {
		return true
	}
	return x.Fits()
}

func (x FS) Open(path string) (wal.File, error) {
	if x.ReadOnly {
		return newLogFile(x.FS.Open(path))
	}
	if _, err := x.Stat(path); err != nil { // to open it would make it
		return nil, err
	}
	return newLogFile(x.OpenReadWrite(path, category))
}

// SyncDir syncs the folder as the tree does: if that fails it must not be tried again, by whomever.
func (x FS) SyncDir(dir string) error {
	if x.Folder != nil {
		return folder.Sync(x.Folder, dir)
	}
	return folder.Sync(x.FS, dir)
}

func (x FS) Join(dir, name string) string { return x.PathJoin(dir, name) }

// logFile is a file of the log.
type logFile struct{ vfs.File }

func newLogFile(f vfs.File, err error) (wal.File, error) {
	if err != nil {
		return nil, err
	}
	return logFile{f}, nil
}

func (f logFile) Sync() error { return f.SyncData() }

func (f logFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
