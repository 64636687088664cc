package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// queuedBytes bounds the lines that wait for whoever reads them.
	queuedBytes = 1 << 20
	// flushTime is how long the end of the process waits for the lines that are left.
	flushTime = 500 * time.Millisecond
)

// lineQueue is a Writer that never waits: another goroutine writes the lines to the Writer
// below, which may be a full pipe whose reader stands still. Lines that find no room in the
// queue, or that cannot be written, are lost; a line says how many when lines can be written
// again. It is safe for concurrent use.
type lineQueue struct {
	to     io.Writer
	failed func(error) // is told of each line that could not be written; may be nil

	mu      sync.Mutex
	lines   [][]byte
	size    int           // bytes of lines
	lost    int           // lines that came after these and found no room
	written chan struct{} // is closed when all are written; nil if there is nothing to write

	missed int // lines that are missing in what was written; writeAll's own
}

// Write queues one line, of which it keeps a copy. It returns no error.
func (q *lineQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size+len(line) > queuedBytes {
		q.lost++
		return len(line), nil
	}
	q.lines = append(q.lines, bytes.Clone(line))
	q.size += len(line)
	if q.written == nil {
		q.written = make(chan struct{})
		go q.writeAll() // ends when no line is left, or with the process
	}
	return len(line), nil
}

// flush waits until the lines are written, but no longer than flushTime.
func (q *lineQueue) flush() {
	q.mu.Lock()
	written := q.written
	q.mu.Unlock()
	if written == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	select {
	case <-written:
	case <-ctx.Done():
	}
}

func (q *lineQueue) writeAll() {
	for {
		lines, lost := q.take()
		if lines == nil {
			return
		}
		for _, line := range lines {
			if !q.reportMissed() || !q.write(line) {
				q.missed++
			}
		}
		q.missed += lost
		q.reportMissed()
	}
}

// take returns the lines that wait, and how many were lost after them. If there are none, the
// next Write starts another writeAll.
func (q *lineQueue) take() (lines [][]byte, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lines == nil {
		close(q.written)
		q.written = nil
		return nil, 0
	}
	lines, lost = q.lines, q.lost
	q.lines, q.size, q.lost = nil, 0, 0
	return lines, lost
}

func (q *lineQueue) write(line []byte) bool {
	_, err := q.to.Write(line)
	if err != nil && q.failed != nil {
		q.failed(err)
	}
	return err == nil
}

// reportMissed says how many lines are missing here, if any are. It returns false if that
// could not be written.
func (q *lineQueue) reportMissed() bool {
	if q.missed == 0 {
		return true
	}
	var line bytes.Buffer
	slog.New(slog.NewTextHandler(&line, nil)).Warn("log lines were lost: "+
		"they could not be written, or were not read in time; see to whatever takes the log", "lines", q.missed)
	if !q.write(line.Bytes()) {
		return false
	}
	q.missed = 0
	return true
}
