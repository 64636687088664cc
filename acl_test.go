package sessiond

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Ensure that options say whether clients need a password, and refuse those that say two
// things at once, as Open does.
func TestOptions_LoginOptional(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "users.acl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		options Options
		want    bool
		err     string
	}{
		{Options{}, true, ""},
		{Options{Password: "p"}, false, ""},
		{Options{Users: []string{"alice on >p"}}, true, ""},
		{Options{Users: []string{"alice on >p"}, Password: "p"}, false, ""},
		{Options{Users: []string{"default on >p"}}, false, ""},
		{Options{Users: []string{"default on nopass"}}, true, ""},
		{Options{Users: []string{"default off nopass"}}, false, ""},
		{Options{ACLFile: write("user alice on\n")}, true, ""},
		{Options{ACLFile: write("user default on >p +@all ~*\n")}, false, ""},
		{Options{Users: []string{"default on >q"}, Password: "p"}, false, "user default"},
		{Options{ACLFile: write(""), Password: "p"}, false, "a password and an ACL file"},
		{Options{ACLFile: write(""), Users: []string{"a on"}}, false, "beside it"},
		{Options{ACLFile: write("\nuser a +nosuch\n")}, false, "users.acl:2: "},
		{Options{ACLFile: filepath.Join(t.TempDir(), "absent")}, false, "absent"},
		{Options{Users: []string{"a +nosuch"}}, false, "+nosuch"},
	}
	for i, test := range tests {
		got, err := test.options.LoginOptional()
		switch {
		case test.err == "" && (err != nil || got != test.want):
			t.Errorf("%d: %v, %v, want %v", i, got, err, test.want)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%d: %v, want an error with %q", i, err, test.err)
		}
		store, openErr := Open(t.TempDir(), test.options)
		if (openErr == nil) != (test.err == "") {
			t.Errorf("%d: Open: %v, want an error like %q", i, openErr, test.err)
		}
		if openErr == nil {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Ensure that a file of users is replaced as a whole, readable to its owner only, and that
// it stays as it was when it cannot be.
func TestACLFile_Save(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(path, []byte("user old on\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lines := []string{"user a on", "user b off"}
	if err := aclFile(path).Save(lines); err != nil {
		t.Fatal(err)
	}
	got, err := aclFile(path).Load()
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
	if err := aclFile(inTheWay).Save(lines); err == nil {
		t.Error("Save replaced a folder")
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("a failed Save left %v, %v", entries, err)
	}
}

// Ensure that a link, or whatever else is no file, is not replaced by the users that are saved.
func TestACLFile_Save_Strange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real, link := filepath.Join(dir, "users.acl"), filepath.Join(dir, "link.acl")
	if err := os.WriteFile(real, []byte("user alice on\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Skip("no links here:", err)
	}
	if err := aclFile(link).Save([]string{"user bob on"}); err == nil || !strings.Contains(err.Error(), link) {
		t.Errorf("Save over a link: %v", err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().IsRegular() {
		t.Errorf("the link is %v, %v", info, err)
	}
	if b, err := os.ReadFile(real); string(b) != "user alice on\n" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if err := aclFile(real).Save([]string{"user bob on"}); err != nil {
		t.Error(err)
	}
}
