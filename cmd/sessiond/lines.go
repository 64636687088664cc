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
	// queuedBytes limits the lines that wait for their reader.
	queuedBytes = 1 << 20
	// flushTime is how long the process waits at its end until the remaining lines are written.
	flushTime = 500 * time.Millisecond
)

// lineQueue is a Writer that never blocks. Another goroutine writes the lines to the Writer below, which
// may be a full pipe. Lines that do not fit into the queue, or that cannot be written, are lost. When
// lines can be written again, a line says how many are missing. It is safe for concurrent use.
type lineQueue struct {
	to     io.Writer
	failed func(error) // called for each line that could not be written; may be nil

	mu      sync.Mutex
	lines   [][]byte
	size    int           // bytes of lines
	lost    int           // number of lines after these that did not fit
	written chan struct{} // closed when all lines are written; nil if there are none

	missed int // number of lost lines that were not reported yet; for writeAll only
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

// take returns the queued lines, and how many were lost after them. If it returns none, the next Write
// starts another writeAll.
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

// reportMissed writes how many lines were lost, if any were. It returns false if that could not be
// written.
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
