package sessiond

import (
	"os"
	"path/filepath"
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
