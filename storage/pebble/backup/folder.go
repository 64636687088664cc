package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/progress"
)

// ErrIncomplete is returned by Restore if the folder holds no complete backup.
var ErrIncomplete = errors.New("no complete backup")

// backupFolder is a folder for a backup.
type backupFolder struct {
	fs   vfs.FS
	dir  string
	now  receipt // the copy that is there
	next string  // name of the data folder in the making
}

// openBackup reads the folder dir, which may be absent, and makes sure that it is for
// backups. It changes nothing.
func openBackup(files vfs.FS, dir string) (*backupFolder, error) {
	names, err := files.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ours := slices.Contains(names, layout.ReceiptName)
	for _, name := range names {
		_, err := dataNumber(name)
		data := err == nil && ours
		if !data && name != layout.ReceiptName && name != layout.NewReceiptName && !layout.IsInnocent(name) {
			return nil, fmt.Errorf("%w, %q for instance: choose an empty folder or that of an earlier backup", folder.ErrForeign, name)
		}
		if err := recogniseBackup(files, files.PathJoin(dir, name), name); err != nil {
			return nil, err
		}
	}
	if !ours {
		return &backupFolder{fs: files, dir: dir}, nil
	}
	return readBackup(files, dir)
}

// readBackup reads the receipt in the folder dir.
func readBackup(files vfs.FS, dir string) (*backupFolder, error) {
	b := &backupFolder{fs: files, dir: dir}
	if err := recogniseBackup(files, b.path(layout.ReceiptName), layout.ReceiptName); err != nil {
		return nil, err
	}
	text, err := folder.ReadFile(files, b.path(layout.ReceiptName))
	if err != nil {
		return nil, err
	}
	b.now, err = decodeReceipt(text)
	if err != nil || !b.now.complete() {
		return b, err
	}
	err = recogniseBackup(files, b.path(b.now.data), b.now.data)
	if errors.Is(err, fs.ErrNotExist) { // verify names the files that are missing
		return b, nil
	}
	return b, err
}

func (b *backupFolder) path(names ...string) string {
	return b.fs.PathJoin(append([]string{b.dir}, names...)...)
}

// prepare makes the folder known as one for backups, frees it of leftovers and makes an
// empty folder for the next copy.
func (b *backupFolder) prepare() error {
	if err := folder.Make(b.fs, b.dir); err != nil {
		return err
	}
	if !b.now.complete() { // from now on it is known what the rest is
		if err := b.write(receipt{}); err != nil {
			return err
		}
	}
	if err := b.sweep(); err != nil {
		return err
	}
	var last uint64
	if b.now.complete() {
		last, _ = dataNumber(b.now.data) // it was decoded, so it is one
	}
	b.next = dataName(last + 1)
	return folder.Make(b.fs, b.path(b.next))
}

// sweep removes every data folder but the one in use.
func (b *backupFolder) sweep() error {
	names, err := b.fs.List(b.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := dataNumber(name); err == nil && name != b.now.data {
			if err := folder.RemoveStore(b.fs, b.path(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill brings the files of stage into the folder of the next copy, makes them durable and
// lists them in v. M is told of each file. It returns how many bytes it had to write.
func (b *backupFolder) fill(ctx context.Context, stage string, v *receipt, m *progress.Meter) (copied int64, err error) {
	names, err := b.fs.List(stage)
	if err != nil {
		return 0, err
	}
	slices.Sort(names)
	v.data = b.next
	staged, total := make([]backupFile, len(names)), int64(0)
	for i, name := range names {
		if staged[i], err = b.describe(b.fs.PathJoin(stage, name)); err != nil {
			return 0, err
		}
		total += staged[i].size
	}
	m.Begin(total)
	for _, f := range staged {
		n, err := b.take(ctx, stage, f, v.store, m)
		if err != nil {
			return 0, err
		}
		copied += n
		v.files = append(v.files, f)
	}
	m.End()
	return copied, folder.Sync(b.fs, b.path(b.next))
}

func (b *backupFolder) describe(path string) (backupFile, error) {
	info, err := b.fs.Stat(path)
	if err != nil {
		return backupFile{}, err
	}
	return backupFile{name: b.fs.PathBase(path), size: info.Size(), modified: info.ModTime().UnixNano()}, nil
}

// take brings one file of stage into the folder of the next copy in the cheapest way there
// is. It returns how many bytes of it had to be written.
func (b *backupFolder) take(ctx context.Context, stage string, f backupFile, store uint64, m *progress.Meter) (copied int64, err error) {
	from, to := b.fs.PathJoin(stage, f.name), b.path(b.next, f.name)
	if b.fs.Rename(from, to) == nil { // what is in the stage is durable
		m.Add(int(f.size))
		if layout.IsTable(f.name) { // and this a link
			return 0, nil
		}
		return f.size, nil
	}
	// It is another file system, where the copy before may have the table.
	if b.has(f, store) && b.fs.Link(b.path(b.now.data, f.name), to) == nil {
		m.Add(int(f.size))
		return 0, nil
	}
	return f.size, copyFile(ctx, b.fs, from, to, f.size, m)
}

// has reports whether the present copy has the table f of the store. Another store has
// tables of the same names. So has this one, if the copy was restored elsewhere and made
// another history there; but those were not written in the same nanosecond.
func (b *backupFolder) has(f backupFile, store uint64) bool {
	if !b.now.complete() || b.now.store != store || !layout.IsTable(f.name) || !slices.Contains(b.now.files, f) {
		return false
	}
	info, err := b.fs.Stat(b.path(b.now.data, f.name))
	return err == nil && info.Size() == f.size
}

// publish makes the copy that v describes the one that counts, in one step.
func (b *backupFolder) publish(v receipt) error {
	if err := b.write(v); err != nil {
		return err
	}
	b.now = v
	return nil
}

func (b *backupFolder) write(v receipt) error {
	if err := folder.WriteFile(b.fs, b.path(layout.NewReceiptName), v.encode()); err != nil {
		return err
	}
	if err := b.fs.Rename(b.path(layout.NewReceiptName), b.path(layout.ReceiptName)); err != nil {
		return err
	}
	return folder.Sync(b.fs, b.dir)
}

// verify makes sure that the copy is there, with all its files.
func (b *backupFolder) verify() error {
	if !b.now.complete() {
		return fmt.Errorf("%w: one was begun and not finished; run sessiond backup again", ErrIncomplete)
	}
	if err := layout.CheckFormat(b.now.format); err != nil {
		return err
	}
	for _, f := range b.now.files {
		path := b.path(b.now.data, f.name)
		info, err := folder.Lstat(b.fs, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return b.damage(ErrIncomplete, f, "is missing")
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return folder.StrangeError(path, info.Mode())
		case info.Size() != f.size:
			return b.damage(ErrIncomplete, f, "has %d bytes, not %d", info.Size(), f.size)
		}
	}
	return nil
}

// recogniseBackup makes sure that a name in the folder of a backup is of what it says.
func recogniseBackup(files vfs.FS, path, name string) error {
	if layout.IsInnocent(name) {
		return nil
	}
	info, err := folder.Lstat(files, path)
	if err != nil {
		return err
	}
	if _, err := dataNumber(name); err == nil != info.IsDir() || err != nil && !info.Mode().IsRegular() {
		return folder.StrangeError(path, info.Mode())
	}
	if name != layout.NewReceiptName {
		return nil // it is read, or removed with a look at what is in it
	}
	text, err := folder.ReadFile(files, path)
	head := text[:min(len(text), len(receiptHead))]
	if err == nil && len(head) > 0 && !folder.Resembles(head, []byte(receiptHead)) && !folder.Resembles(head, make([]byte, len(head))) {
		err = folder.ContentError(path)
	}
	return err
}

// copyFile copies the first size bytes of a file, makes the copy durable and tells m, or returns
// ctx's error.
func copyFile(ctx context.Context, files vfs.FS, from, to string, size int64, m *progress.Meter) error {
	in, err := files.Open(from, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := files.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(out, progress.Reader{Context: ctx, From: io.LimitReader(in, size), Meter: m}, make([]byte, 1<<20))
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
