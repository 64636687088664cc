package main

import (
	"bytes"
	"os"
	"testing"
)

// Ensure that a bar is drawn for each stage, on a terminal and nowhere else.
func TestProgress(t *testing.T) {
	t.Parallel()
	var pipe bytes.Buffer
	p := newProgress(&pipe, "reading")
	p.show(1, 2)
	p.clear()
	if pipe.Len() > 0 {
		t.Errorf("%q was written to something that is no terminal", pipe.String())
	}
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // as much of a terminal as a test has
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	p = newProgress(device, "reading", "checking")
	if p.terminal == nil {
		t.Skip("the null device is no character device here")
	}
	p.terminal = &pipe
	for _, done := range []int64{1, 2, 1, 2} {
		p.show(done, 2)
	}
	p.clear()
	p.show(1, 2) // a stage that nobody announced has no bar
	for _, stage := range []string{"reading", "checking"} {
		if !bytes.Contains(pipe.Bytes(), []byte(stage)) {
			t.Errorf("no bar for %s in %q", stage, pipe.String())
		}
	}
}
