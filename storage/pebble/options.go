package pebble

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Options changes how Open opens a store. The zero value is ready to use.
type Options struct {
	// Durability says how safe a change is before its reply. Zero means storage.Session.
	Durability storage.Durability
	// CacheBytes bounds the caches: of records, and of uncompressed blocks. Zero means 256 MiB.
	CacheBytes int64
	// MaxDisk bounds the bytes of the store's files. Zero means all the disk has.
	MaxDisk int64
	// Clock paces the sync of what replies do not wait for. Nil means ttl.System.
	Clock ttl.Clock
	// Logger is told of trouble and, at debug level, of Pebble's doings. Nil means
	// slog.Default().
	Logger *slog.Logger
	// Fatal is called when the store cannot go on, which is when its log cannot be written.
	// It must not return. Nil means a line in Logger and exit code 3.
	Fatal func(error)

	fs           vfs.FS // nil means the operating system's
	mapFile      mapper // nil means no journal, unless fs is nil, too
	frontBytes   int64  // zero means three quarters of CacheBytes, less than zero none
	memTableSize uint64 // zero means a quarter of CacheBytes, from 4 to 16 MiB
}

const (
	defaultCacheBytes = 256 << 20
	minMemTableSize   = 4 << 20
	maxMemTableSize   = 16 << 20
	memTables         = 4
	blockSize         = 8 << 10
	bloomBits         = 10
	exitFatal         = 3

	// Open tables, and the logs, manifests and tables in the making beside them.
	maxTableFiles, minTableFiles, otherFiles = 1000, 64, 64
)

// pebbleFormat is Pebble's own format of the store. It is held below FormatWALSyncChunks on
// purpose: from there on each log record says up to where the log is known to be on stable
// storage, and a hole below that makes Pebble refuse the store. In walFS a sync is not
// always a real one, so after a power cut such a record could tell a lie, and a store that
// lost nothing it promised would not open. The price is MinLZ compression and the
// distinction between a damaged log and one that merely ends.
const pebbleFormat = pebbledb.FormatColumnarBlocks

func (o Options) check() error {
	if o.Durability < storage.Session || o.Durability > storage.EverySec {
		return fmt.Errorf("durability %d: there is no such mode", o.Durability)
	}
	if o.CacheBytes < 0 {
		return fmt.Errorf("cache of %d bytes: must not be negative", o.CacheBytes)
	}
	if o.MaxDisk != 0 && o.MaxDisk < minMaxDisk {
		return fmt.Errorf("disk limit of %d bytes: at least %d", o.MaxDisk, minMaxDisk)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.frontBytes == 0 {
		o.frontBytes = o.CacheBytes / 4 * 3
	}
	if o.Clock == nil {
		o.Clock = ttl.System
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Fatal == nil {
		logger := o.Logger
		o.Fatal = func(err error) {
			logger.Error("the store cannot go on", "err", err)
			os.Exit(exitFatal)
		}
	}
	if o.fs == nil {
		o.fs, o.mapFile = vfs.Default, mapFile
	}
	if o.memTableSize == 0 {
		// Who sets a small cache means the tables in memory, too.
		o.memTableSize = uint64(min(max(o.CacheBytes/4, minMemTableSize), maxMemTableSize))
	}
	return o
}

// pebble returns Pebble's options for a store on fs.
func (o Options) pebble(fs vfs.FS, lock *pebbledb.Lock) *pebbledb.Options {
	p := &pebbledb.Options{
		CacheSize:                   o.CacheBytes - max(o.frontBytes, 0),
		FormatMajorVersion:          pebbleFormat,
		FS:                          fs,
		Lock:                        lock,
		Logger:                      pebbleLogger{o.Logger, o.Fatal},
		MaxOpenFiles:                tableFiles(),
		Merger:                      addMerger,
		MemTableSize:                o.memTableSize,
		MemTableStopWritesThreshold: memTables,
		L0StopWritesThreshold:       maxDepth,
	}
	for i := range p.Levels {
		p.Levels[i].BlockSize = blockSize
		p.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
		p.Levels[i].FilterType = pebbledb.TableFilter
	}
	return p
}

// pebbleLogger passes on what Pebble says.
type pebbleLogger struct {
	to    *slog.Logger
	fatal func(error)
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		l.to.Debug("pebble", "msg", fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.to.Error("pebble", "msg", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.fatal(fmt.Errorf(format, args...))
	panic("pebble: Options.Fatal returned")
}
