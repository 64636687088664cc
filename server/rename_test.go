package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that a renamed command answers to its new name only, and one without a name to none.
func TestRenames(t *testing.T) {
	t.Parallel()
	renames, err := ParseRenames([]string{`FLUSHALL ""`, "get fetch", "config get"})
	if err != nil {
		t.Fatal(err)
	}
	_, addr := startServer(t, ttl.NewManual(1), Config{Renames: renames})
	nc, r := dialServer(t, addr)
	for _, step := range [][2]string{
		{"flushall", "-ERR unknown command 'flushall', with args beginning with:"},
		{"fetch nothing", "$-1"},
		{"fetch", "-ERR wrong number of arguments for 'get' command"},
		{"get get nothing", "*0"}, // CONFIG GET by its new name
		{"config get nothing", "-ERR unknown command 'config', with args beginning with: 'get' 'nothing'"},
	} {
		fmt.Fprint(nc, step[0]+"\r\n")
		expectLine(t, r, step[1])
	}
}

func TestParseRenames_Refuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ lines, want string }{
		{"flushall", "give the name of a command and the new name"},
		{"nosuch x", "there is no command nosuch"},
		{"client|id x", "there is no command client|id"},
		{"get set", "there is a command set already"},
		{"get a\nset a", "there is a command a already"},
		{"get a\nget b", "renamed twice"},
	}
	for _, test := range tests {
		_, err := ParseRenames(strings.Split(test.lines, "\n"))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("ParseRenames(%q) = %v, want %q", test.lines, err, test.want)
		}
	}
}
