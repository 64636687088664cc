package resp

import (
	"math"
	"strings"
	"testing"
)

// Ensure that each reply has the form of both protocols.
func TestWriter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		write        func(w *Writer)
		resp2, resp3 string
	}{
		{"OK", func(w *Writer) { w.OK() }, "+OK\r\n", "+OK\r\n"},
		{"Simple", func(w *Writer) { w.Simple("PONG") }, "+PONG\r\n", "+PONG\r\n"},
		{"SimpleSet", func(w *Writer) { w.SimpleSet([]string{"a", "b"}) }, "*2\r\n+a\r\n+b\r\n", "~2\r\n+a\r\n+b\r\n"},
		{"Error", func(w *Writer) { w.Error("ERR a\r\nb") }, "-ERR a  b\r\n", "-ERR a  b\r\n"},
		{"Int", func(w *Writer) { w.Int(math.MinInt64) }, ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"},
		{"Flag", func(w *Writer) { w.Flag(true); w.Flag(false) }, ":1\r\n:0\r\n", ":1\r\n:0\r\n"},
		{"Bulk", func(w *Writer) { w.Bulk([]byte("a\r\nb")) }, "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"},
		{"BulkString", func(w *Writer) { w.BulkString("") }, "$0\r\n\r\n", "$0\r\n\r\n"},
		{"Null", func(w *Writer) { w.Null() }, "$-1\r\n", "_\r\n"},
		{"NullArray", func(w *Writer) { w.NullArray() }, "*-1\r\n", "_\r\n"},
		{"Array", func(w *Writer) { w.Array(3) }, "*3\r\n", "*3\r\n"},
		{"Map", func(w *Writer) { w.Map(3) }, "*6\r\n", "%3\r\n"},
		{"Set", func(w *Writer) { w.Set(3) }, "*3\r\n", "~3\r\n"},
		{"Verbatim", func(w *Writer) { w.Verbatim("a") }, "$1\r\na\r\n", "=5\r\ntxt:a\r\n"},
		{"Double", func(w *Writer) { w.Double(0.5) }, "$3\r\n0.5\r\n", ",0.5\r\n"},
		{"infinity", func(w *Writer) { w.Double(math.Inf(1)) }, "$3\r\ninf\r\n", ",inf\r\n"},
		{"ArrayOf", func(w *Writer) {
			var elements Writer
			elements.Int(7)
			w.ArrayOf(1, &elements)
		}, "*1\r\n:7\r\n", "*1\r\n:7\r\n"},
	}
	for _, tt := range tests {
		for proto, want := range map[int]string{2: tt.resp2, 3: tt.resp3} {
			w := Writer{Proto: proto, Limit: 100}
			tt.write(&w)
			if got := string(w.Bytes()); got != want || w.Over() {
				t.Errorf("RESP%d, %s = %q, over %v, want %q", proto, tt.name, got, w.Over(), want)
			}
		}
	}
}

// account is a Budget.
type account struct{ held, most int }

func (a *account) Hold(n int) bool {
	if n > a.most {
		return false
	}
	a.held = max(n, 0)
	return true
}

// Ensure that what is appended stays within the limit and the budget, and that Release gives
// the budget back what it was charged.
func TestWriter_Limits(t *testing.T) {
	t.Parallel()
	w := Writer{Limit: 10}
	w.BulkString(strings.Repeat("x", 11))
	if !w.Over() || w.Len() > 0 {
		t.Errorf("a string over the limit: over %v, %d bytes", w.Over(), w.Len())
	}
	budget := &account{most: 3 << 20}
	w = Writer{Limit: math.MaxInt, Budget: budget}
	for range 2 {
		w.BulkString(strings.Repeat("x", 1<<20))
	}
	if w.Over() || budget.held+freeReply < w.Len() || budget.held == 0 {
		t.Errorf("%d bytes were written, %d are held, over %v", w.Len(), budget.held, w.Over())
	}
	w.BulkString(strings.Repeat("x", 1<<20))
	if !w.Over() {
		t.Error("more than the budget is not over")
	}
	if b := w.Release(); len(b) == 0 || w.Len() > 0 || budget.held != 0 {
		t.Errorf("Release = %d bytes, leaves %d, and %d are held", len(b), w.Len(), budget.held)
	}
}
