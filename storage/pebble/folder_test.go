package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
)

// Ensure that a folder is open once, whatever path leads to it, and free after Close.
func TestOpen_Locked(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	link := filepath.Join(t.TempDir(), "link")
	e, err := Open(dir, Options{CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, link} {
		if _, err := Open(path, Options{}); !errors.Is(err, folder.ErrLocked) || !strings.Contains(err.Error(), path) {
			t.Errorf("second Open of %s: %v, want %v", path, err, folder.ErrLocked)
		}
	}
	closeTest(t, e)
	e, err = Open(link, Options{CacheBytes: 1 << 20})
	if err != nil {
		t.Fatalf("Open after Close: %v", err)
	}
	closeTest(t, e)
}

// Ensure that a folder with something else in it is refused and left as it was.
func TestOpen_Foreign(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dump.rdb", "CURRENT", "notes.log", "12"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{}); !errors.Is(err, folder.ErrForeign) {
			t.Errorf("Open beside %s: %v, want %v", name, err, folder.ErrForeign)
		}
		names, err := os.ReadDir(dir)
		if err != nil || len(names) != 1 {
			t.Errorf("after Open beside %s: %v, %v", name, names, err)
		}
	}
}

// Ensure that what is hidden, or a file system's own, keeps nobody from having a store, a
// restored one and a backup in a folder, and stays where it is.
func TestOpen_Hidden(t *testing.T) {
	t.Parallel()
	dir, backup, restored := t.TempDir(), t.TempDir(), t.TempDir()
	names := []string{".gitkeep", ".DS_Store", ".snapshot", "lost+found", "@eaDir", "#snapshot"}
	for _, folder := range []string{dir, backup, restored} {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(folder, name), []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 { // a new store, and one that is there
		e, err := Open(dir, Options{CacheBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Tools.Backup(t.Context(), e, backup, nil); err != nil {
			t.Errorf("Backup: %v", err)
		}
		closeTest(t, e)
	}
	if _, err := Tools.Restore(t.Context(), backup, restored, nil); err != nil {
		t.Errorf("Restore: %v", err)
	}
	for _, folder := range []string{dir, backup, restored} {
		for _, name := range names {
			if b, err := os.ReadFile(filepath.Join(folder, name)); string(b) != "precious" {
				t.Errorf("%s holds %q, %v", name, b, err)
			}
		}
	}
}

// Ensure that the store of another program on Pebble is refused.
func TestOpen_ForeignStore(t *testing.T) {
	t.Parallel()
	for _, merger := range []*pebbledb.Merger{{Name: "another", Merge: pebbledb.DefaultMerger.Merge}, pebbledb.DefaultMerger} {
		fs := vfs.NewMem()
		db, err := pebbledb.Open(testDir, &pebbledb.Options{FS: fs, Merger: merger, FormatMajorVersion: pebblefile.Format})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Set([]byte("k"), nil, pebbledb.Sync), db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(testDir, Options{FS: fs}); err == nil {
			t.Errorf("a store with merger %s was opened", merger.Name)
		}
	}
}

// Ensure that a folder that cannot be is named in the error.
func TestOpen_Unusable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(file, "data")
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open(%s): %v", dir, err)
	}
	if os.Getuid() == 0 {
		return // root may write anywhere
	}
	readonly := t.TempDir()
	if err := os.Chmod(readonly, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(readonly, Options{}); !errors.Is(err, os.ErrPermission) || errors.Is(err, folder.ErrLocked) {
		t.Errorf("Open of a read-only folder: %v", err)
	}
}

// Ensure that a store in another format is refused, be it ours or Pebble's, by whoever opens it.
func TestOpen_OtherFormat(t *testing.T) {
	t.Parallel()
	refused := func(what string, fs vfs.FS, want error) {
		t.Helper()
		for range 2 { // a refused store is not left locked
			if _, err := Open(testDir, Options{FS: fs}); !errors.Is(err, want) {
				t.Errorf("%s: Open: %v, want %v", what, err, want)
			}
		}
		if _, err := Tools.Check(t.Context(), testDir, fs); !errors.Is(err, want) {
			t.Errorf("%s: Check: %v, want %v", what, err, want)
		}
		if err := Tools.Repair(t.Context(), testDir, "repaired", fs); !errors.Is(err, want) {
			t.Errorf("%s: Repair: %v, want %v", what, err, want)
		}
	}
	for format, want := range map[uint32]error{layout.FormatVersion + 1: layout.ErrNewerFormat, layout.FormatVersion - 1: layout.ErrOlderFormat, 0: layout.ErrOlderFormat} {
		fs := vfs.NewMem()
		e := openTest(t, fs, Options{})
		err := errors.Join(e.db.Set(layout.KeyFormat, binary.BigEndian.AppendUint32(nil, format), pebbledb.NoSync), e.db.Flush())
		if err != nil {
			t.Fatal(err)
		}
		closeTest(t, e)
		refused(fmt.Sprint("format ", format), fs, want)
	}
	for _, format := range []pebbledb.FormatMajorVersion{pebblefile.Format + 1, pebbledb.FormatNewest} {
		fs := vfs.NewMem()
		db, err := pebbledb.Open(testDir, &pebbledb.Options{FS: fs, FormatMajorVersion: format})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		refused(fmt.Sprint("Pebble's format ", int(format)), fs, layout.ErrNewerFormat)
	}
}

// Ensure that the folder of a store in another format is refused and not changed at all, and
// that names which only look like that of a format mean nothing.
func TestOpen_OtherIsUntouched(t *testing.T) {
	t.Parallel()
	tests := []struct {
		names []string // beside a store, in order; none but the last matters
		gone  string   // files of the store that are not there
		want  error
		words string
	}{
		{names: []string{"format-", "format-1", "format-3", "format-x", "format-4"}, want: layout.ErrNewerFormat, words: "it has format 4, and this one reads up to 3"},
		{names: []string{"synced"}, gone: "log.*", want: layout.ErrOlderFormat, words: "it has format 1, and this one reads 3; begin with an empty folder"},
		{names: []string{"journal"}, gone: "log.*", want: layout.ErrOlderFormat, words: "it has format 1, and this one reads 3; begin with an empty folder"},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		if err := openAndClose(dir); err != nil {
			t.Fatal(err)
		}
		gone, err := filepath.Glob(filepath.Join(dir, tt.gone))
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range tt.names {
			if i > 0 {
				if err := openAndClose(dir); err != nil {
					t.Fatalf("with %s: %v", tt.names[i-1], err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range gone {
			if err := os.Remove(path); err != nil && path != dir {
				t.Fatal(err)
			}
		}
		before := bytesOf(t, dir)
		_, err = Open(dir, Options{})
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: Open: %v, want %v", tt.names, err, tt.want)
		}
		if after := bytesOf(t, dir); !maps.Equal(after, before) {
			t.Errorf("%s: the folder changed: %v, it had %v", tt.names, slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
		}
	}
}

// bytesOf returns what is in the files of a folder.
func bytesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		info, statErr := d.Info()
		all[path] = fmt.Sprint(info.ModTime(), info.Mode(), string(b))
		return errors.Join(err, statErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
