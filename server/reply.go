package server

import (
	"math"
	"strconv"
	"strings"

	"github.com/tidwall/redcon"
)

// reply builds the bytes of replies in RESP2 or RESP3. It only appends to memory: a
// connection sends the bytes once the changes they report are safe.
type reply struct {
	b     []byte
	proto int // 2 or 3
	// limit is how many bytes may wait to be sent; nothing large is appended beyond it.
	limit int
	held  share // for a reply that is larger than what is usually gathered
	// over is set when the limit was hit: the reply is broken and must not be sent.
	over bool
}

// fits reports whether n more bytes stay within the limit.
func (w *reply) fits(n int) bool {
	need := len(w.b) + n
	if need > w.limit || need > w.held.taken+2*flushSize && !w.held.hold(need+sendSize) {
		w.over = true
	}
	return !w.over
}

func (w *reply) ok() { w.b = append(w.b, "+OK\r\n"...) }

func (w *reply) simple(s string) { w.b = redcon.AppendString(w.b, s) }

// fail appends an error. Line breaks in it become blanks, as in Redis.
func (w *reply) fail(err replyError) {
	w.b = append(w.b, '-')
	w.b = append(w.b, strings.NewReplacer("\r", " ", "\n", " ").Replace(string(err))...)
	w.b = append(w.b, '\r', '\n')
}

func (w *reply) integer(n int64) { w.b = redcon.AppendInt(w.b, n) }

// flag appends 1 or 0: the yes and no of commands older than RESP3.
func (w *reply) flag(yes bool) {
	if yes {
		w.integer(1)
	} else {
		w.integer(0)
	}
}

func (w *reply) bulk(b []byte) {
	if w.fits(len(b)) {
		w.b = redcon.AppendBulk(w.b, b)
	}
}

func (w *reply) bulkString(s string) {
	if w.fits(len(s)) {
		w.b = redcon.AppendBulkString(w.b, s)
	}
}

// null appends the absence of a bulk string.
func (w *reply) null() {
	if w.proto == 3 {
		w.b = append(w.b, "_\r\n"...)
		return
	}
	w.b = append(w.b, "$-1\r\n"...)
}

// nullArray appends the absence of an array: an aborted EXEC.
func (w *reply) nullArray() {
	if w.proto == 3 {
		w.b = append(w.b, "_\r\n"...)
		return
	}
	w.b = append(w.b, "*-1\r\n"...)
}

// array announces n elements.
func (w *reply) array(n int) { w.header('*', n) }

// dict announces n pairs: a map in RESP3, a flat array in RESP2.
func (w *reply) dict(n int) {
	if w.proto == 3 {
		w.header('%', n)
		return
	}
	w.header('*', 2*n)
}

// set announces n elements without an order.
func (w *reply) set(n int) {
	if w.proto == 3 {
		w.header('~', n)
		return
	}
	w.header('*', n)
}

// verbatim appends text that is meant to be read by people.
func (w *reply) verbatim(text string) {
	if w.proto != 3 {
		w.bulkString(text)
		return
	}
	if !w.fits(len(text)) {
		return
	}
	w.header('=', len(text)+4)
	w.b = append(w.b, "txt:"...)
	w.b = append(w.b, text...)
	w.b = append(w.b, '\r', '\n')
}

// double appends a floating point number.
func (w *reply) double(f float64) {
	s := strconv.FormatFloat(f, 'g', 17, 64)
	if math.IsInf(f, 0) {
		s = strings.ToLower(strings.TrimPrefix(s, "+"))
	}
	if w.proto != 3 {
		w.bulkString(s)
		return
	}
	w.b = append(append(append(w.b, ','), s...), '\r', '\n')
}

func (w *reply) header(mark byte, n int) {
	w.b = append(w.b, mark)
	w.b = strconv.AppendInt(w.b, int64(n), 10)
	w.b = append(w.b, '\r', '\n')
}
