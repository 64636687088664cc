package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/server"
)

// Ensure that the page in the repository is what the command table says.
func TestCommandsPage_InStep(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != commandsPage(server.Commands()) {
		t.Error(`docs/commands.md is not what the command table says: run "make docs"`)
	}
}

// Ensure that groups keep their order and that a bar does not end a cell.
func TestCommandsPage(t *testing.T) {
	t.Parallel()
	page := commandsPage([]server.CommandInfo{
		{Name: "get", Group: "string", Since: "1.0.0", Syntax: "key", Summary: "Returns."},
		{Name: "ping", Group: "connection", Since: "1.0.0", Summary: "Answers."},
		{Name: "set", Group: "string", Since: "1.0.0", Syntax: "key [NX | XX]", Summary: "Stores."},
	})
	want := "\n## String\n\n| command | what it does | since |\n|---|---|---|\n" +
		"| `GET key` | Returns. | 1.0.0 |\n" +
		"| `SET key [NX \\| XX]` | Stores. | 1.0.0 |\n" +
		"\n## Connection\n\n| command | what it does | since |\n|---|---|---|\n" +
		"| `PING` | Answers. | 1.0.0 |\n"
	if got := strings.TrimPrefix(page, head); got != want {
		t.Errorf("page:\n%s\nwant:\n%s", got, want)
	}
}
