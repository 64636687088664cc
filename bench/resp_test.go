package main

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// Ensure that a reply is read to its end and no further, and that another than the expected
// one is an error.
func TestExpect(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want reply
		err  string // part of it; empty means none
		rest string
	}{
		{"+OK\r\n:1\r\n", replyOK, "", ":1\r\n"},
		{":1\r\nx", replyOne, "", "x"},
		{":0\r\n", replyOne, "reply :0, want :1", ""},
		{":-12\r\n", reply{':', -12}, "", ""},
		{"$5\r\na\r\nbc\r\n+", reply{'$', 5}, "", "+"},
		{"$0\r\n\r\n+", reply{'$', 0}, "", "+"},
		{"$-1\r\n+", reply{'$', 512}, "reply $-1, want $512", "+"},
		{"$5\r\nabcde\r\n+", reply{'$', 4}, "reply $5, want $4", "+"},
		{"$5\r\nab", reply{'$', 5}, "EOF", ""},
		{"-ERR no\r\n", replyOK, "the server answers: ERR no", ""},
		{"$x\r\n", reply{'$', 5}, "no number", ""},
		{"$\r\n", reply{'$', 0}, "no number", ""},
		{"*1\r\n", replyOK, "of no kind", ""},
		{"\r\n", replyOK, "empty line", ""},
	}
	for _, tt := range tests {
		in := bufio.NewReader(strings.NewReader(tt.in))
		err := expect(in, tt.want)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: error %v, want %q", tt.in, err, tt.err)
		}
		if rest, _ := in.Peek(in.Buffered()); string(rest) != tt.rest {
			t.Errorf("%q: %q is left, want %q", tt.in, rest, tt.rest)
		}
	}
	var answer errReply
	if err := expect(bufio.NewReader(strings.NewReader("-LOADING\r\n")), replyOK); !errors.As(err, &answer) || answer != "LOADING" {
		t.Errorf("error reply is %v, want an errReply", err)
	}
}

// Ensure that requests are well-formed, and that a session has the same key and value each
// time.
func TestAppend(t *testing.T) {
	t.Parallel()
	p := population{first: 1 << 40, count: 10, sizes: sizes{3}, bytes: newCorpus(0.5)}
	key, value := string(p.appendKey(nil, 7)), string(p.value(7))
	if len(key) != keyLength || len(value) != 3 {
		t.Fatalf("session 7 is %q = %q", key, value)
	}
	tests := []struct {
		got  []byte
		want []string
	}{
		{appendGet(nil, p, 7), []string{"GET", key}},
		{appendExpire(nil, p, 7), []string{"EXPIRE", key, "86400"}},
		{appendSet(nil, p, 7), []string{"SET", key, value, "EX", "86400"}},
		{appendSetUntil(nil, p, 7, time.UnixMilli(1234567890123)), []string{"SET", key, value, "PXAT", "1234567890123"}},
	}
	for _, tt := range tests {
		if want := encode(tt.want); !bytes.Equal(tt.got, want) {
			t.Errorf("request %q, want %q", tt.got, want)
		}
	}
}

// encode is the plain way to encode a command.
func encode(words []string) []byte {
	b := []byte{'*', byte('0' + len(words)), '\r', '\n'}
	for _, word := range words {
		b = append(appendLength(append(b, '$'), len(word)), "\r\n"+word+"\r\n"...)
	}
	return b
}

func appendLength(b []byte, n int) []byte {
	if n >= 10 {
		b = appendLength(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// Ensure that each session has a key of its own, that mixed sizes are mixed as the comment
// says, and that values are as random as asked for.
func TestPopulation(t *testing.T) {
	t.Parallel()
	p := population{count: 10_000, sizes: mixedSizes, bytes: newCorpus(0)}
	var all []int
	keys := map[string]bool{}
	for i := range p.count {
		all = append(all, p.size(i))
		keys[string(p.appendKey(nil, i))] = true
		if len(p.value(i)) != p.size(i) {
			t.Fatalf("session %d has %d bytes, want %d", i, len(p.value(i)), p.size(i))
		}
	}
	if m := median(all); m < 450 || m > 600 {
		t.Errorf("median of the sizes is %d, want about 512", m)
	}
	if len(keys) != p.count {
		t.Errorf("%d sessions have %d keys", p.count, len(keys))
	}
	if text := p.bytes.data[:corpusStep]; !bytes.Equal(text, p.bytes.data[corpusStep:2*corpusStep]) {
		t.Error("a corpus without random bytes does not repeat")
	}
	if random := newCorpus(1).data; bytes.Contains(random, []byte("cookie")) {
		t.Error("a corpus of random bytes holds text")
	}
}
