package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrIncomplete is returned by Restore if the folder holds no complete backup.
var ErrIncomplete = errors.New("no complete backup")

const receiptName, newReceiptName = "BACKUP", "BACKUP.new"

// lostFound is in the root of a fresh file system.
const lostFound = "lost+found"

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
	b := &backupFolder{fs: files, dir: dir}
	names, err := files.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ours := slices.Contains(names, receiptName)
	for _, name := range names {
		_, err := dataNumber(name)
		data := err == nil && ours
		if !data && name != receiptName && name != newReceiptName && name != lostFound {
			return nil, fmt.Errorf("%w, %q for instance: choose an empty folder or that of an earlier backup", ErrForeign, name)
		}
	}
	if !ours {
		return b, nil
	}
	text, err := readFile(files, b.path(receiptName))
	if err != nil {
		return nil, err
	}
	b.now, err = decodeReceipt(text)
	return b, err
}

func (b *backupFolder) path(names ...string) string {
	return b.fs.PathJoin(append([]string{b.dir}, names...)...)
}

// prepare makes the folder known as one for backups, frees it of leftovers and makes an
// empty folder for the next copy.
func (b *backupFolder) prepare() error {
	if err := makeFolder(b.fs, b.dir); err != nil {
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
	return makeFolder(b.fs, b.path(b.next))
}

// sweep removes every data folder but the one in use.
func (b *backupFolder) sweep() error {
	names, err := b.fs.List(b.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := dataNumber(name); err == nil && name != b.now.data {
			if err := b.fs.RemoveAll(b.path(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill brings the files of stage into the folder of the next copy, makes them durable and
// lists them in v. Known says how much of the logs must be there. It returns how many bytes
// it had to write.
func (b *backupFolder) fill(ctx context.Context, stage string, v *receipt, known []mark) (copied int64, err error) {
	names, err := b.fs.List(stage)
	if err != nil {
		return 0, err
	}
	slices.Sort(names)
	newest := newestLog(names)
	v.data = b.next
	for _, name := range names {
		f, err := b.describe(b.fs.PathJoin(stage, name))
		if err != nil {
			return 0, err
		}
		n := int64(0)
		if number, log, ok := parseSynced(name); ok && log {
			safe, _ := findMark(known, number)
			f.size, err = b.takeLog(ctx, stage, number, number == newest, safe)
			n = f.size
		} else {
			n, err = b.take(ctx, stage, f, v.store)
		}
		if err != nil {
			return 0, err
		}
		copied += n
		v.files = append(v.files, f)
	}
	return copied, syncFolder(b.fs, b.path(b.next))
}

func newestLog(names []string) (newest uint64) {
	for _, name := range names {
		if number, log, ok := parseSynced(name); ok && log {
			newest = max(newest, number)
		}
	}
	return newest
}

func (b *backupFolder) describe(path string) (backupFile, error) {
	info, err := b.fs.Stat(path)
	if err != nil {
		return backupFile{}, err
	}
	return backupFile{name: b.fs.PathBase(path), size: info.Size(), modified: info.ModTime().UnixNano()}, nil
}

// takeLog copies the valid part of a log of stage into the folder of the next copy, and
// returns its size. Behind it in the file lies what is left of an older log, and in the newest
// perhaps a part that was written while Pebble copied it, with a hole before it: Check
// could not tell that from damage. Damage it is if less than safe bytes are valid, or if an
// older log has no end.
func (b *backupFolder) takeLog(ctx context.Context, stage string, number uint64, newest bool, safe int64) (size int64, err error) {
	name := logName(number)
	in, err := b.fs.Open(b.fs.PathJoin(stage, name), vfs.SequentialReadsOption)
	if err != nil {
		return 0, err
	}
	size, closed, err := readLog(cancelReader{ctx, in}, number, nil)
	if err := errors.Join(err, in.Close()); err != nil {
		return 0, err
	}
	if size < safe || !newest && !closed {
		return 0, fmt.Errorf("%w: %s cannot be read from byte %d on", ErrDamaged, name, size)
	}
	return size, copyFile(ctx, b.fs, b.fs.PathJoin(stage, name), b.path(b.next, name), size)
}

// take brings one file of stage into the folder of the next copy in the cheapest way there
// is. It returns how many bytes of it had to be written.
func (b *backupFolder) take(ctx context.Context, stage string, f backupFile, store uint64) (copied int64, err error) {
	from, to := b.fs.PathJoin(stage, f.name), b.path(b.next, f.name)
	if b.fs.Rename(from, to) == nil { // what is in the stage is durable
		if immutable(f.name) { // and this a link
			return 0, nil
		}
		return f.size, nil
	}
	// It is another file system, where the copy before may have the table.
	if b.has(f, store) && b.fs.Link(b.path(b.now.data, f.name), to) == nil {
		return 0, nil
	}
	return f.size, copyFile(ctx, b.fs, from, to, f.size)
}

// has reports whether the present copy has the table f of the store. Another store has
// tables of the same names. So has this one, if the copy was restored elsewhere and made
// another history there; but those were not written in the same nanosecond.
func (b *backupFolder) has(f backupFile, store uint64) bool {
	if !b.now.complete() || b.now.store != store || !immutable(f.name) || !slices.Contains(b.now.files, f) {
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
	if err := writeFile(b.fs, b.path(newReceiptName), v.encode()); err != nil {
		return err
	}
	if err := b.fs.Rename(b.path(newReceiptName), b.path(receiptName)); err != nil {
		return err
	}
	return syncFolder(b.fs, b.dir)
}

// verify makes sure that the copy is there, with all its files.
func (b *backupFolder) verify() error {
	if !b.now.complete() {
		return ErrIncomplete
	}
	if b.now.format > formatVersion {
		return fmt.Errorf("%w: it has format %d, and this one reads up to %d", ErrNewerFormat, b.now.format, formatVersion)
	}
	for _, f := range b.now.files {
		info, err := b.fs.Stat(b.path(b.now.data, f.name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: %s is missing", ErrIncomplete, b.fs.PathJoin(b.now.data, f.name))
		case err != nil:
			return err
		case info.Size() != f.size:
			return fmt.Errorf("%w: %s has %d bytes, not %d", ErrIncomplete, b.fs.PathJoin(b.now.data, f.name), info.Size(), f.size)
		}
	}
	return nil
}

// immutable reports whether Pebble never changes the file once it is written.
func immutable(name string) bool { return filepath.Ext(name) == ".sst" }

// makeFolder makes a folder that nobody else may read, with its parents, durably.
func makeFolder(files vfs.FS, dir string) error {
	_, err := files.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := files.PathDir(dir)
	if err := makeFolder(files, parent); err != nil {
		return err
	}
	if err := files.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	return syncFolder(files, parent)
}

func syncFolder(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func writeFile(files vfs.FS, name string, content []byte) error {
	f, err := files.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// copyFile copies the first size bytes of a file and makes the copy durable, or returns ctx's
// error.
func copyFile(ctx context.Context, files vfs.FS, from, to string, size int64) error {
	in, err := files.Open(from, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := files.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(out, cancelReader{ctx, io.LimitReader(in, size)}, make([]byte, 1<<20))
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// cancelReader reads until ctx ends.
type cancelReader struct {
	ctx context.Context
	io.Reader
}

func (r cancelReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
