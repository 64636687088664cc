package repair

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
)

// errReadOnly is what salvageFS says to whoever wants to change a file.
var errReadOnly = errors.New("the folder is only read")

// salvageFS shows Pebble a folder that may be damaged, and nothing changes it: what Pebble makes is
// in memory, and what it removes stays. Pebble's OPTIONS files do not appear, nor its own
// logs, which are empty, and the marker of its format always does: without them no session is lost.
type salvageFS struct {
	vfs.FS
	memory   *vfs.MemFS // what was made, by names without the folder
	progress func(bytes int)

	mu   sync.Mutex
	last blockRead // of tables
	bad  map[blockRead]bool
}

// blockRead is one read of a block of a table.
type blockRead struct {
	path string
	at   int64
	size int
}

var errBadBlock = errors.New("a block whose checksum is wrong")

// blame is called when Pebble could not read something. If that was because of a block with
// a wrong checksum, the next to ask for it is told so at once. Pebble would try each of its
// bits anew for the one that was flipped, which takes it a hundred times as long as to read it.
func (s *salvageFS) blame() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.path == "" || s.bad[s.last] {
		return
	}
	f, err := s.FS.Open(s.last.path)
	if err != nil {
		return
	}
	b := make([]byte, s.last.size)
	_, err = f.ReadAt(b, s.last.at)
	if err := errors.Join(err, f.Close()); err != nil || !wrongChecksum(b) {
		return // it was something else
	}
	if s.bad == nil {
		s.bad = map[blockRead]bool{}
	}
	s.bad[s.last] = true
}

// wrongChecksum reports whether b is no block of a table: bytes | type <1b> | checksum <4b>.
func wrongChecksum(b []byte) bool {
	const checksum = 4
	n := len(b) - checksum
	return n > 0 && binary.LittleEndian.Uint32(b[n:]) != pebblefile.ChunkSum(b[:n])
}

// begin notes a read and reports whether it cannot succeed.
func (s *salvageFS) begin(r blockRead) (bad bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = r
	return s.bad[r]
}

func (s *salvageFS) Unwrap() vfs.FS { return s.FS }

func (s *salvageFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return s.memory.Create(filepath.Base(name), category)
}

func (s *salvageFS) Rename(oldname, newname string) error {
	return s.memory.Rename(filepath.Base(oldname), filepath.Base(newname))
}

func (s *salvageFS) Remove(name string) error {
	if err := s.memory.Remove(filepath.Base(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *salvageFS) Link(string, string) error          { return errReadOnly }
func (s *salvageFS) RemoveAll(string) error             { return errReadOnly }
func (s *salvageFS) MkdirAll(string, fs.FileMode) error { return nil }
func (s *salvageFS) OpenDir(string) (vfs.File, error)   { return s.memory.OpenDir("") }

func (s *salvageFS) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, errReadOnly
}

func (s *salvageFS) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errReadOnly
}

// Lock gives Pebble a lock of no use: whoever made s holds the real one.
func (s *salvageFS) Lock(string) (io.Closer, error) { return noLock{}, nil }

type noLock struct{}

func (noLock) Close() error { return nil }

func (s *salvageFS) List(dir string) ([]string, error) {
	names, err := s.FS.List(dir)
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "OPTIONS-") || filepath.Ext(name) == ".log" })
	if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, layout.FormatMarker) }) {
		names = append(names, fmt.Sprintf("%s000001.%03d", layout.FormatMarker, pebblefile.Format))
	}
	return names, err
}

func (s *salvageFS) Stat(name string) (vfs.FileInfo, error) {
	if info, err := s.memory.Stat(filepath.Base(name)); err == nil {
		return info, nil
	}
	return s.FS.Stat(name)
}

func (s *salvageFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if f, err := s.memory.Open(filepath.Base(name), opts...); err == nil {
		return f, nil
	}
	f, err := s.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return &tableFile{File: f, fs: s, path: name}, nil
}

// tableFile is a table, or another file that Pebble reads.
type tableFile struct {
	vfs.File
	fs   *salvageFS
	path string
}

func (f *tableFile) ReadAt(p []byte, off int64) (int, error) {
	if f.fs.begin(blockRead{f.path, off, len(p)}) {
		return 0, errBadBlock
	}
	n, err := f.File.ReadAt(p, off)
	f.fs.progress(n)
	return n, err
}
