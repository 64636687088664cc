package pebble

import (
	"fmt"
	"log/slog"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/mmap"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// Options changes how Open opens a store. The zero value is ready to use.
type Options struct {
	// Durability says how safe a change is before its reply. Zero means storage.Session.
	Durability storage.Durability
	// CacheBytes bounds the caches: of records, and of uncompressed blocks. Zero means 256 MiB.
	CacheBytes int64
	// LogBytes bounds the log, which is how much is read again after the process was killed: from
	// 1 MiB to 8 GiB. It counts when the store is made, and bounds what is in memory of
	// changes until a checkpoint, too. Zero means twice CacheBytes, from 32 to 128 MiB.
	LogBytes int64
	// MaxDisk bounds the bytes of the store's files. Zero means all the disk has.
	MaxDisk int64
	// Clock paces the sync of what replies do not wait for. Nil means ttl.System.
	Clock ttl.Clock
	// Logger is told of trouble and, at debug level, of Pebble's doings. Nil means
	// slog.Default().
	Logger *slog.Logger
	// OnFailure is called, once, when the store cannot go on, which is when its log or its list
	// of tables cannot be written: before the first call returns the same error, which wraps
	// storage.ErrFailed. It may be called with any lock held, and must not wait for a call of the
	// store. Logger is told in any case.
	OnFailure func(error)
	// Inherit is what a store that Open makes takes over from another one, as far as it is known: its
	// seed, its clock, which databases were swapped, and that its revisions are not used again. Nil
	// means nothing. It is for package repair.
	Inherit *tree.Head

	// What follows is for tests.

	FS           vfs.FS                  // nil means the operating system's
	MapFile      wal.Mapper              // nil means that the log has no mark, unless FS is nil, too
	BootID       uint64                  // zero means what the operating system says
	RecordBytes  int64                   // for package cache; zero means three quarters of CacheBytes, less than zero none
	MemTableSize uint64                  // zero means a quarter of CacheBytes, from 4 to 16 MiB
	Tune         func(*pebbledb.Options) // changes how the tree is opened; nil means not
	Opened       func(*pebbledb.DB)      // is handed the tree; nil means nobody
}

const (
	defaultCacheBytes = 256 << 20
	minMemTableSize   = 4 << 20
	maxMemTableSize   = 16 << 20
)

func (o Options) check() error {
	if o.Durability < storage.Session || o.Durability > storage.EverySec {
		return fmt.Errorf("durability %d: there is no such mode", o.Durability)
	}
	if o.CacheBytes < 0 {
		return fmt.Errorf("cache of %d bytes: must not be negative", o.CacheBytes)
	}
	if o.LogBytes != 0 && (o.LogBytes < minLogBytes || o.LogBytes > maxLogBytes) {
		return fmt.Errorf("log of %d bytes: from %d to %d", o.LogBytes, minLogBytes, maxLogBytes)
	}
	if o.MaxDisk != 0 && o.MaxDisk < diskspace.MinQuota {
		return fmt.Errorf("disk limit of %d bytes: at least %d", o.MaxDisk, diskspace.MinQuota)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.RecordBytes == 0 {
		o.RecordBytes = o.CacheBytes / 4 * 3
	}
	if o.Clock == nil {
		o.Clock = ttl.System
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.FS == nil {
		o.FS, o.MapFile = folder.SystemFS, mmap.Map
	}
	if o.MemTableSize == 0 {
		// Who sets a small cache means the tables in memory, too.
		o.MemTableSize = uint64(min(max(o.CacheBytes/4, minMemTableSize), maxMemTableSize))
	}
	return o
}

// pebble returns Pebble's options for a store on fs. Fatal is called where Pebble wants the
// process to end, and must not return.
func (o Options) pebble(fs vfs.FS, lock *pebbledb.Lock, fatal func(error)) *pebbledb.Options {
	p := tree.Options(tree.Config{
		FS: fs, Lock: lock, CacheBytes: o.CacheBytes - max(o.RecordBytes, 0), MemTableBytes: o.MemTableSize, Logger: o.Logger, Fatal: fatal,
	})
	p.MemTableStopWritesThreshold = diskspace.MemTables
	p.L0StopWritesThreshold = diskspace.MaxDepth
	return p
}
