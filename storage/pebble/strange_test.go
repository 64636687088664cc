//go:build unix

package pebble

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// strangers are what may lie in the place of a file of sessiond's, by the words of the refusal.
// Each is put at a path; the letter is a file that it may lead to.
var strangers = map[string]func(path, letter string) error{
	"a symbolic link": func(path, letter string) error { return os.Symlink(letter, path) },
	"a dangling symbolic link": func(path, letter string) error {
		return os.Symlink(letter+" that was never sent", path)
	},
	"a folder": func(path, _ string) error { return os.Mkdir(path, 0o700) },
	"a FIFO":   func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
	"a socket": func(path, _ string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0) },
	"foreign":  func(path, _ string) error { return os.WriteFile(path, []byte(letterText), 0o600) },
}

const letterText = "Dear Ada, this is precious and nobody else has it.\n"

// stranger is something in the place of a file of sessiond's.
type stranger struct{ path, letter, kind string }

// place puts a stranger at path, and what was there back when the returned function is called.
func placeStranger(t *testing.T, path, kind string) (s stranger, remove func()) {
	t.Helper()
	s = stranger{path, filepath.Join(t.TempDir(), "letter"), kind}
	aside := filepath.Join(filepath.Dir(s.letter), "aside")
	if err := os.WriteFile(s.letter, []byte(letterText), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := strangers[kind](path, s.letter); err != nil {
		t.Fatal(err)
	}
	return s, func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(aside, path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// refused checks that open says what is in the way and where, and left it alone.
func (s stranger) refused(t *testing.T, open func() error) {
	t.Helper()
	outcome := make(chan error, 1)
	go func() { outcome <- open() }()
	var err error
	select {
	case err = <-outcome:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s at %s: the opening hangs", s.kind, s.path)
	}
	words := strings.TrimPrefix(s.kind, "a dangling ")
	if !errors.Is(err, folder.ErrForeign) || !strings.Contains(err.Error(), s.path) ||
		s.kind != "foreign" && !strings.Contains(err.Error(), words) {
		t.Fatalf("%s at %s: %v, want %v", s.kind, s.path, err, folder.ErrForeign)
	}
	letters := []string{s.letter}
	if s.kind == "foreign" {
		letters = append(letters, s.path)
	}
	for _, letter := range letters {
		if b, err := os.ReadFile(letter); string(b) != letterText {
			t.Fatalf("%s at %s: %s holds %q, %v", s.kind, s.path, letter, b, err)
		}
	}
	if _, err := os.Lstat(s.letter + " that was never sent"); err == nil {
		t.Fatalf("%s at %s: a file was made where it leads to", s.kind, s.path)
	}
	if _, err := os.Lstat(s.path); err != nil {
		t.Fatalf("%s at %s: it is gone: %v", s.kind, s.path, err)
	}
}

// hasHead reports whether the content of a file tells that it is sessiond's before Pebble reads it.
func hasHead(name string) bool {
	return layout.OwnFiles[name] || strings.HasPrefix(name, layout.BallastPrefix) || strings.HasPrefix(name, "marker.")
}

// buildStrange makes a store with every kind of file and returns their names.
func buildStrange(t *testing.T, dir string) []string {
	t.Helper()
	e, err := Open(dir, Options{CacheBytes: 1 << 20, MaxDisk: diskspace.MinQuota})
	if err != nil {
		t.Fatal(err)
	}
	put(t, e, "flushed", "value", ttl.Never)
	if err := e.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	syncTo(t, e, put(t, e, "logged", "value", ttl.Never))
	closeTest(t, e)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range entries {
		names = append(names, x.Name())
	}
	return names
}

// Ensure that a store with something else in the place of one of its files is refused, and
// that nothing is followed, emptied, removed or waited for.
func TestOpen_Strange(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	names := buildStrange(t, dir)
	for _, name := range []string{"LOCK", "log.1", "log.control", "log.mark", "reserve.0"} {
		if !slices.Contains(names, name) && (name != "log.mark" || runtime.GOOS == "linux") {
			t.Errorf("the store has no %s: %q", name, names)
		}
	}
	for _, name := range names {
		for kind := range strangers {
			if kind == "foreign" && !hasHead(name) {
				continue // Pebble, or the look for damage, reads the whole of it
			}
			s, remove := placeStranger(t, filepath.Join(dir, name), kind)
			s.refused(t, func() error { return openAndClose(dir) })
			if name == "log.1" { // it can do without a table
				s.refused(t, func() error {
					err := Tools.Repair(t.Context(), dir, filepath.Join(t.TempDir(), "repaired"), nil)
					return err
				})
			}
			remove()
		}
	}
	if err := openAndClose(dir); err != nil {
		t.Errorf("Open when all are back: %v", err)
	}
}

// Ensure that a new store takes nothing over that only has a name of sessiond's.
func TestOpen_StrangeNew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"LOCK", "log.1", "log.control", "log.mark", "reserve.0", "reserve.7"} {
		for kind := range strangers {
			s, remove := placeStranger(t, filepath.Join(dir, name), kind)
			s.refused(t, func() error { return openAndClose(dir) })
			remove()
		}
	}
	if err := openAndClose(dir); err != nil {
		t.Errorf("Open of the empty folder: %v", err)
	}
}

// Ensure that a FIFO in the place of the data folder is refused, and that a link there leads
// to the folder: operators move data that way.
func TestOpen_StrangeFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	outcome := make(chan error, 1)
	go func() { outcome <- openAndClose(fifo) }()
	select {
	case err := <-outcome:
		if err == nil || !strings.Contains(err.Error(), fifo) {
			t.Errorf("Open of a FIFO: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Open of a FIFO hangs")
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("data", link); err != nil {
		t.Fatal(err)
	}
	if err := openAndClose(link); err != nil {
		t.Errorf("Open of a link to a folder: %v", err)
	}
}

// Ensure that a backup is neither made through a link nor over something that is none, and
// that nothing is restored through one.
func TestBackup_Strange(t *testing.T) {
	t.Parallel()
	store, to := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "backup")
	e, err := Open(store, Options{CacheBytes: 1 << 20, MaxDisk: diskspace.MinQuota})
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, e)
	put(t, e, "name", "value", ttl.Never)
	if err := e.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := Tools.Backup(t.Context(), e, to, nil); err != nil {
		t.Fatal(err)
	}
	backUp := func(dir string) func() error {
		return func() error {
			_, err := Tools.Backup(t.Context(), e, dir, nil)
			return err
		}
	}
	restore := func() error {
		_, err := Tools.Restore(t.Context(), to, filepath.Join(t.TempDir(), "restored"), nil)
		return err
	}
	for kind := range strangers {
		for _, name := range []string{layout.ReceiptName, layout.NewReceiptName, "data-000001", "data-000002"} {
			if kind == "foreign" && name == layout.ReceiptName || kind == "a folder" && strings.HasPrefix(name, "data-") {
				continue // a receipt that is damaged, and a folder of a backup
			}
			s, remove := placeStranger(t, filepath.Join(to, name), kind)
			s.refused(t, backUp(to))
			if name != layout.NewReceiptName && name != "data-000002" {
				s.refused(t, restore)
			}
			remove()
		}
		if kind == "foreign" {
			continue
		}
		if kind != "a folder" {
			s, remove := placeStranger(t, filepath.Join(store, layout.BackupName), kind)
			s.refused(t, backUp(filepath.Join(store, layout.BackupName)))
			remove()
		}
		files, err := os.ReadDir(filepath.Join(to, "data-000001"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			s, remove := placeStranger(t, filepath.Join(to, "data-000001", file.Name()), kind)
			s.refused(t, restore)
			remove()
		}
	}
	if err := errors.Join(restore(), backUp(to)()); err != nil {
		t.Errorf("when all are back: %v", err)
	}
}

// Ensure that folders in which sessiond works on backups are not removed with what somebody
// else has put there.
func TestBackup_StrangeFolders(t *testing.T) {
	t.Parallel()
	store, to, restored := t.TempDir(), t.TempDir(), t.TempDir()
	e, err := Open(store, Options{CacheBytes: 1 << 20, MaxDisk: diskspace.MinQuota})
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, e)
	backUp := func() error {
		_, err := Tools.Backup(t.Context(), e, to, nil)
		return err
	}
	if err := backUp(); err != nil {
		t.Fatal(err)
	}
	for folder, open := range map[string]func() error{
		filepath.Join(store, layout.StageName): backUp,
		filepath.Join(to, "data-000007"):       backUp,
		filepath.Join(restored, "restore.new"): func() error {
			_, err := Tools.Restore(t.Context(), to, restored, nil)
			return err
		},
	} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		s, remove := placeStranger(t, filepath.Join(folder, "letter"), "foreign")
		s.refused(t, open)
		remove()
		if err := os.Remove(folder); err != nil {
			t.Fatal(err)
		}
		if err := open(); err != nil {
			t.Errorf("without %s: %v", folder, err)
		}
	}
}
