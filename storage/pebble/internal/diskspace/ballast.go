package diskspace

import (
	"errors"
	"io"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// Ballast is space on the disk that no other program can take: files that hold nothing. They
// outlive the process, and let a store open on a full disk. They are removed one
// by one, because a program that fills the disk may be quicker to take what comes free.
type Ballast struct {
	fs   vfs.FS
	dir  string
	size int64 // of all files when none is missing
	none bool  // the file system does not tell its sizes: there is no ballast, and no limit

	mu     sync.Mutex // held while files come and go
	pieces [BallastPieces]int64
	held   atomic.Int64 // sum of pieces
}

// BallastPieces is how many files there are.
const BallastPieces = 8

func (b *Ballast) path(piece int) string {
	return b.fs.PathJoin(b.dir, layout.BallastName(piece))
}

// find takes over the ballast of an earlier run.
func (b *Ballast) find() error {
	for i := range b.pieces {
		info, err := b.fs.Stat(b.path(i))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		b.resize(i, info.Size())
	}
	return nil
}

func (b *Ballast) resize(piece int, size int64) {
	b.held.Add(size - b.pieces[piece])
	b.pieces[piece] = size
}

// Held returns how many bytes the ballast has now.
func (b *Ballast) Held() int64 { return b.held.Load() }

// Whole returns how many bytes the ballast has when no file is missing.
func (b *Ballast) Whole() int64 { return b.size }

// free returns what could be written to the disk if the ballast were released.
func (b *Ballast) free() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.available() + b.held.Load()
}

func (b *Ballast) available() int64 {
	usage, err := b.fs.GetDiskUsage(b.dir)
	if err != nil {
		return unlimited // writes will tell
	}
	return capped(usage.AvailBytes)
}

func capped(n uint64) int64 { return int64(min(n, unlimited)) }

// Release removes one file, whose space goes to the goroutine that writes next. It returns false if
// less than leave bytes of the ballast would remain.
func (b *Ballast) Release(leave int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, size := range b.pieces {
		if size == 0 || b.held.Load()-size < leave {
			continue
		}
		if b.fs.Remove(b.path(i)) == nil {
			b.resize(i, 0)
			return true
		}
	}
	return false
}

// refill makes the files that are missing, as far as the disk has space for them, and reports whether
// the ballast is whole.
func (b *Ballast) refill() bool {
	want := b.size / BallastPieces
	if b.none || b.held.Load() == want*BallastPieces {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, size := range b.pieces {
		if size == want {
			continue
		}
		if b.available()+size < want {
			return false
		}
		b.resize(i, 0)
		if b.write(b.path(i), want) != nil {
			_ = b.fs.Remove(b.path(i)) // it may be there in part
			return false
		}
		b.resize(i, want)
	}
	return true
}

func (b *Ballast) write(path string, size int64) (err error) {
	if err := b.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := b.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if runtime.GOOS == "linux" && f.Preallocate(0, size) == nil {
		_, err = f.WriteAt([]byte{0}, size-1) // blocks alone do not make the file longer
		return err
	}
	// On other systems Pebble's Preallocate does nothing. A file system that compresses would give
	// zeros no space.
	_, err = io.CopyN(f, folder.Filler(), size)
	return err
}
