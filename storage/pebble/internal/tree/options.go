package tree

import (
	"context"
	"fmt"
	"log/slog"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
)

// Config says how a tree is opened.
type Config struct {
	FS            vfs.FS
	Lock          *pebbledb.Lock // nil has Pebble take it
	CacheBytes    int64          // for blocks of tables
	MemTableBytes uint64         // of a table in memory, at most
	Logger        *slog.Logger   // hears what Pebble says, most of it at debug level
	Fatal         func(error)    // is called where Pebble cannot go on, and must not return
}

const (
	blockSize = 8 << 10
	bloomBits = 10

	// Open tables, and the manifests, tables in the making and files of the log beside them.
	maxTableFiles, minTableFiles, otherFiles = 1000, 64, 64
)

// Options returns Pebble's options for the tree of a store.
func Options(c Config) *pebbledb.Options {
	p := &pebbledb.Options{
		CacheSize:          c.CacheBytes,
		FormatMajorVersion: pebblefile.Format,
		FS:                 c.FS,
		Lock:               c.Lock,
		Logger:             pebbleLogger{c.Logger, c.Fatal},
		MaxOpenFiles:       tableFiles(),
		DisableWAL:         true, // the log is ours
		MemTableSize:       c.MemTableBytes,
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
	panic("pebble: fatal returned")
}
