package server

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/server/glob"
	"github.com/sessiond/sessiond/ttl"
)

// fields splits a line of options at blanks.
func fields(line string) [][]byte { return bytes.Fields([]byte(line)) }

// shown makes a value of any type comparable and readable.
func shown(v any) string { return fmt.Sprintf("%+v", v) }

func in(seconds string) expiry  { return expiry{[]byte(seconds), inSeconds, false} }
func inMS(millis string) expiry { return expiry{[]byte(millis), inMilliseconds, false} }
func at(seconds string) expiry  { return expiry{[]byte(seconds), inSeconds, true} }
func atMS(millis string) expiry { return expiry{[]byte(millis), inMilliseconds, true} }

// Ensure that SET takes its options in any order and case, and refuses contradictions.
func TestParseSet(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want setOptions
		err  error
	}{
		{"", setOptions{}, nil},
		{"nx", setOptions{nx: true}, nil},
		{"NX nX", setOptions{nx: true}, nil},
		{"XX", setOptions{xx: true}, nil},
		{"GET", setOptions{get: true}, nil},
		{"KeepTTL", setOptions{keepTTL: true}, nil},
		{"EX 10", setOptions{expiry: in("10")}, nil},
		{"px 10", setOptions{expiry: inMS("10")}, nil},
		{"EXAT 10", setOptions{expiry: at("10")}, nil},
		{"PXAT 10", setOptions{expiry: atMS("10")}, nil},
		{"EX 10 EX 20", setOptions{expiry: in("20")}, nil},
		{"EX 10 NX GET", setOptions{nx: true, get: true, expiry: in("10")}, nil},
		{"GET EX 10 XX", setOptions{xx: true, get: true, expiry: in("10")}, nil},
		{"KEEPTTL GET NX", setOptions{nx: true, get: true, keepTTL: true}, nil},
		{"EX NX", setOptions{expiry: in("NX")}, nil}, // the number is judged later
		{"NX XX", setOptions{}, errSyntax},
		{"XX NX", setOptions{}, errSyntax},
		{"EX", setOptions{}, errSyntax},
		{"NX PX", setOptions{}, errSyntax},
		{"EX 10 PX 10", setOptions{}, errSyntax},
		{"EX 10 EXAT 10", setOptions{}, errSyntax},
		{"PXAT 10 PX 10", setOptions{}, errSyntax},
		{"EX 10 KEEPTTL", setOptions{}, errSyntax},
		{"KEEPTTL EX 10", setOptions{}, errSyntax},
		{"PERSIST", setOptions{}, errSyntax},
		{"10", setOptions{}, errSyntax},
		{"EX 10 20", setOptions{}, errSyntax},
	}
	for _, tt := range tests {
		got, err := parseSet(fields(tt.line))
		if shown(got) != shown(tt.want) || err != tt.err {
			t.Errorf("parseSet(%s) = %+v, %v, want %+v, %v", tt.line, got, err, tt.want, tt.err)
		}
	}
}

// Ensure that GETEX takes one way to move the deadline.
func TestParseGetEX(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want getexOptions
		err  error
	}{
		{"", getexOptions{}, nil},
		{"persist", getexOptions{persist: true}, nil},
		{"PERSIST PERSIST", getexOptions{persist: true}, nil},
		{"EX 10", getexOptions{expiry: in("10")}, nil},
		{"pxat 10", getexOptions{expiry: atMS("10")}, nil},
		{"PX 10 PX 20", getexOptions{expiry: inMS("20")}, nil},
		{"PERSIST EX 10", getexOptions{}, errSyntax},
		{"EX 10 PERSIST", getexOptions{}, errSyntax},
		{"EX 10 PX 10", getexOptions{}, errSyntax},
		{"EX", getexOptions{}, errSyntax},
		{"NX", getexOptions{}, errSyntax},
		{"GET", getexOptions{}, errSyntax},
		{"KEEPTTL", getexOptions{}, errSyntax},
	}
	for _, tt := range tests {
		got, err := parseGetEX(fields(tt.line))
		if shown(got) != shown(tt.want) || err != tt.err {
			t.Errorf("parseGetEX(%s) = %+v, %v, want %+v, %v", tt.line, got, err, tt.want, tt.err)
		}
	}
}

// Ensure that EXPIRE refuses conditions that exclude each other.
func TestParseExpire(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want expireOptions
		err  error
	}{
		{"", expireOptions{}, nil},
		{"nx", expireOptions{nx: true}, nil},
		{"XX GT", expireOptions{xx: true, gt: true}, nil},
		{"lt Xx", expireOptions{xx: true, lt: true}, nil},
		{"GT GT", expireOptions{gt: true}, nil},
		{"NX XX", expireOptions{}, errExpireNXWithOthers},
		{"GT NX", expireOptions{}, errExpireNXWithOthers},
		{"NX GT LT", expireOptions{}, errExpireNXWithOthers},
		{"GT LT", expireOptions{}, errExpireGTWithLT},
		{"XX LT GT", expireOptions{}, errExpireGTWithLT},
		{"NX foo XX", expireOptions{}, errUnsupportedOption([]byte("foo"))},
	}
	for _, tt := range tests {
		got, err := parseExpire(fields(tt.line))
		if got != tt.want || err != tt.err {
			t.Errorf("parseExpire(%s) = %+v, %v, want %+v, %v", tt.line, got, err, tt.want, tt.err)
		}
	}
}

// Ensure that for GT and LT a key without a deadline lives forever.
func TestExpireOptions_Allow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line   string
		old    ttl.Instant
		lower  bool // whether 99, 100 and 101 are allowed
		same   bool
		higher bool
	}{
		{"", 100, true, true, true},
		{"", ttl.Never, true, true, true},
		{"NX", 100, false, false, false},
		{"NX", ttl.Never, true, true, true},
		{"XX", 100, true, true, true},
		{"XX", ttl.Never, false, false, false},
		{"GT", 100, false, false, true},
		{"GT", ttl.Never, false, false, false},
		{"LT", 100, true, false, false},
		{"LT", ttl.Never, true, true, true},
		{"XX LT", ttl.Never, false, false, false},
		{"XX LT", 100, true, false, false},
	}
	for _, tt := range tests {
		o, err := parseExpire(fields(tt.line))
		if err != nil {
			t.Fatal(err)
		}
		for deadline, want := range map[ttl.Instant]bool{99: tt.lower, 100: tt.same, 101: tt.higher} {
			if got := o.allow(tt.old, deadline); got != want {
				t.Errorf("%q allows %d -> %d = %v, want %v", tt.line, tt.old, deadline, got, want)
			}
		}
	}
}

// Ensure that COPY finds its database, and that the last DB counts.
func TestParseCopy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want copyOptions
		err  error
	}{
		{"", copyOptions{db: 3}, nil},
		{"replace REPLACE", copyOptions{db: 3, replace: true}, nil},
		{"DB 5", copyOptions{db: 5}, nil},
		{"db 5 REPLACE", copyOptions{db: 5, replace: true}, nil},
		{"REPLACE DB 0 DB 15", copyOptions{db: 15, replace: true}, nil},
		{"DB", copyOptions{}, errSyntax},
		{"DB 5 foo", copyOptions{}, errSyntax},
		{"DB x foo", copyOptions{}, errNotInteger},
		{"DB 16", copyOptions{}, errDBRange},
		{"DB -1", copyOptions{}, errDBRange},
		{"DB 99999999999", copyOptions{}, errIntRange},
	}
	for _, tt := range tests {
		got, err := parseCopy(fields(tt.line), 3, 16)
		if got != tt.want || err != tt.err {
			t.Errorf("parseCopy(%s) = %+v, %v, want %+v, %v", tt.line, got, err, tt.want, tt.err)
		}
	}
}

// Ensure that SCAN finds the first mistake first, and bounds its pages.
func TestParseScan(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want scanOptions
		err  error
	}{
		{"0", scanOptions{count: 10}, nil},
		{"17 COUNT 5", scanOptions{cursor: 17, count: 5}, nil},
		{"0 count 9223372036854775807", scanOptions{count: maxScanCount}, nil},
		{"0 TYPE string", scanOptions{count: 10, kind: []byte("string")}, nil},
		{"0 TYPE nonsense", scanOptions{count: 10, kind: []byte("nonsense")}, nil},
		{"0 MATCH *", scanOptions{count: 10}, nil},
		{"0 MATCH a MATCH * COUNT 1 COUNT 2", scanOptions{count: 2}, nil},
		{"x COUNT x", scanOptions{}, errInvalidCursor},
		{"0 COUNT 0", scanOptions{}, errSyntax},
		{"0 COUNT -1", scanOptions{}, errSyntax},
		{"0 COUNT x", scanOptions{}, errNotInteger},
		{"0 COUNT x foo", scanOptions{}, errNotInteger},
		{"0 COUNT", scanOptions{}, errSyntax},
		{"0 MATCH", scanOptions{}, errSyntax},
		{"0 foo bar", scanOptions{}, errSyntax},
		{"0 MATCH " + strings.Repeat("a", glob.MaxPattern+1), scanOptions{}, errPatternTooLong},
	}
	for _, tt := range tests {
		got, err := parseScan(fields(tt.line))
		if shown(got) != shown(tt.want) || err != tt.err {
			t.Errorf("parseScan(%.60s) = %+v, %v, want %+v, %v", tt.line, got, err, tt.want, tt.err)
		}
	}
	o, err := parseScan(fields("0 MATCH a*"))
	if err != nil || !o.pattern.Match([]byte("ab")) || o.pattern.Match([]byte("b")) {
		t.Errorf("parseScan(0 MATCH a*) = %+v, %v", o, err)
	}
}

// Ensure that a cursor is read as C's strtoul reads it.
func TestParseCursor(t *testing.T) {
	t.Parallel()
	valid := map[string]uint64{
		"": 0, "0": 0, "007": 7, "+5": 5, "-1": 1<<64 - 1, "-18446744073709551615": 1, "18446744073709551615": 1<<64 - 1,
	}
	for text, want := range valid {
		if got, err := parseCursor([]byte(text)); got != want || err != nil {
			t.Errorf("parseCursor(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"-", "+", " 0", "0 ", "x", "1.5", "0x1", "--1", "+-1", "1_0", "18446744073709551616", "-18446744073709551616"} {
		if got, err := parseCursor([]byte(text)); err != errInvalidCursor {
			t.Errorf("parseCursor(%q) = %d, %v, want %v", text, got, err, errInvalidCursor)
		}
	}
}

// Ensure that FLUSHALL and MEMORY USAGE refuse what they do not know.
func TestParseFlush_MemoryUsage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line          string
		flush, memory error
	}{
		{"", nil, nil},
		{"ASYNC", nil, errSyntax},
		{"sync", nil, errSyntax},
		{"SYNC ASYNC", errSyntax, errSyntax},
		{"foo", errSyntax, errSyntax},
		{"SAMPLES", errSyntax, errSyntax},
		{"samples 5", errSyntax, nil},
		{"SAMPLES 5 SAMPLES 0", errSyntax, nil},
		{"SAMPLES -1", errSyntax, errSyntax},
		{"SAMPLES x", errSyntax, errNotInteger},
	}
	for _, tt := range tests {
		if err := parseFlush(fields(tt.line)); err != tt.flush {
			t.Errorf("parseFlush(%s) = %v, want %v", tt.line, err, tt.flush)
		}
		if err := parseMemoryUsage(fields(tt.line)); err != tt.memory {
			t.Errorf("parseMemoryUsage(%s) = %v, want %v", tt.line, err, tt.memory)
		}
	}
}

// Ensure that ranges are cut as GETRANGE cuts them.
func TestSliceRange(t *testing.T) {
	t.Parallel()
	const text = "hello"
	tests := []struct {
		start, end int64
		want       string
	}{
		{0, -1, "hello"}, {0, 0, "h"}, {1, 3, "ell"}, {-3, -2, "ll"}, {0, 99, "hello"}, {4, 4, "o"},
		{5, 9, ""}, {3, 1, ""}, {-1, -3, ""}, {-99, -50, "h"}, {-99, 1, "he"}, {2, -99, ""},
		{-1 << 63, 1<<63 - 1, "hello"}, {1<<63 - 1, 1<<63 - 1, ""}, {-1 << 63, -1 << 63, "h"},
	}
	for _, tt := range tests {
		from, to := sliceRange(tt.start, tt.end, int64(len(text)))
		if got := text[from:to]; got != tt.want {
			t.Errorf("%q from %d to %d = %q, want %q", text, tt.start, tt.end, got, tt.want)
		}
	}
}

// FuzzParsers checks that no options make a parser panic, or fail with anything but a
// reply.
func FuzzParsers(f *testing.F) {
	for _, line := range []string{"NX GET EX 10", "0 MATCH a*[ COUNT 10 TYPE string", "XX LT", "DB 3 REPLACE", "SAMPLES 0", "PERSIST"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		args := bytes.Split(line, []byte{' '})
		set, errSet := parseSet(args)
		_, errGetEX := parseGetEX(args)
		_, errExpire := parseExpire(args)
		_, errCopy := parseCopy(args, 0, 16)
		_, errScan := parseScan(args)
		for _, err := range []error{errSet, errGetEX, errExpire, errCopy, errScan, parseFlush(args), parseMemoryUsage(args)} {
			var reply replyError
			if err != nil && !errors.As(err, &reply) {
				t.Errorf("%q: %v is no reply", line, err)
			}
		}
		if errSet == nil && (set.nx && set.xx || set.keepTTL && set.expiry.arg != nil) {
			t.Errorf("parseSet(%q) = %+v", line, set)
		}
	})
}

// FuzzSliceRange checks that every range lies within the value.
func FuzzSliceRange(f *testing.F) {
	f.Add(int64(0), int64(-1), uint16(5))
	f.Add(int64(-1<<63), int64(1<<63-1), uint16(0))
	f.Fuzz(func(t *testing.T, start, end int64, n uint16) {
		if from, to := sliceRange(start, end, int64(n)); from < 0 || to < from || to > int64(n) {
			t.Errorf("range %d %d of %d = %d:%d", start, end, n, from, to)
		}
	})
}
