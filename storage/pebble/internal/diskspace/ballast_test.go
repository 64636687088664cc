package diskspace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace/smalldisk"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// newBallast returns a ballast of 8 pieces of 1000 bytes on fs that was not made yet.
const testDir = "store"

// newSmall returns a file system in memory with total bytes.
func newSmall(t testing.TB, total int64) *smalldisk.FS {
	t.Helper()
	fs, err := smalldisk.New(vfs.NewMem(), testDir, total)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// noTree is the tree of a store that has nothing.
type noTree struct{ Tree }

func (noTree) Metrics() *pebbledb.Metrics { return &pebbledb.Metrics{} }

// noStore is a store that has nothing.
type noStore struct{ Store }

func (noStore) Usable() error { return nil }

func (noStore) Held() (log, unsaved int64) { return 0, 0 }

func newBallast(t testing.TB, fs vfs.FS) *Ballast {
	t.Helper()
	if err := fs.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &Ballast{fs: fs, dir: testDir, size: 8000}
}

// pieceSizes returns the sizes of the ballast's files, as they are on fs.
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

// Ensure that the ballast takes room, gives it back in pieces as far as it may, is made again,
// and that room counts it as free all the while.
func TestBallast_RefillAndRelease(t *testing.T) {
	t.Parallel()
	fs := newSmall(t, 20_000)
	r := newBallast(t, fs)
	expect := func(when string, held int64) {
		t.Helper()
		if got := r.Held(); got != held {
			t.Errorf("%s: it holds %d bytes, want %d", when, got, held)
		}
		if got := sumOf(pieceSizes(t, fs)); got != held {
			t.Errorf("%s: its files have %d bytes, want %d", when, got, held)
		}
		if got := fs.Left(); got != 20_000-held {
			t.Errorf("%s: %d bytes of the disk are left, want %d", when, got, 20_000-held)
		}
		if got := r.free(); got != 20_000 {
			t.Errorf("%s: room for %d bytes, want %d", when, got, 20_000)
		}
	}
	expect("before it is made", 0)
	if !r.refill() {
		t.Error("it could not be made")
	}
	expect("made", 8000)
	for _, held := range []int64{7000, 6000, 5000, 4000, 3000, 2000} {
		if !r.Release(2000) {
			t.Errorf("no piece is given while it has more than %d bytes", held)
		}
		expect("given", held)
	}
	if r.Release(2000) {
		t.Error("it gave what was to be left")
	}
	expect("a quarter is left", 2000)
	pieces := 0
	for r.Release(0) {
		pieces++
	}
	if pieces != 2 {
		t.Errorf("the last quarter is %d pieces, want 2", pieces)
	}
	expect("all is given", 0)
	if !r.refill() {
		t.Error("it could not be made again")
	}
	expect("made again", 8000)
}

// Ensure that what does not fit leaves no part of a piece behind, and that the rest is made
// when there is room.
func TestBallast_RefillWithoutSpace(t *testing.T) {
	t.Parallel()
	fs := newSmall(t, 3500)
	r := newBallast(t, fs)
	if r.refill() {
		t.Error("it is whole, and there was no room for that")
	}
	if sizes := pieceSizes(t, fs); len(sizes) != 3 || sumOf(sizes) != 3000 || r.Held() != 3000 {
		t.Errorf("pieces %v, %d bytes held, want three of 1000", sizes, r.Held())
	}
	fs.SetTotal(9000)
	if !r.refill() || sumOf(pieceSizes(t, fs)) != 8000 {
		t.Errorf("pieces %v when there is room", pieceSizes(t, fs))
	}
}

// Ensure that the next process takes over what it finds, and brings it to its own size.
func TestBallast_Find(t *testing.T) {
	t.Parallel()
	fs := newSmall(t, 20_000)
	first := newBallast(t, fs)
	if !first.refill() || !first.Release(0) || !first.Release(0) {
		t.Fatal("it could not be made")
	}
	second := newBallast(t, fs)
	if err := second.find(); err != nil || second.Held() != 6000 {
		t.Errorf("found %d bytes, %v, want 6000", second.Held(), err)
	}
	if !second.refill() || sumOf(pieceSizes(t, fs)) != 8000 {
		t.Errorf("pieces %v after it was made whole", pieceSizes(t, fs))
	}
	larger := newBallast(t, fs)
	larger.size = 16_000
	if err := larger.find(); err != nil {
		t.Fatal(err)
	}
	if !larger.refill() || sumOf(pieceSizes(t, fs)) != 16_000 || larger.Held() != 16_000 {
		t.Errorf("pieces %v for a larger disk", pieceSizes(t, fs))
	}
}

// Ensure that on a full disk each kind of file gets as much of the ballast as is meant for it,
// that a write goes on where it stopped, and that who gets some has new sessions refused.
func TestBallastFS(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		path     string
		category vfs.DiskWriteCategory
		free     int64 // of the disk, beside the ballast
		bytes    int   // that are written, in two parts
		fits     bool
		held     int64 // of the ballast afterwards
	}{
		{"log, room", "store/1.log", "pebble-wal", 4000, 4000, true, 8000},
		{"log, one piece", "store/1.log", "pebble-wal", 500, 1400, true, 7000},
		{"log, all of it", "store/1.log", "pebble-wal", 0, 8000, true, 0},
		{"log, more than all", "store/1.log", "pebble-wal", 10, 8020, false, 0},
		{"manifest", "store/MANIFEST-1", "pebble-manifest", 0, 7500, true, 0},
		{"flush", "store/1.sst", CategoryFlush, 10, 5000, true, 3000},
		{"flush, more than its share", "store/1.sst", CategoryFlush, 0, 5010, false, 3000},
		{"compaction", "store/1.sst", CategoryCompaction, 9000, 2000, true, 8000},
		{"compaction at the floor", "store/1.sst", CategoryCompaction, 5000, 5000, false, 8000},
		{"backup", "elsewhere/1.sst", "", 10, 20, false, 8000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fs := newSmall(t, 1<<20)
			config := Config{FS: fs, Dir: testDir, Clock: ttl.NewManual(1), Logger: slog.New(slog.DiscardHandler)}
			g := newGuard(t.Context(), config, thresholds{headroom: 8000, ballastSize: 8000, memTable: 4000})
			g.Attach(noTree{}, noStore{})
			g.parts.open.Store(true)
			if err := errors.Join(fs.MkdirAll(testDir, 0o700), fs.MkdirAll("elsewhere", 0o700)); err != nil {
				t.Fatal(err)
			}
			if !g.ballast.refill() {
				t.Fatal("no ballast")
			}
			fs.Leave(tt.free)
			want := bytes.Repeat([]byte("0123456789"), tt.bytes/10)
			f, err := ballastFS{fs, g}.Create(tt.path, tt.category)
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
			if tt.fits && (err != nil || n != len(want)) || !tt.fits && !IsFull(err) {
				t.Errorf("wrote %d of %d bytes, %v", n, len(want), err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if got := contentsOf(t, fs, tt.path); !bytes.Equal(got, want[:n]) {
				t.Errorf("the file has %d bytes, and not those that were written", len(got))
			}
			if got := g.ballast.Held(); got != tt.held {
				t.Errorf("%d bytes of the ballast are left, want %d", got, tt.held)
			}
			if got, want := g.Refuses(ClassInsert), tt.held < 8000; got != want {
				t.Errorf("new sessions are refused: %v, want %v", got, want)
			}
			if got, want := g.FlushBlocked(), tt.category == CategoryFlush && !tt.fits; got != want {
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
		if got := IsFull(tt.err); got != tt.want {
			t.Errorf("IsFull(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}
