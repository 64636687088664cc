package lint

import (
	"strings"
	"testing"
	"testing/fstest"
)

// Ensure that a file of a walked folder must be named, and no other.
func TestWalkthrough(t *testing.T) {
	t.Parallel()
	root := fstest.MapFS{
		"docs/walkthrough.md": {Data: []byte("First `x/named.go`.")},
		"x/named.go":          {Data: []byte("package x")},
		"x/missed.go":         {Data: []byte("package x")},
		"x/missed_test.go":    {Data: []byte("package x")},
		"x/y/below.go":        {Data: []byte("package y")},
		"z/other.go":          {Data: []byte("package z")},
	}
	source, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	const want = "x/missed.go: docs/walkthrough.md does not name it"
	if got := strings.Join(checkWalkthrough(source, []string{"x"}), "\n"); got != want {
		t.Errorf("found %q, want %q", got, want)
	}
}

// Ensure that each package must have a line in the table of docs/architecture.md.
func TestDrawing(t *testing.T) {
	t.Parallel()
	root := fstest.MapFS{
		"docs/architecture.md": {Data: []byte("y\n\n| package |\n|-|\n| `.` | the root |\n| `x` | x, beside `y` |\n")},
		"root.go":              {Data: []byte("package root")},
		"x/x.go":               {Data: []byte("package x")},
		"y/y.go":               {Data: []byte("package y")},
		"y/z.go":               {Data: []byte("package y")},
	}
	source, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	const want = "y: docs/architecture.md does not describe it"
	if got := strings.Join(checkDrawing(source), "\n"); got != want {
		t.Errorf("found %q, want %q", got, want)
	}
}
