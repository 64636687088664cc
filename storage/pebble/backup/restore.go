package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/progress"
	"github.com/sessiond/sessiond/storage/pebble/repair"
)

// RestoreOptions changes how Restore works. The zero value is ready to use.
type RestoreOptions struct {
	// Progress is told how much has been copied, and then how much of the copy has been read, as
	// by Check. Nil means nobody.
	Progress func(done, total int64)

	FS vfs.FS // nil means the operating system's
}

// Restore makes a store in the folder dir, which must be absent or empty, out of the backup
// in the folder from, which stays as it is. Where the file system allows it the two share
// tables. The new store was read and found in order when Restore returns; until then dir is
// nothing that Open would open, and Restore may be run again.
//
// It returns ErrForeign if dir holds something, ErrIncomplete if from has no backup or only
// a part of one, and ErrDamaged if it is not what was written.
func Restore(ctx context.Context, from, dir string, opts RestoreOptions) (Report, error) {
	if opts.FS == nil {
		opts.FS = folder.SystemFS
	}
	b, err := restore(ctx, from, dir, opts)
	if err != nil {
		return Report{}, fmt.Errorf("restore %s to %s: %w", from, dir, err)
	}
	return b, nil
}

func restore(ctx context.Context, from, dir string, opts RestoreOptions) (Report, error) {
	files := opts.FS
	if files == folder.SystemFS {
		var err error
		if from, err = folder.Resolve(from); err != nil {
			return Report{}, err
		}
		if dir, err = folder.Resolve(dir); err != nil {
			return Report{}, err
		}
	}
	source, err := openSource(files, from)
	if err != nil {
		return Report{}, err
	}
	if err := source.verify(); err != nil {
		return Report{}, err
	}
	if err := source.verifyManifest(ctx); err != nil {
		return Report{}, err
	}
	if err := folder.Clear(files, dir); err != nil {
		return Report{}, err
	}
	whole := files.PathJoin(dir, layout.RestoreName)
	if err := folder.Make(files, whole); err != nil {
		return Report{}, err
	}
	b := source.now.report()
	m := progress.Meter{Report: opts.Progress}
	m.Begin(b.Bytes)
	if b.Copied, err = source.copyTo(ctx, whole, &m); err == nil {
		m.End()
		b.Records, err = checkCopy(ctx, whole, opts)
	}
	if err != nil {
		return Report{}, errors.Join(err, files.RemoveAll(whole))
	}
	return b, folder.MoveOut(files, whole, dir)
}

// copyTo brings the files of the copy into the empty folder dir. It returns how many bytes
// it had to write. The files are durable then; the folder need not be.
func (b *backupFolder) copyTo(ctx context.Context, dir string, m *progress.Meter) (copied int64, err error) {
	for _, f := range b.now.files {
		from, to := b.path(b.now.data, f.name), b.fs.PathJoin(dir, f.name)
		if layout.IsTable(f.name) && b.fs.Link(from, to) == nil {
			m.Add(int(f.size))
			continue
		}
		if err := copyFile(ctx, b.fs, from, to, f.size, m); err != nil {
			return 0, err
		}
		copied += f.size
	}
	return copied, nil
}

// checkCopy reads the whole store in dir and returns the sizes of its databases, if it is in
// order.
func checkCopy(ctx context.Context, dir string, opts RestoreOptions) (map[int]int64, error) {
	report, err := repair.Check(ctx, dir, repair.CheckOptions{Progress: opts.Progress, FS: opts.FS})
	if err != nil {
		return nil, err
	}
	if report.Damage > 0 {
		p := report.Problems[0]
		for _, other := range report.Problems { // rather one that says which file
			if strings.HasPrefix(other.Where, "table ") || strings.HasPrefix(other.Where, "log ") {
				p = other
				break
			}
		}
		return nil, fmt.Errorf("%w in the backup (problems: %d): %s: %s", layout.ErrDamaged, report.Damage, p.Where, p.What)
	}
	sizes := map[int]int64{}
	for _, d := range report.Databases {
		sizes[d.Database] = d.Sessions
	}
	return sizes, nil
}
