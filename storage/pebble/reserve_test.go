package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// smallFS is a file system in memory with an end. Bytes count from when they are written or
// allocated until the file is removed. What does not fit is written in part, as Linux does.
type smallFS struct {
	vfs.FS
	refuses func(vfs.DiskWriteCategory) bool // whether what it creates finds no room at all

	mu      sync.Mutex
	total   int64
	foreign int64            // taken by somebody else
	sizes   map[string]int64 // by path
	held    int64            // sum of sizes
	most    int64            // that held ever was
}

// newSmallFS returns a file system of total bytes over fs, whose files in testDir count.
func newSmallFS(t testing.TB, fs vfs.FS, total int64) *smallFS {
	t.Helper()
	s := &smallFS{FS: fs, total: total, sizes: map[string]int64{}}
	names, err := fs.List(testDir)
	if err != nil {
		return s // there is no store yet
	}
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin(testDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !info.IsDir() {
			s.resizeLocked(fs.PathJoin(testDir, name), info.Size())
		}
	}
	return s
}

func (s *smallFS) Unwrap() vfs.FS { return s.FS }

func (s *smallFS) resizeLocked(path string, size int64) {
	s.held += size - s.sizes[path]
	s.most = max(s.most, s.held)
	s.sizes[path] = size
}

func (s *smallFS) leftLocked() int64 { return max(s.total-s.held-s.foreign, 0) }

// left returns how many bytes are left.
func (s *smallFS) left() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leftLocked()
}

// tables returns how many bytes Pebble's tables have.
func (s *smallFS) tables() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, size := range s.sizes {
		if strings.HasSuffix(name, ".sst") {
			n += size
		}
	}
	return n
}

// leave has somebody else take all but n bytes.
func (s *smallFS) leave(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.foreign = s.total - s.held - n
}

// release takes everything from somebody else.
func (s *smallFS) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.foreign = 0
}

// grow makes room in a file up to size, or as far as it goes, and returns how far that is.
func (s *smallFS) grow(path string, size int64) (int64, error) {
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

func (s *smallFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.leftLocked()
	return vfs.DiskUsage{AvailBytes: uint64(left), TotalBytes: uint64(s.total), UsedBytes: uint64(s.total - left)}, nil
}

func (s *smallFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if s.refuses != nil && s.refuses(category) {
		return nil, syscall.ENOSPC
	}
	f, err := s.FS.Create(name, category)
	return s.open(name, f, err, 0)
}

// open returns f, to whose file belong at least size bytes.
func (s *smallFS) open(name string, f vfs.File, err error, size int64) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resizeLocked(name, size)
	return &smallFile{File: f, fs: s, name: name}, nil
}

func (s *smallFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name, category, opts...)
	s.mu.Lock()
	size := s.sizes[name]
	s.mu.Unlock()
	return s.open(name, f, err, size)
}

func (s *smallFS) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.ReuseForWrite(from, to, category)
	return s.open(to, f, err, s.moved(from, err))
}

func (s *smallFS) Rename(from, to string) error {
	err := s.FS.Rename(from, to)
	if size := s.moved(from, err); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.resizeLocked(to, size)
	}
	return err
}

// moved forgets a file unless err is set and returns its size.
func (s *smallFS) moved(name string, err error) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := s.sizes[name]
	if err == nil {
		s.resizeLocked(name, 0)
		delete(s.sizes, name)
	}
	return size
}

func (s *smallFS) Remove(name string) error {
	err := s.FS.Remove(name)
	s.moved(name, err)
	return err
}

type smallFile struct {
	vfs.File
	fs   *smallFS
	name string
	at   int64 // where Write writes
}

func (f *smallFile) Write(p []byte) (int, error) {
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

func (f *smallFile) WriteAt(p []byte, at int64) (int, error) {
	if _, err := f.fs.grow(f.name, at+int64(len(p))); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

func (f *smallFile) Preallocate(at, length int64) error {
	_, err := f.fs.grow(f.name, at+length)
	return err
}

// newReserve returns a reserve of 8 pieces of 1000 bytes on fs that was not made yet.
func newReserve(t testing.TB, fs vfs.FS) *reserve {
	t.Helper()
	if err := fs.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &reserve{fs: fs, dir: testDir, size: 8000}
}

// pieceSizes returns the sizes of the reserve's files, as they are on fs.
func pieceSizes(t testing.TB, fs vfs.FS) (sizes []int64) {
	t.Helper()
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, layout.BallastPrefix) {
			continue
		}
		info, err := fs.Stat(fs.PathJoin(testDir, name))
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, info.Size())
	}
	return sizes
}

func sumOf(sizes []int64) (total int64) {
	for _, n := range sizes {
		total += n
	}
	return total
}

// Ensure that the reserve takes room, gives it back in pieces as far as it may, is made again,
// and that room counts it as free all the while.
func TestReserve_MakeAndGive(t *testing.T) {
	t.Parallel()
	fs := newSmallFS(t, vfs.NewMem(), 20_000)
	r := newReserve(t, fs)
	expect := func(when string, held int64) {
		t.Helper()
		if got := r.held.Load(); got != held {
			t.Errorf("%s: it holds %d bytes, want %d", when, got, held)
		}
		if got := sumOf(pieceSizes(t, fs)); got != held {
			t.Errorf("%s: its files have %d bytes, want %d", when, got, held)
		}
		if got := fs.left(); got != 20_000-held {
			t.Errorf("%s: %d bytes of the disk are left, want %d", when, got, 20_000-held)
		}
		if got := r.room(); got != 20_000 {
			t.Errorf("%s: room for %d bytes, want %d", when, got, 20_000)
		}
	}
	expect("before it is made", 0)
	if !r.make() {
		t.Error("it could not be made")
	}
	expect("made", 8000)
	for _, held := range []int64{7000, 6000, 5000, 4000, 3000, 2000} {
		if !r.give(2000) {
			t.Errorf("no piece is given while it has more than %d bytes", held)
		}
		expect("given", held)
	}
	if r.give(2000) {
		t.Error("it gave what was to be left")
	}
	expect("a quarter is left", 2000)
	pieces := 0
	for r.give(0) {
		pieces++
	}
	if pieces != 2 {
		t.Errorf("the last quarter is %d pieces, want 2", pieces)
	}
	expect("all is given", 0)
	if !r.make() {
		t.Error("it could not be made again")
	}
	expect("made again", 8000)
}

// Ensure that what does not fit leaves no part of a piece behind, and that the rest is made
// when there is room.
func TestReserve_MakeWithoutRoom(t *testing.T) {
	t.Parallel()
	fs := newSmallFS(t, vfs.NewMem(), 3500)
	r := newReserve(t, fs)
	if r.make() {
		t.Error("it is whole, and there was no room for that")
	}
	if sizes := pieceSizes(t, fs); len(sizes) != 3 || sumOf(sizes) != 3000 || r.held.Load() != 3000 {
		t.Errorf("pieces %v, %d bytes held, want three of 1000", sizes, r.held.Load())
	}
	fs.mu.Lock()
	fs.total = 9000
	fs.mu.Unlock()
	if !r.make() || sumOf(pieceSizes(t, fs)) != 8000 {
		t.Errorf("pieces %v when there is room", pieceSizes(t, fs))
	}
}

// Ensure that the next process takes over what it finds, and brings it to its own size.
func TestReserve_Find(t *testing.T) {
	t.Parallel()
	fs := newSmallFS(t, vfs.NewMem(), 20_000)
	first := newReserve(t, fs)
	if !first.make() || !first.give(0) || !first.give(0) {
		t.Fatal("it could not be made")
	}
	second := newReserve(t, fs)
	if err := second.find(); err != nil || second.held.Load() != 6000 {
		t.Errorf("found %d bytes, %v, want 6000", second.held.Load(), err)
	}
	if !second.make() || sumOf(pieceSizes(t, fs)) != 8000 {
		t.Errorf("pieces %v after it was made whole", pieceSizes(t, fs))
	}
	larger := newReserve(t, fs)
	larger.size = 16_000
	if err := larger.find(); err != nil {
		t.Fatal(err)
	}
	if !larger.make() || sumOf(pieceSizes(t, fs)) != 16_000 || larger.held.Load() != 16_000 {
		t.Errorf("pieces %v for a larger disk", pieceSizes(t, fs))
	}
}

// Ensure that there is none where the file system does not tell its sizes, and that room has
// no end there.
func TestReserve_UnknownDisk(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{})
	defer closeTest(t, e)
	e.watchRoom()
	if sizes := pieceSizes(t, fs); len(sizes) > 0 || e.room.reserve.room() < unlimited {
		t.Errorf("pieces %v, room for %d bytes", sizes, e.room.reserve.room())
	}
	put(t, e, "a", "value", ttl.Never)
}

// Ensure that on a full disk each kind of file gets as much of the reserve as is meant for it,
// that a write goes on where it stopped, and that who gets some has new sessions refused.
func TestReserveFS(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		path     string
		category vfs.DiskWriteCategory
		free     int64 // of the disk, beside the reserve
		bytes    int   // that are written, in two parts
		fits     bool
		held     int64 // of the reserve afterwards
	}{
		{"log, room", "store/1.log", "pebble-wal", 4000, 4000, true, 8000},
		{"log, one piece", "store/1.log", "pebble-wal", 500, 1400, true, 7000},
		{"log, all of it", "store/1.log", "pebble-wal", 0, 8000, true, 0},
		{"log, more than all", "store/1.log", "pebble-wal", 10, 8020, false, 0},
		{"manifest", "store/MANIFEST-1", "pebble-manifest", 0, 7500, true, 0},
		{"flush", "store/1.sst", categoryFlush, 10, 5000, true, 3000},
		{"flush, more than its share", "store/1.sst", categoryFlush, 0, 5010, false, 3000},
		{"compaction", "store/1.sst", categoryCompaction, 9000, 2000, true, 8000},
		{"compaction at the floor", "store/1.sst", categoryCompaction, 5000, 5000, false, 8000},
		{"backup", "elsewhere/1.sst", "", 10, 20, false, 8000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fs := newSmallFS(t, vfs.NewMem(), 1<<20)
			r := &room{geometry: geometry{keep: 8000, size: 8000, memTable: 4000}, clock: ttl.NewManual(1),
				logger: slog.New(slog.NewTextHandler(io.Discard, nil)), over: t.Context()}
			r.open.Store(true)
			r.reserve.fs, r.reserve.dir, r.reserve.size = fs, testDir, 8000
			if err := errors.Join(fs.MkdirAll(testDir, 0o700), fs.MkdirAll("elsewhere", 0o700)); err != nil {
				t.Fatal(err)
			}
			if !r.reserve.make() {
				t.Fatal("no reserve")
			}
			fs.leave(tt.free)
			want := bytes.Repeat([]byte("0123456789"), tt.bytes/10)
			f, err := reserveFS{fs, r}.Create(tt.path, tt.category)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for half := range slices.Chunk(bytes.Clone(want), len(want)/2) { // MemFS overwrites what it is given
				var m int
				m, err = f.Write(half)
				if n += m; err != nil {
					break
				}
			}
			if tt.fits && (err != nil || n != len(want)) || !tt.fits && !isFull(err) {
				t.Errorf("wrote %d of %d bytes, %v", n, len(want), err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if got := contentsOf(t, fs, tt.path); !bytes.Equal(got, want[:n]) {
				t.Errorf("the file has %d bytes, and not those that were written", len(got))
			}
			if got := r.reserve.held.Load(); got != tt.held {
				t.Errorf("%d bytes of the reserve are left, want %d", got, tt.held)
			}
			if got, want := r.refuses(grows), tt.held < 8000; got != want {
				t.Errorf("new sessions are refused: %v, want %v", got, want)
			}
			if got, want := r.stuck.Load(), tt.category == categoryFlush && !tt.fits; got != want {
				t.Errorf("a table in memory is stuck: %v, want %v", got, want)
			}
		})
	}
}

func contentsOf(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIsFull(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  error
		want bool
	}{
		{nil, false},
		{syscall.ENOSPC, true},
		{fmt.Errorf("write 000001.log: %w", syscall.ENOSPC), true},
		{syscall.EDQUOT, true},
		{errNoCompaction, true},
		{syscall.EIO, false},
		{errors.New("no space left on device"), false},
	}
	for _, tt := range tests {
		if got := isFull(tt.err); got != tt.want {
			t.Errorf("isFull(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}
