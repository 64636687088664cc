//go:build unix

package sessiond_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
)

// umask sets the umask of the process until the test ends. No other test may run meanwhile, so its
// caller must not be parallel.
func umask(t *testing.T, mask int) {
	t.Helper()
	before := syscall.Umask(mask)
	t.Cleanup(func() { syscall.Umask(before) })
}

// openFolder makes a folder that everybody may enter, as an operator may by hand.
func openFolder(t *testing.T, path string) string {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkPrivate complains of every file and folder below dir that others than its owner may use.
func checkPrivate(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		files++
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%s: %d files, %v", dir, files, err)
	}
}

func openQuietly(t *testing.T, dir string, options sessiond.Options) *sessiond.Store {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	options.MaxDisk = 64 << 20
	s, err := sessiond.Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Ensure that whatever is written belongs to its owner alone, in folders that were made for
// everybody, whatever the umask; and so does what was there with another mode.
func TestPrivate(t *testing.T) {
	for _, mask := range []int{0, 0o022} {
		umask(t, mask)
		ctx, base := t.Context(), t.TempDir()
		data, backup := openFolder(t, filepath.Join(base, "data")), openFolder(t, filepath.Join(base, "backup"))
		restored, repaired := openFolder(t, filepath.Join(base, "restored")), openFolder(t, filepath.Join(base, "repaired"))
		users := filepath.Join(base, "users.acl")
		if err := os.WriteFile(users, []byte("user default on nopass ~* +@all\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for range 2 { // a new store, and one that is there
			s := openQuietly(t, data, sessiond.Options{ACLFile: users})
			ln := listen(t)
			go func() { _ = s.Serve(ln) }() // ends with Close
			for range 200 {
				if err := s.DB(0).Set(ctx, "session", bytes.Repeat([]byte("v"), 64<<10), time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			ask(t, ln, "SAVE\r\nACL SAVE\r\n", "+OK\r\n+OK\r\n")
			if _, err := s.Backup(ctx, backup, sessiond.BackupOptions{}); err != nil {
				t.Fatal(err)
			}
			checkPrivate(t, data)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			checkPrivate(t, data)
			checkPrivate(t, backup)
			if info, err := os.Stat(users); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the saved ACL file: %v, %v", info.Mode(), err)
			}
			loosen(t, data)
		}
		loosen(t, backup)
		if _, err := sessiond.Restore(ctx, backup, restored, sessiond.RestoreOptions{}); err != nil {
			t.Fatal(err)
		}
		checkPrivate(t, restored)
		if _, err := sessiond.Repair(ctx, data, repaired, sessiond.RepairOptions{Logger: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		checkPrivate(t, repaired)
	}
}

// loosen gives everybody the files below dir, as a copy by hand does.
func loosen(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range entries {
		path := filepath.Join(dir, x.Name())
		if x.IsDir() {
			loosen(t, path)
		} else if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Ensure that a folder that other users can enter is reported at the start and by INFO, and that any
// other folder is not.
func TestPrivate_OpenFolder(t *testing.T) {
	t.Parallel()
	dir := openFolder(t, filepath.Join(t.TempDir(), "data"))
	for _, tt := range []struct {
		mode fs.FileMode
		told bool
		info string
	}{{0o755, true, "1"}, {0o710, true, "1"}, {0o700, false, "0"}} {
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s := openQuietly(t, dir, sessiond.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ln := listen(t)
		go func() { _ = s.Serve(ln) }() // ends with Close
		text := answer(t, ln, "INFO persistence\r\n")
		if !strings.Contains(text, "sessiond_dir_open_to_others:"+tt.info+"\r\n") {
			t.Errorf("mode %v: INFO persistence = %q", tt.mode, text)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		told := 0
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "level=WARN") && strings.Contains(line, dir) && strings.Contains(line, "chmod 700") {
				told++
			}
		}
		if tt.told != (told == 1) || told > 1 {
			t.Errorf("mode %v: %s", tt.mode, log.String())
		}
	}
}
