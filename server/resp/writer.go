package resp

import (
	"math"
	"strconv"
	"strings"

	"github.com/tidwall/redcon"
)

// How a Writer charges its Budget.
const (
	freeReply = 128 << 10 // bytes that are not charged
	replyStep = 1 << 20   // bytes that are charged in advance, so that Hold is called seldom
)

// Writer builds the bytes of replies. It only appends to memory: its owner sends the bytes
// once the changes they report are safe. It is for one goroutine.
type Writer struct {
	// Proto is the version of the protocol: 3 for RESP3, anything else for RESP2.
	Proto int
	// Limit is how many bytes may wait to be sent. Nothing large is appended beyond it.
	Limit int
	// Budget is charged for large replies. Nil means no limit.
	Budget Budget

	b    []byte
	held int  // bytes charged to Budget
	over bool // a limit was hit
}

// Use makes the Writer append to memory that nobody else uses.
func (w *Writer) Use(b []byte) { w.b = b }

// Bytes returns what was appended. It is valid until the next append.
func (w *Writer) Bytes() []byte { return w.b }

// Len returns the number of bytes that were appended.
func (w *Writer) Len() int { return len(w.b) }

// Truncate drops all but the first n bytes.
func (w *Writer) Truncate(n int) { w.b = w.b[:n] }

// Release returns the memory of the Writer, which the caller then owns, and gives back what was
// charged for it.
func (w *Writer) Release() []byte {
	b := w.b
	w.b = nil
	hold(w.Budget, 0)
	w.held = 0
	return b
}

// Over reports whether a limit was hit. The reply is incomplete then and must not be sent.
func (w *Writer) Over() bool { return w.over }

// Fits reports whether n more bytes stay within the limits. Over is true from the first time
// they do not.
func (w *Writer) Fits(n int) bool {
	need := len(w.b) + n
	if need > w.Limit || need > w.held+freeReply && !w.charge(need+replyStep) {
		w.over = true
	}
	return !w.over
}

func (w *Writer) charge(n int) (ok bool) {
	if w.Budget == nil {
		return true
	}
	if !w.Budget.Hold(n) {
		return false
	}
	w.held = n
	return true
}

// OK appends the reply of a command that has no result.
func (w *Writer) OK() { w.b = append(w.b, "+OK\r\n"...) }

// Simple appends a simple string. It must not contain line breaks.
func (w *Writer) Simple(s string) { w.b = redcon.AppendString(w.b, s) }

// SimpleSet appends a set of simple strings.
func (w *Writer) SimpleSet(list []string) {
	w.Set(len(list))
	for _, s := range list {
		w.Simple(s)
	}
}

// Error appends an error. Line breaks in it become blanks, as in Redis.
func (w *Writer) Error(text string) {
	w.b = append(w.b, '-')
	w.b = append(w.b, strings.NewReplacer("\r", " ", "\n", " ").Replace(text)...)
	w.b = append(w.b, '\r', '\n')
}

// Int appends an integer.
func (w *Writer) Int(n int64) { w.b = redcon.AppendInt(w.b, n) }

// Flag appends 1 or 0, which stand for yes and no in commands older than RESP3.
func (w *Writer) Flag(yes bool) {
	if yes {
		w.Int(1)
	} else {
		w.Int(0)
	}
}

// Bulk appends a string of any bytes.
func (w *Writer) Bulk(b []byte) {
	if w.Fits(len(b)) {
		w.b = redcon.AppendBulk(w.b, b)
	}
}

// BulkString is Bulk for a string.
func (w *Writer) BulkString(s string) {
	if w.Fits(len(s)) {
		w.b = redcon.AppendBulkString(w.b, s)
	}
}

// Null appends null in place of a string.
func (w *Writer) Null() {
	if w.Proto == 3 {
		w.b = append(w.b, "_\r\n"...)
		return
	}
	w.b = append(w.b, "$-1\r\n"...)
}

// NullArray appends null in place of an array, as an aborted EXEC does.
func (w *Writer) NullArray() {
	if w.Proto == 3 {
		w.b = append(w.b, "_\r\n"...)
		return
	}
	w.b = append(w.b, "*-1\r\n"...)
}

// Array begins an array of n elements.
func (w *Writer) Array(n int) { w.header('*', n) }

// ArrayOf appends an array of n elements that another Writer has gathered, because their number was
// not known before. If that Writer has hit a limit, so has this one.
func (w *Writer) ArrayOf(n int, elements *Writer) {
	w.over = w.over || elements.over
	w.Array(n)
	w.b = append(w.b, elements.b...)
}

// Map begins a map of n pairs. In RESP2 it is a flat array.
func (w *Writer) Map(n int) {
	if w.Proto == 3 {
		w.header('%', n)
		return
	}
	w.header('*', 2*n)
}

// Set begins a set of n elements. In RESP2 it is an array.
func (w *Writer) Set(n int) {
	if w.Proto == 3 {
		w.header('~', n)
		return
	}
	w.header('*', n)
}

// Verbatim appends text that is meant to be read by people.
func (w *Writer) Verbatim(text string) {
	if w.Proto != 3 {
		w.BulkString(text)
		return
	}
	if !w.Fits(len(text)) {
		return
	}
	w.header('=', len(text)+4)
	w.b = append(w.b, "txt:"...)
	w.b = append(w.b, text...)
	w.b = append(w.b, '\r', '\n')
}

// Double appends a floating point number: a string in RESP2.
func (w *Writer) Double(f float64) {
	s := strconv.FormatFloat(f, 'g', 17, 64)
	if math.IsInf(f, 0) {
		s = strings.ToLower(strings.TrimPrefix(s, "+"))
	}
	if w.Proto != 3 {
		w.BulkString(s)
		return
	}
	w.b = append(append(append(w.b, ','), s...), '\r', '\n')
}

func (w *Writer) header(kind byte, n int) {
	w.b = append(w.b, kind)
	w.b = strconv.AppendInt(w.b, int64(n), 10)
	w.b = append(w.b, '\r', '\n')
}
