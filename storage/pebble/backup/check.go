package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/progress"
	"github.com/sessiond/sessiond/storage/pebble/repair"
)

const adviceBackup = "make another backup"

// Check is repair.Check for the folder of a store or of a backup. The copy in a backup is compared with its
// receipt, and then read as a store.
func Check(ctx context.Context, dir string, opts repair.CheckOptions) (repair.CheckReport, error) {
	files, err := opts.FS, error(nil)
	if files == nil {
		files = folder.SystemFS
		if dir, err = folder.Resolve(dir); err != nil {
			return repair.CheckReport{}, err
		}
	}
	names, err := files.List(dir)
	if err != nil || !slices.Contains(names, layout.ReceiptName) {
		return repair.Check(ctx, dir, opts)
	}
	report, err := checkBackup(ctx, files, dir, opts)
	var damage *fileDamage
	switch {
	case errors.As(err, &damage):
		report, err = repair.CheckReport{Damage: 1, Problems: []repair.Problem{{Where: damage.File, What: damage.What}}}, nil
	case errors.Is(err, ErrReceipt):
		what := "is damaged: nobody knows what the backup consists of"
		report, err = repair.CheckReport{Damage: 1, Problems: []repair.Problem{{Where: layout.ReceiptName, What: what}}}, nil
	case err != nil:
		return repair.CheckReport{}, fmt.Errorf("check backup %s: %w", dir, err)
	}
	for i := range report.Problems {
		report.Problems[i].Advice = adviceBackup
	}
	return report, nil
}

func checkBackup(ctx context.Context, files vfs.FS, dir string, opts repair.CheckOptions) (repair.CheckReport, error) {
	b, err := readBackup(files, dir)
	if err != nil {
		return repair.CheckReport{}, err
	}
	if err = b.verify(); err == nil {
		err = b.verifyManifest(ctx)
	}
	if err != nil {
		return repair.CheckReport{}, b.unlessReplaced(err)
	}
	report, err := repair.Check(ctx, b.path(b.now.data), opts)
	report.Made = b.now.made
	return report, b.unlessReplaced(err)
}

// verifyManifest reads the MANIFEST, of which a backup holds nothing but what is valid. In a store
// it may have a torn end.
func (b *backupFolder) verifyManifest(ctx context.Context) error {
	for _, file := range b.now.files {
		if !layout.IsManifest(file.name) {
			continue
		}
		f, err := b.fs.Open(b.path(b.now.data, file.name), vfs.SequentialReadsOption)
		if err != nil {
			return err
		}
		end, _, err := pebblefile.ReadManifest(progress.Reader{Context: ctx, From: f}, nil)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if end < file.size {
			return b.damage(layout.ErrDamaged, file, "cannot be read from byte %d on, of %d", end, file.size)
		}
	}
	return nil
}

// unlessReplaced returns err, or that another backup took the place of this one meanwhile.
func (b *backupFolder) unlessReplaced(err error) error {
	now, readErr := readBackup(b.fs, b.dir)
	if readErr == nil && now.now.data != b.now.data {
		return errors.New("another backup was made here meanwhile: try again")
	}
	return err
}

// fileDamage says that a file of a backup is not what the receipt says.
type fileDamage struct {
	pebblefile.Problem
	kind error // ErrIncomplete or ErrDamaged
}

func (d *fileDamage) Error() string { return fmt.Sprintf("%v: %v", d.kind, d.Problem) }

func (d *fileDamage) Unwrap() error { return d.kind }

func (b *backupFolder) damage(kind error, f backupFile, format string, args ...any) error {
	return &fileDamage{pebblefile.Problem{File: b.fs.PathJoin(b.now.data, f.name), What: fmt.Sprintf(format, args...)}, kind}
}

// openSource reads the backup in dir, for Restore, and says what dir is if it has none.
func openSource(files vfs.FS, dir string) (*backupFolder, error) {
	names, err := files.List(dir)
	what := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		what = "there is no such folder"
	case err != nil && isFile(files, dir):
		what = "it is a file"
	case err != nil:
		return nil, err
	case slices.Contains(names, layout.ReceiptName):
		return readBackup(files, dir)
	case slices.ContainsFunc(names, layout.MakesStore):
		what = storeText(files, dir, names)
	case !slices.ContainsFunc(names, func(name string) bool { return !layout.IsInnocent(name) }):
		what = "the folder is empty"
	default:
		what = "the folder has no file " + layout.ReceiptName
	}
	return nil, fmt.Errorf("%w: %s; name the folder that sessiond backup or SAVE wrote", ErrIncomplete, what)
}

func isFile(files vfs.FS, path string) bool {
	info, err := files.Stat(path)
	return err == nil && !info.IsDir()
}

// storeText says where the backup is that somebody may mean by the folder of a store.
func storeText(files vfs.FS, dir string, names []string) string {
	if inside := files.PathJoin(dir, layout.BackupName); slices.Contains(names, layout.BackupName) && hasReceipt(files, inside) {
		return "it is a data folder, and its backup is " + inside
	}
	if around := files.PathDir(dir); hasReceipt(files, around) {
		return "it is a part of the backup " + around
	}
	return "it is a data folder"
}

func hasReceipt(files vfs.FS, dir string) bool {
	_, err := files.Stat(files.PathJoin(dir, layout.ReceiptName))
	return err == nil
}
