package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// reserve is room on the disk that nobody else can take: files that hold nothing. It
// outlives the process, and is what lets a store open on a full disk. It is given back in
// pieces, because a program that fills the disk may be quicker to take what comes free.
type reserve struct {
	fs   vfs.FS
	dir  string
	size int64 // of a whole one
	none bool  // the file system does not tell its sizes: there is no reserve, and no limit

	mu     sync.Mutex // held while pieces come and go
	pieces [reservePieces]int64
	held   atomic.Int64 // sum of pieces
}

const reservePieces = 8

func (r *reserve) path(piece int) string {
	return r.fs.PathJoin(r.dir, layout.BallastName(piece))
}

// find takes over the reserve of an earlier run.
func (r *reserve) find() error {
	for i := range r.pieces {
		info, err := r.fs.Stat(r.path(i))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		r.resize(i, info.Size())
	}
	return nil
}

func (r *reserve) resize(piece int, size int64) {
	r.held.Add(size - r.pieces[piece])
	r.pieces[piece] = size
}

// room returns what could be written to the disk if the reserve were given back.
func (r *reserve) room() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.available() + r.held.Load()
}

func (r *reserve) available() int64 {
	usage, err := r.fs.GetDiskUsage(r.dir)
	if err != nil {
		return unlimited // writes will tell
	}
	return capped(usage.AvailBytes)
}

// give gives a piece back to whoever writes next, and reports whether there was one above
// what is to be left of the reserve.
func (r *reserve) give(leave int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, size := range r.pieces {
		if size == 0 || r.held.Load()-size < leave {
			continue
		}
		if r.fs.Remove(r.path(i)) == nil {
			r.resize(i, 0)
			return true
		}
	}
	return false
}

// make makes what is missing of the reserve, as far as there is room, and reports whether it
// is whole.
func (r *reserve) make() bool {
	want := r.size / reservePieces
	if r.none || r.held.Load() == want*reservePieces {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, size := range r.pieces {
		if size == want {
			continue
		}
		if r.available()+size < want {
			return false
		}
		r.resize(i, 0)
		if r.write(r.path(i), want) != nil {
			_ = r.fs.Remove(r.path(i)) // it may be there in part
			return false
		}
		r.resize(i, want)
	}
	return true
}

func (r *reserve) write(path string, size int64) (err error) {
	if err := r.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := r.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if runtime.GOOS == "linux" && f.Preallocate(0, size) == nil {
		_, err = f.WriteAt([]byte{0}, size-1) // blocks alone do not make the file longer
		return err
	}
	// Elsewhere Pebble's Preallocate does nothing. Zeros would take no room on a file
	// system that compresses.
	_, err = io.CopyN(f, folder.Filler(), size)
	return err
}

// reserveFS hands out the last of the disk by what is written:
//
//   - a compaction may fail at any time, and is stopped before it takes what others need;
//   - a table in memory that cannot be written out can wait, until memory is full: then
//     Pebble would make commits wait with their stripes locked, so they are refused before;
//   - an error in the manifest ends the store, and one in any other file may. The log has its
//     room before it is written.
//
// So when the disk is full the last two get the reserve and try again, piece by piece, but
// the last three pieces are for the last. A write that failed in part goes on where it ended. A
// failed sync is not repeated: it may have dropped what it could not write, and the next
// one would succeed.
//
// Pebble begins a failed compaction or flush anew at once. Those wait here a little.
//
// Files in other folders, backups for instance, are not touched.
type reserveFS struct {
	vfs.FS
	room *room
}

func (x reserveFS) Unwrap() vfs.FS { return x.FS }

// GetDiskUsage implements vfs.FS. Pebble asks it how large a compaction may grow, and lets it
// have a half: so it hears what is left to compactions.
func (x reserveFS) GetDiskUsage(dir string) (vfs.DiskUsage, error) {
	usage, err := x.FS.GetDiskUsage(dir)
	left := x.room.forTables(x.room.disk.Load(), x.room.left.Load())
	usage.AvailBytes = min(usage.AvailBytes, uint64(max(left, 0)))
	return usage, err
}

// Categories of Pebble's files.
const (
	categoryFlush      vfs.DiskWriteCategory = "pebble-memtable-flush"
	categoryCompaction vfs.DiskWriteCategory = "pebble-compaction"
)

// openPause is how long a table that cannot be written holds up Pebble while it opens the
// store, which it does not give up. Later on pacedFS does that.
const openPause = 250 * time.Millisecond

func (r *room) rest() {
	if !r.open.Load() {
		if !r.waits.Swap(true) {
			r.log(slog.LevelWarn, "the disk is full; waiting for room")
		}
		_ = r.clock.Sleep(r.over, openPause) // an early end is welcome
	}
}

func (x reserveFS) Create(name string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	if !x.ours(name) {
		return x.FS.Create(name, category)
	}
	err = x.room.attempt(category, 0, func() error {
		f, err = x.FS.Create(name, category)
		return err
	})
	return x.wrap(f, category, err)
}

func (x reserveFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = x.room.attempt(category, 0, func() error {
		f, err = x.FS.ReuseForWrite(oldname, newname, category)
		return err
	})
	return x.wrap(f, category, err)
}

func (x reserveFS) Rename(oldname, newname string) error {
	if !x.ours(newname) {
		return x.FS.Rename(oldname, newname)
	}
	return x.room.attempt(vfs.WriteCategoryUnspecified, 0, func() error { return x.FS.Rename(oldname, newname) })
}

func (x reserveFS) ours(name string) bool { return x.PathDir(name) == x.room.reserve.dir }

func (x reserveFS) wrap(f vfs.File, category vfs.DiskWriteCategory, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &reserveFile{File: f, room: x.room, category: category}, nil
}

type reserveFile struct {
	vfs.File
	room     *room
	category vfs.DiskWriteCategory
}

func (f *reserveFile) Write(p []byte) (n int, err error) {
	err = f.room.attempt(f.category, len(p), func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

// attempt calls write, which writes about n bytes, and again as long as the disk is full
// and there is some of the reserve for the category.
func (r *room) attempt(category vfs.DiskWriteCategory, n int, write func() error) error {
	switch category {
	case categoryCompaction:
		err := errNoCompaction
		if r.takeTable(n) {
			err = write()
		}
		if isFull(err) {
			r.cramped.Store(true)
			if r.crowds() {
				r.refuse(extends)
			}
			// Pebble begins what was called off at once again, before all others. What failed it
			// leaves alone for half a minute, and merges what Engine.squeeze asks for.
			if !r.squeezer.running.Load() {
				err = fmt.Errorf("%w: %w", pebbledb.ErrCancelledCompaction, err)
			}
		}
		return err
	case categoryFlush:
		err := r.insist(r.spared(), write)
		if isFull(err) {
			r.stall()
			r.rest()
		}
		return err
	default:
		for {
			err := r.insist(0, write)
			if !isFull(err) || r.open.Load() || r.over.Err() != nil {
				return err
			}
			r.rest() // opening can wait for room, and Pebble would give up
		}
	}
}

func (r *room) insist(leave int64, write func() error) error {
	err := write()
	for isFull(err) && r.reserve.give(leave) {
		r.disk.Store(r.reserve.room()) // it was more when it was looked at
		r.refuse(grows)
		if r.bare() {
			r.refuse(ends)
		}
		err = write()
	}
	return err
}

var errNoCompaction error = fmt.Errorf("compaction put off: %w", syscall.ENOSPC)

// isFull reports whether there is no room for what was written, or no leave to take it.
func isFull(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	const handleDiskFull, diskFull = 39, 112 // of Windows
	return errno == syscall.ENOSPC || errno == syscall.EDQUOT ||
		runtime.GOOS == "windows" && (errno == handleDiskFull || errno == diskFull)
}
