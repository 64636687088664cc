package aclfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Ensure that a file of users is replaced as a whole, readable to its owner only, and that
// it stays as it was when it cannot be.
func TestPath_Save(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(path, []byte("user old on\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lines := []string{"user a on", "user b off"}
	if err := Path(path).Save(lines); err != nil {
		t.Fatal(err)
	}
	got, err := Path(path).Load()
	if want := append(slices.Clone(lines), ""); err != nil || !slices.Equal(got, want) {
		t.Errorf("Load = %q, %v, want %q", got, err, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v, want mode 0600", info.Mode(), err)
	}

	folder := t.TempDir()
	inTheWay := filepath.Join(folder, "users.acl")
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Path(inTheWay).Save(lines); err == nil {
		t.Error("Save replaced a folder")
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("a failed Save left %v, %v", entries, err)
	}
}

// Ensure that a link, or whatever else is no file, is not replaced by the users that are saved.
func TestPath_Save_Strange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real, link := filepath.Join(dir, "users.acl"), filepath.Join(dir, "link.acl")
	if err := os.WriteFile(real, []byte("user alice on\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Skip("no links here:", err)
	}
	if err := Path(link).Save([]string{"user bob on"}); err == nil || !strings.Contains(err.Error(), link) {
		t.Errorf("Save over a link: %v", err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().IsRegular() {
		t.Errorf("the link is %v, %v", info, err)
	}
	if b, err := os.ReadFile(real); string(b) != "user alice on\n" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if err := Path(real).Save([]string{"user bob on"}); err != nil {
		t.Error(err)
	}
}
