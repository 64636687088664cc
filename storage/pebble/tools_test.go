package pebble

import (
	"context"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/ttl"
)

// Tools are what stands above the engine and is tested with it: an engine's own tests may not import
// it. TestMain sets them.
var Tools struct {
	Backup  func(ctx context.Context, e *Engine, dir string, progress func(done, total int64)) (ToolCopy, error)
	Restore func(ctx context.Context, from, dir string, fs vfs.FS) (ToolCopy, error)
	Check   func(ctx context.Context, dir string, fs vfs.FS) (ToolCheck, error)
	Repair  func(ctx context.Context, dir, to string, fs vfs.FS) error

	ErrIncomplete, ErrReceipt error
}

// ToolCopy is a backup.Report.
type ToolCopy struct {
	Made          ttl.Instant
	Records       map[int]int64
	Bytes, Copied int64
}

// ToolCheck is what matters here of a repair.CheckReport.
type ToolCheck struct {
	Made                    ttl.Instant
	Databases               map[int]int64
	Tables, Changes, Damage int
	Problems                []string
}
