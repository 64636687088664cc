package pebble_test

import (
	"context"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble"
	"github.com/sessiond/sessiond/storage/pebble/backup"
	"github.com/sessiond/sessiond/storage/pebble/repair"
)

// TestMain hands the tests of the engine what stands above it.
func TestMain(m *testing.M) {
	tools := &pebble.Tools
	tools.ErrIncomplete, tools.ErrReceipt = backup.ErrIncomplete, backup.ErrReceipt
	tools.Backup = func(ctx context.Context, e *pebble.Engine, dir string, progress func(done, total int64)) (pebble.ToolCopy, error) {
		r, err := backup.Make(ctx, e, dir, backup.Options{Progress: progress})
		return pebble.ToolCopy(r), err
	}
	tools.Restore = func(ctx context.Context, from, dir string, fs vfs.FS) (pebble.ToolCopy, error) {
		r, err := backup.Restore(ctx, from, dir, backup.RestoreOptions{FS: fs})
		return pebble.ToolCopy(r), err
	}
	tools.Check = func(ctx context.Context, dir string, fs vfs.FS) (pebble.ToolCheck, error) {
		r, err := backup.Check(ctx, dir, repair.CheckOptions{FS: fs})
		short := pebble.ToolCheck{Made: r.Made, Databases: map[int]int64{}, Tables: r.Tables, Changes: r.Changes, Damage: r.Damage}
		for _, d := range r.Databases {
			short.Databases[d.Database] = d.Sessions
		}
		for _, p := range r.Problems {
			short.Problems = append(short.Problems, p.String())
		}
		return short, err
	}
	tools.Repair = func(ctx context.Context, dir, to string, fs vfs.FS) error {
		_, err := repair.Repair(ctx, dir, to, repair.RepairOptions{FS: fs})
		return err
	}
	os.Exit(m.Run())
}
