package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// readAll returns what a pipe holds until its other end is closed.
func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// Ensure that neither logging nor the end of the process waits for a reader that has stopped reading,
// and that the log says how many lines were lost, where they are missing.
func TestLineQueue_FullPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	q := &lineQueue{to: w}
	const lines = 40_000
	for i := range lines {
		fmt.Fprintf(q, "line %d %s\n", i, strings.Repeat("x", 50)) // the pipe holds a thousand
	}
	q.flush()
	var early bytes.Buffer
	if _, err := io.CopyN(&early, r, 1); err != nil { // the reader goes on
		t.Fatal(err)
	}
	done := make(chan string)
	go func() { done <- early.String() + readAll(t, r) }()
	waitWritten(t, q)
	fmt.Fprintf(q, "last\n")
	waitWritten(t, q)
	w.Close()
	text := <-done
	kept := strings.Count(text, "line ")
	report := fmt.Sprintf("lines=%d\nlast\n", lines-kept)
	if kept == 0 || kept == lines || strings.Count(text, "lines were lost") != 1 || !strings.HasSuffix(text, report) {
		t.Errorf("%d of %d lines kept, the log ends with %q, want one line on the others: %q",
			kept, lines, text[max(0, len(text)-300):], report)
	}
}

// waitWritten waits until the queue is empty, however long that takes.
func waitWritten(t *testing.T, q *lineQueue) {
	t.Helper()
	q.mu.Lock()
	written := q.written
	q.mu.Unlock()
	if written == nil {
		return
	}
	select {
	case <-written:
	case <-time.After(20 * time.Second):
		t.Fatal("the lines are not written")
	}
}

// fullDisk has no room for a while.
type fullDisk struct {
	bytes.Buffer
	full bool
}

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.full {
		return 0, errors.New("no space left on device")
	}
	return d.Buffer.Write(p)
}

// Ensure that lines that could not be written are counted, once, where they are missing.
func TestLineQueue_FullDisk(t *testing.T) {
	t.Parallel()
	disk := &fullDisk{full: true}
	failures := 0
	q := &lineQueue{to: disk, failed: func(error) { failures++ }}
	for i := range 3 {
		fmt.Fprintf(q, "line %d\n", i)
		waitWritten(t, q)
	}
	disk.full = false
	for i := range 2 {
		fmt.Fprintf(q, "later %d\n", i)
		waitWritten(t, q)
	}
	text := disk.String()
	if failures == 0 || strings.Count(text, "lines=3\n") != 1 || !strings.HasSuffix(text, "lines=3\nlater 0\nlater 1\n") {
		t.Errorf("the log is %q, want one line on 3 that are lost, then the later ones", text)
	}
}
