package wal

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// FS is what the log needs of a file system. Its methods are safe for concurrent use.
type FS interface {
	// Create makes an empty file for reading and writing, in place of one that is there.
	Create(path string) (File, error)
	// Open opens a file that exists for reading and writing. The error is io/fs.ErrNotExist if
	// there is none.
	Open(path string) (File, error)
	// SyncDir brings the names of the files in a folder to stable storage.
	SyncDir(dir string) error
	// Join returns the path of a file in a folder.
	Join(dir, name string) string
}

// File is an open file. ReadAt and WriteAt are safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync brings what was written to stable storage. It may leave out what is not needed to
	// read it again, such as times.
	Sync() error
	// Size returns the length of the file in bytes.
	Size() (int64, error)
}

// Errors of Open. Compare with errors.Is.
var (
	// ErrDamaged says that frames which were written are not there or not valid.
	ErrDamaged = errors.New("the log is damaged")
	// ErrNewer says that a newer program wrote the log.
	ErrNewer = errors.New("written by a newer version")
	// ErrMissing says that there is no log where there should be one.
	ErrMissing = errors.New("the log is missing")
)

// ErrReleased says that the log has given up frames that the caller needs.
var ErrReleased = errors.New("the log was released already")

// ErrFull is returned by Append when every segment is in use.
var ErrFull = errors.New("the log is full")

// ErrTooLarge is returned by Append for a frame that fits no segment.
var ErrTooLarge = errors.New("the change does not fit a segment of the log")

// Damage is an ErrDamaged that says where.
type Damage struct {
	File   string // its name in the folder of the log
	Offset int64  // in bytes
	Reason string
}

// Error implements error.
func (d *Damage) Error() string {
	return fmt.Sprintf("%v: %s at byte %d: %s", ErrDamaged, d.File, d.Offset, d.Reason)
}

// Unwrap makes errors.Is(d, ErrDamaged) true.
func (d *Damage) Unwrap() error { return ErrDamaged }

// ControlName is the file that a log has from its creation on.
const ControlName = "log.control"

// FileKind says how to recognise a file of the log.
type FileKind struct {
	Magic string  // what it has at each of At, or zeros where nothing was written yet
	At    []int64 // in bytes
}

// Lookup returns what a file of the log looks like, if the name is that of one.
func Lookup(name string) (kind FileKind, ok bool) {
	switch name {
	case ControlName:
		return FileKind{controlMagic, []int64{0, controlPage}}, true
	case markName:
		return FileKind{markMagic, []int64{0}}, true
	}
	digits, ok := strings.CutPrefix(name, "log.")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > MaxSegments || name != segmentName(n) {
		return FileKind{}, false
	}
	return FileKind{segmentMagic, []int64{0}}, true
}
