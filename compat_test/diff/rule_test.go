package diff

import (
	"slices"
	"testing"
)

// Ensure that each rule lets pass what it says and nothing else.
func TestRule_Equal(t *testing.T) {
	t.Parallel()
	seconds := Rule{kind: approx, tolerance: 5}
	version := Rule{kind: except, fields: []string{"version"}}
	tests := []struct {
		rule            Rule
		oracle, subject string
		want            bool
	}{
		{Rule{}, "+OK\r\n", "+OK\r\n", true},
		{Rule{}, "+OK\r\n", "+ok\r\n", false},
		{Rule{}, "$-1\r\n", "_\r\n", false},
		{Rule{}, ":1\r\n", closed, false},
		{Rule{kind: sorted}, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n", true},
		{Rule{kind: sorted}, "*2\r\n$1\r\na\r\n$1\r\na\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n", false},
		{Rule{kind: sorted}, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*1\r\n$1\r\nb\r\n", false},
		{Rule{kind: sorted}, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "~2\r\n$1\r\nb\r\n$1\r\na\r\n", false},
		{Rule{kind: sorted}, "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$1\r\na\r\n", true},
		{Rule{kind: sorted}, "%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n", "%2\r\n$1\r\nb\r\n:2\r\n$1\r\na\r\n:1\r\n", true},
		{Rule{kind: sorted}, "%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n", "%2\r\n$1\r\nb\r\n:1\r\n$1\r\na\r\n:2\r\n", false},
		{seconds, ":100\r\n", ":95\r\n", true},
		{seconds, ":100\r\n", ":94\r\n", false},
		{seconds, ":-1\r\n", ":-2\r\n", false},
		{seconds, ":0\r\n", ":-1\r\n", false},
		{seconds, ":100\r\n", "$3\r\n100\r\n", false},
		{Rule{kind: kindly, prefix: "ERR"}, "-ERR one\r\n", "-ERR other\r\n", true},
		{Rule{kind: kindly, prefix: "ERR"}, "-ERR one\r\n", "-WRONGTYPE other\r\n", false},
		{Rule{kind: kindly, prefix: "ERR"}, "+OK\r\n", "+OK\r\n", false},
		{Rule{kind: shape}, "$1\r\na\r\n", "$2\r\nbb\r\n", true},
		{Rule{kind: shape}, "$1\r\na\r\n", "$-1\r\n", false},
		{Rule{kind: shape}, "$1\r\na\r\n", "=5\r\ntxt:a\r\n", false},
		{Rule{kind: shape}, "*1\r\n:1\r\n", "*2\r\n:1\r\n:2\r\n", true},
		{Rule{kind: shape}, "*1\r\n:1\r\n", "*1\r\n$1\r\n1\r\n", false},
		{Rule{kind: shape}, "-ERR a\r\n", "-ERR b\r\n", false},
		{version, "%1\r\n$7\r\nversion\r\n$1\r\n7\r\n", "%1\r\n$7\r\nversion\r\n$1\r\n8\r\n", true},
		{version, "%1\r\n$4\r\nrole\r\n$1\r\n7\r\n", "%1\r\n$4\r\nrole\r\n$1\r\n8\r\n", false},
		{version, "*2\r\n$7\r\nversion\r\n$1\r\n7\r\n", "%1\r\n$7\r\nversion\r\n$1\r\n7\r\n", false},
		{Rule{kind: anyway}, "-ERR a\r\n", "+OK\r\n", true},
		{Rule{kind: anyway}, "-ERR a\r\n", closed, false},
		{Rule{kind: anyway}, "-ERR a\r\n", silence, false},
	}
	for _, tt := range tests {
		if got := tt.rule.equal(tt.oracle, tt.subject); got != tt.want {
			t.Errorf("%s: equal(%q, %q) = %v, want %v", tt.rule, tt.oracle, tt.subject, got, tt.want)
		}
	}
}

// Ensure that EXEC's reply is compared element by element, each by the rule of its line.
func TestPair_JudgeExec(t *testing.T) {
	t.Parallel()
	tests := []struct {
		oracle, subject string
		want            bool
	}{
		{"*2\r\n:50\r\n+OK\r\n", "*2\r\n:49\r\n+OK\r\n", true},
		{"*2\r\n:50\r\n+OK\r\n", "*2\r\n:50\r\n-ERR\r\n", false},
		{"*2\r\n:50\r\n+OK\r\n", "*1\r\n:50\r\n", false},
		{"*2\r\n:50\r\n+OK\r\n", "*-1\r\n", false},
		{"*-1\r\n", "*-1\r\n", true},
		{"*-1\r\n", "*0\r\n", false},
		{"_\r\n", "*0\r\n", false},
		{"-EXECABORT a\r\n", "-EXECABORT b\r\n", false},
	}
	for _, tt := range tests {
		var queue []queuedLine
		p := &Pair{}
		p.judge(&queue, []string{"TTL", "k"}, Rule{kind: approx, tolerance: 5}, "+QUEUED\r\n", "+QUEUED\r\n")
		p.judge(&queue, []string{"SET", "k", "v"}, Rule{}, "+QUEUED\r\n", "+QUEUED\r\n")
		if got := p.judge(&queue, []string{"exec"}, Rule{}, tt.oracle, tt.subject); got != tt.want {
			t.Errorf("judge(%q, %q) = %v, want %v", tt.oracle, tt.subject, got, tt.want)
		}
		if len(queue) != 0 {
			t.Errorf("lines wait for EXEC after EXEC: %v", queue)
		}
	}
}

// Ensure that the list accepts only what an entry names, and tells which were not used.
func TestAccepted_Allows(t *testing.T) {
	t.Parallel()
	e, err := parseAccepted("shape  MEMORY USAGE  -- reason")
	if err != nil {
		t.Fatal(err)
	}
	a := &Accepted{entries: []*acceptedEntry{e}}
	if a.allows([]string{"MEMORY", "DOCTOR"}, ":1\r\n", ":2\r\n") || a.allows([]string{"memory"}, ":1\r\n", ":2\r\n") ||
		a.allows([]string{"MEMORY", "USAGE", "k"}, ":1\r\n", "$-1\r\n") {
		t.Error("a difference that is not on the list is accepted")
	}
	if got := a.Unused(); len(got) != 1 {
		t.Errorf("Unused() = %q, want the one entry", got)
	}
	if !a.allows([]string{"memory", "usage", "k"}, ":1\r\n", ":2\r\n") {
		t.Error("a difference that is on the list is not accepted")
	}
	if got := a.Unused(); len(got) != 0 {
		t.Errorf("Unused() = %q, want none", got)
	}
	for _, line := range []string{"shape INFO", "shape INFO -- ", "shape -- reason", "bogus INFO -- reason"} {
		if _, err := parseAccepted(line); err == nil {
			t.Errorf("parseAccepted(%q) accepts it", line)
		}
	}
}

// Ensure that Split returns the words that Quote joined, whatever bytes are in them.
func TestQuote_Split(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{
		{"SET", "k", ""}, {"a b", "\t"}, {"\x00\xff\r\n"}, {`say "hi"`, `back\slash`, "it's", "'"}, {"#no-comment", "caf\u00e9"},
	} {
		got, err := Split(Quote(words))
		if err != nil || !slices.Equal(got, words) {
			t.Errorf("Split(%s) = %q, %v, want %q", Quote(words), got, err, words)
		}
	}
	for _, line := range []string{`"open`, `'open`, `a "b`} {
		if words, err := Split(line); err == nil {
			t.Errorf("Split(%s) = %q, want an error", line, words)
		}
	}
}
