// Package smalldisk is a file system with few bytes, for tests of what happens when a disk is full.
package smalldisk

import (
	"maps"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system with an end. Bytes count from when they are written or
// allocated until the file is removed. What does not fit is written in part, as Linux does.
type FS struct {
	vfs.FS
	// Refuses reports whether a file that is created finds no space at all. It may be nil.
	Refuses func(vfs.DiskWriteCategory) bool

	mu      sync.Mutex
	total   int64
	foreign int64            // taken by somebody else
	sizes   map[string]int64 // by path
	held    int64            // sum of sizes
	most    int64            // the largest that held ever was
}

// New returns a file system of total bytes over fs, on which the files in dir count already.
func New(fs vfs.FS, dir string, total int64) (*FS, error) {
	s := &FS{FS: fs, total: total, sizes: map[string]int64{}}
	names, err := fs.List(dir)
	if err != nil {
		return s, nil // there is no such folder yet
	}
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			s.resizeLocked(fs.PathJoin(dir, name), info.Size())
		}
	}
	return s, nil
}

// Unwrap implements vfs.FS.
func (s *FS) Unwrap() vfs.FS { return s.FS }

func (s *FS) resizeLocked(path string, size int64) {
	s.held += size - s.sizes[path]
	s.most = max(s.most, s.held)
	s.sizes[path] = size
}

func (s *FS) leftLocked() int64 { return max(s.total-s.held-s.foreign, 0) }

// Left returns how many bytes are left.
func (s *FS) Left() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leftLocked()
}

// Tables returns how many bytes Pebble's tables have.
func (s *FS) Tables() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, size := range s.sizes {
		if strings.HasSuffix(name, ".sst") {
			n += size
		}
	}
	return n
}

// Held returns how many bytes its files have, and how many they have had at most.
func (s *FS) Held() (now, most int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held, s.most
}

// Sizes returns how many bytes each file has, by path.
func (s *FS) Sizes() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.sizes)
}

// Total returns how large it is.
func (s *FS) Total() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// SetTotal makes it larger or smaller.
func (s *FS) SetTotal(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total = n
}

// Take has somebody else take as much as somebody else has of another one.
func (s *FS) Take(from *FS) {
	from.mu.Lock()
	n := from.foreign
	from.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.foreign = n
}

// Leave has somebody else take all but n bytes.
func (s *FS) Leave(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.foreign = s.total - s.held - n
}

// Release takes everything from somebody else.
func (s *FS) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.foreign = 0
}

// grow makes room in a file up to size, or as far as it goes, and returns how far that is.
func (s *FS) grow(path string, size int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, there := s.sizes[path]
	if !there || size <= old {
		return size, nil // it was removed and is still open
	}
	if left := s.leftLocked(); size-old > left {
		s.resizeLocked(path, old+left)
		return old + left, syscall.ENOSPC
	}
	s.resizeLocked(path, size)
	return size, nil
}

// GetDiskUsage implements vfs.FS.
func (s *FS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.leftLocked()
	return vfs.DiskUsage{AvailBytes: uint64(left), TotalBytes: uint64(s.total), UsedBytes: uint64(s.total - left)}, nil
}

// Create implements vfs.FS.
func (s *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if s.Refuses != nil && s.Refuses(category) {
		return nil, syscall.ENOSPC
	}
	f, err := s.FS.Create(name, category)
	return s.open(name, f, err, 0)
}

// open returns f, to whose file belong at least size bytes.
func (s *FS) open(name string, f vfs.File, err error, size int64) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resizeLocked(name, size)
	return &file{File: f, fs: s, name: name}, nil
}

// OpenReadWrite implements vfs.FS.
func (s *FS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name, category, opts...)
	s.mu.Lock()
	size := s.sizes[name]
	s.mu.Unlock()
	return s.open(name, f, err, size)
}

// ReuseForWrite implements vfs.FS.
func (s *FS) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.ReuseForWrite(from, to, category)
	return s.open(to, f, err, s.moved(from, err))
}

// Rename implements vfs.FS.
func (s *FS) Rename(from, to string) error {
	err := s.FS.Rename(from, to)
	if size := s.moved(from, err); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.resizeLocked(to, size)
	}
	return err
}

// moved forgets a file unless err is set and returns its size.
func (s *FS) moved(name string, err error) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := s.sizes[name]
	if err == nil {
		s.resizeLocked(name, 0)
		delete(s.sizes, name)
	}
	return size
}

// Remove implements vfs.FS.
func (s *FS) Remove(name string) error {
	err := s.FS.Remove(name)
	s.moved(name, err)
	return err
}

type file struct {
	vfs.File
	fs   *FS
	name string
	at   int64 // where Write writes
}

func (f *file) Write(p []byte) (int, error) {
	end, full := f.fs.grow(f.name, f.at+int64(len(p)))
	n := 0
	if end > f.at {
		var err error
		if n, err = f.File.Write(p[:end-f.at]); err != nil {
			return n, err
		}
	}
	f.at += int64(n)
	return n, full
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	if _, err := f.fs.grow(f.name, at+int64(len(p))); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

func (f *file) Preallocate(at, length int64) error {
	_, err := f.fs.grow(f.name, at+length)
	return err
}
