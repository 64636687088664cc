package diskspace

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"syscall"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ballastFS hands out the last of the disk by what is written:
//
//   - a compaction may fail at any time, and is stopped before it takes what others need;
//   - a table in memory that cannot be written out can wait, until memory is full: then
//     Pebble would make commits wait with their stripes locked, so they are refused before;
//   - an error in the MANIFEST ends the store, and one in any other file may. The log has its
//     space before it is written.
//
// So when the disk is full, a flush and a small file get the ballast and try again, piece by piece, but
// the last three pieces are for small files. A write that failed in part goes on where it ended. A
// failed sync is not repeated: it may have dropped what it could not write, and the next
// one would succeed.
//
// Files in other folders, backups for instance, are not touched.
type ballastFS struct {
	vfs.FS
	guard *Guard
}

// Unwrap implements vfs.FS.
func (x ballastFS) Unwrap() vfs.FS { return x.FS }

// GetDiskUsage implements vfs.FS. Pebble asks it how large a compaction may grow, and lets it
// have a half: so Pebble is told what is left for compactions.
func (x ballastFS) GetDiskUsage(dir string) (vfs.DiskUsage, error) {
	usage, err := x.FS.GetDiskUsage(dir)
	left := x.guard.forCompactions(x.guard.disk.Load(), x.guard.left.Load())
	usage.AvailBytes = min(usage.AvailBytes, uint64(max(left, 0)))
	return usage, err
}

// Categories of Pebble's files.
const (
	// CategoryFlush is of a table in memory that is written out.
	CategoryFlush vfs.DiskWriteCategory = "pebble-memtable-flush"
	// CategoryCompaction is of a table that a compaction writes.
	CategoryCompaction vfs.DiskWriteCategory = "pebble-compaction"
)

// openDelay is how long a table that cannot be written holds up Pebble while it opens the
// store, which Pebble does not give up. Later retryDelayFS does that.
const openDelay = 250 * time.Millisecond

// delayOpen holds up a write that found no space, if the store is still to be opened.
func (x ballastFS) delayOpen() {
	if g := x.guard; !g.parts.open.Load() {
		if !g.waitsToOpen.Swap(true) {
			g.log(slog.LevelWarn, "the disk is full; waiting for room")
		}
		_ = g.clock.Sleep(g.over, openDelay) // an early end is welcome
	}
}

// Create implements vfs.FS.
func (x ballastFS) Create(name string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	if !x.ours(name) {
		return x.FS.Create(name, category)
	}
	err = x.attempt(category, 0, func() error {
		f, err = x.FS.Create(name, category)
		return err
	})
	return x.wrap(f, category, err)
}

// ReuseForWrite implements vfs.FS.
func (x ballastFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = x.attempt(category, 0, func() error {
		f, err = x.FS.ReuseForWrite(oldname, newname, category)
		return err
	})
	return x.wrap(f, category, err)
}

// Rename implements vfs.FS.
func (x ballastFS) Rename(oldname, newname string) error {
	if !x.ours(newname) {
		return x.FS.Rename(oldname, newname)
	}
	return x.attempt(vfs.WriteCategoryUnspecified, 0, func() error { return x.FS.Rename(oldname, newname) })
}

func (x ballastFS) ours(name string) bool { return x.PathDir(name) == x.guard.ballast.dir }

func (x ballastFS) wrap(f vfs.File, category vfs.DiskWriteCategory, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &ballastFile{File: f, fs: x, category: category}, nil
}

type ballastFile struct {
	vfs.File
	fs       ballastFS
	category vfs.DiskWriteCategory
}

func (f *ballastFile) Write(p []byte) (n int, err error) {
	err = f.fs.attempt(f.category, len(p), func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

// attempt calls write, which writes about n bytes, and again as long as the disk is full
// and the category may use some of the ballast.
func (x ballastFS) attempt(category vfs.DiskWriteCategory, n int, write func() error) error {
	g := x.guard
	switch category {
	case CategoryCompaction:
		err := errNoCompaction
		if g.admitTable(n) {
			err = write()
		}
		if IsFull(err) {
			g.state.apply(eventCompactionFull, measured{})
			// Pebble begins a cancelled compaction at once again, before all others. It leaves a failed
			// one alone for half a minute, and merges what the reclaimer asks for.
			if !g.reclaimer.running.Load() {
				err = fmt.Errorf("%w: %w", pebbledb.ErrCancelledCompaction, err)
			}
		}
		return err
	case CategoryFlush:
		err := x.insist(g.flushLeaves(), write)
		if IsFull(err) {
			g.BlockFlush()
			x.delayOpen()
		}
		return err
	default:
		for {
			err := x.insist(0, write)
			if !IsFull(err) || g.parts.open.Load() || g.over.Err() != nil {
				return err
			}
			x.delayOpen() // opening can wait for space, and Pebble would give up
		}
	}
}

// insist calls write until it finds space, and each time releases a piece of the ballast before, of which
// it leaves some.
func (x ballastFS) insist(leave int64, write func() error) error {
	err := write()
	for IsFull(err) && x.guard.release(leave) {
		err = write()
	}
	return err
}

var errNoCompaction error = fmt.Errorf("compaction put off: %w", syscall.ENOSPC)

// IsFull reports whether an error says that the disk or a quota of the system is full, or that a
// write was put off for that.
func IsFull(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	const handleDiskFull, diskFull = 39, 112 // of Windows
	return errno == syscall.ENOSPC || errno == syscall.EDQUOT ||
		runtime.GOOS == "windows" && (errno == handleDiskFull || errno == diskFull)
}
