package pebble

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
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
		if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
			t.Errorf("second Open of %s: %v, want %v", path, err, ErrLocked)
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
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrForeign) {
			t.Errorf("Open beside %s: %v, want %v", name, err, ErrForeign)
		}
		names, err := os.ReadDir(dir)
		if err != nil || len(names) != 1 {
			t.Errorf("after Open beside %s: %v, %v", name, names, err)
		}
	}
}

// Ensure that the store of another program on Pebble is refused.
func TestOpen_ForeignStore(t *testing.T) {
	t.Parallel()
	for _, merger := range []*pebbledb.Merger{addMerger, pebbledb.DefaultMerger} {
		fs := vfs.NewMem()
		db, err := pebbledb.Open(testDir, &pebbledb.Options{FS: fs, Merger: merger, FormatMajorVersion: pebbleFormat})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Set([]byte("k"), nil, pebbledb.Sync), db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(testDir, Options{fs: fs}); err == nil {
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
	if _, err := Open(readonly, Options{}); !errors.Is(err, os.ErrPermission) || errors.Is(err, ErrLocked) {
		t.Errorf("Open of a read-only folder: %v", err)
	}
}

// Ensure that a store of a newer version is refused, be it our format or Pebble's.
func TestOpen_Newer(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{})
	newer := binary.BigEndian.AppendUint32(nil, formatVersion+1)
	if err := e.db.Set(keyFormat, newer, pebbledb.Sync); err != nil {
		t.Fatal(err)
	}
	closeTest(t, e)
	for range 2 { // a refused store is not left locked
		if _, err := Open(testDir, Options{fs: fs}); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("Open: %v, want %v", err, ErrNewerFormat)
		}
	}
	for _, format := range []pebbledb.FormatMajorVersion{pebbleFormat + 1, pebbledb.FormatNewest} {
		fs := vfs.NewMem()
		db, err := pebbledb.Open(testDir, &pebbledb.Options{FS: fs, FormatMajorVersion: format})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(testDir, Options{fs: fs}); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("Open of Pebble's format %d: %v, want %v", format, err, ErrNewerFormat)
		}
	}
}
