// Package progress says how much of a long piece of work is done, and lets its context end it.
package progress

import (
	"context"
	"io"
)

// Meter adds up what is read and passes it on. It is for one goroutine at a time.
type Meter struct {
	Report      func(done, total int64) // nil means nobody
	done, total int64
}

// Begin begins with a new total, which may be an estimate.
func (m *Meter) Begin(total int64) { m.done, m.total = 0, max(total, 1) }

// Add adds bytes. More than the total are not reported.
func (m *Meter) Add(bytes int) {
	if m.Report != nil && m.total > 0 {
		m.done = min(m.done+int64(bytes), m.total)
		m.Report(m.done, m.total)
	}
}

// End reports that all is done.
func (m *Meter) End() {
	if m.Report != nil {
		m.Report(m.total, m.total)
	}
}

// Reader reads until its context ends, and adds what it read to a meter.
type Reader struct {
	Context context.Context
	From    io.Reader
	Meter   *Meter // nil means none
}

func (r Reader) Read(p []byte) (int, error) {
	if err := r.Context.Err(); err != nil {
		return 0, err
	}
	n, err := r.From.Read(p)
	if r.Meter != nil {
		r.Meter.Add(n)
	}
	return n, err
}
