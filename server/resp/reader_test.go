package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/redcon"
)

// pieces is a client whose bytes arrive piece by piece.
type pieces struct{ rest [][]byte }

func (p *pieces) Read(b []byte) (int, error) {
	for len(p.rest) > 0 && len(p.rest[0]) == 0 {
		p.rest = p.rest[1:]
	}
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[0])
	p.rest[0] = p.rest[0][n:]
	return n, nil
}

// testLimits are the limits of a server that sets none.
var testLimits = Limits{Bulk: 64 << 20, Query: 256 << 20}

func newReader(src io.Reader) Reader { return NewReader(src, testLimits) }

// encode returns a command as clients send it.
func encode(words []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	return b.String()
}

// cut is what a Reader made of a stream: commands, and the violation that ended it.
type cut struct {
	commands [][]string
	err      error
}

func (c cut) String() string { return fmt.Sprintf("%q, %v", c.commands, c.err) }

// cutAll reads a stream that arrives in these pieces.
func cutAll(loggedIn bool, stream ...[]byte) (c cut) {
	f := newReader(&pieces{stream})
	f.loggedIn = loggedIn
	for {
		args, err := f.Next()
		switch {
		case err == nil:
			var words []string
			for _, arg := range args {
				words = append(words, string(arg))
			}
			c.commands = append(c.commands, words)
		case errors.Is(err, ErrIncomplete):
			err = f.Fill()
		}
		if errors.Is(err, io.EOF) {
			return c
		}
		if c.err = err; err != nil {
			return c
		}
	}
}

// bytewise splits a stream into single bytes.
func bytewise(stream string) (split [][]byte) {
	for i := range len(stream) {
		split = append(split, []byte{stream[i]})
	}
	return split
}

// Ensure that streams are cut into commands as Redis cuts them, however they arrive.
func TestReader(t *testing.T) {
	t.Parallel()
	ping := []string{"ping"}
	tests := []struct {
		stream   string
		commands [][]string
		err      string
	}{
		{"", nil, ""},
		{"*1\r\n$4\r\nping\r\n", [][]string{ping}, ""},
		{"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nping\r\n", [][]string{{"GET", "k"}, ping}, ""},
		{"*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n", [][]string{{"", "\r\n"}}, ""},
		{"*2\r\n$3\r\nGET\r\n$1\r\nk\r", nil, ""},
		{"*2\r\n$3\r\nGET\r\n", nil, ""},
		{"*1\rX$4\rXpingXX", [][]string{ping}, ""}, // line ends are not looked at
		{"ping\r\nping\n", [][]string{ping, ping}, ""},
		{"\r\n\n \n\r\nping\n", [][]string{ping}, ""},
		{"*0\r\n*-1\r\n*-5\r\nping\n", [][]string{ping}, ""},
		{"get \"a b\" 'c'\n*1\r\n$4\r\nping\r\n", [][]string{{"get", "a b", "c"}, ping}, ""},
		{"\"\"\nping\n", [][]string{{""}, ping}, ""},
		{"$4\r\nping\r\n", [][]string{{"$4"}, ping}, ""},

		{"*abc\r\n", nil, "invalid multibulk length"},
		{"*\r\n", nil, "invalid multibulk length"},
		{"*+1\r\n", nil, "invalid multibulk length"},
		{"*01\r\n", nil, "invalid multibulk length"},
		{"*9223372036854775807\r\n", nil, "invalid multibulk length"},
		{"*9223372036854775808\r\n", nil, "invalid multibulk length"},
		{"*1\r\n$-1\r\n", nil, "invalid bulk length"},
		{"*1\r\n$\r\n", nil, "invalid bulk length"},
		{"*1\r\n$04\r\n", nil, "invalid bulk length"},
		{"*1\r\n$9223372036854775807\r\n\r\n", nil, "invalid bulk length"},
		{fmt.Sprintf("*1\r\n$%d\r\n", testLimits.Bulk+1), nil, "invalid bulk length"},
		{"*1\r\nping\r\n", nil, "expected '$', got 'p'"},
		{"*1\r\n\r\n", nil, "expected '$', got '\r'"},
		{"*2\r\n$4\r\nping\r\n+x\r\n", nil, "expected '$', got '+'"},
		{"ping\n'ping\nping\n", [][]string{ping}, "unbalanced quotes in request"},
		{"*" + strings.Repeat("1", maxInline), nil, "too big mbulk count string"},
		{"*1\r\n$" + strings.Repeat("1", maxInline), nil, "too big bulk count string"},
		{strings.Repeat("a", maxInline+1), nil, "too big inline request"},
	}
	for _, tt := range tests {
		want := cut{commands: tt.commands}
		if tt.err != "" {
			want.err = ProtocolError(tt.err)
		}
		if got := cutAll(true, []byte(tt.stream)); got.String() != want.String() {
			t.Errorf("%.60q = %v, want %v", tt.stream, got, want)
		}
		if got := cutAll(true, bytewise(tt.stream)...); got.String() != want.String() {
			t.Errorf("%.60q byte by byte = %v, want %v", tt.stream, got, want)
		}
	}
}

// Ensure that lower limits apply before the login.
func TestReader_BeforeLogin(t *testing.T) {
	t.Parallel()
	tests := []struct {
		stream string
		err    string
	}{
		{"*11\r\n", "unauthenticated multibulk length"},
		{"*1\r\n$16385\r\n", "unauthenticated bulk length"},
		{"*10\r\n$16384\r\n", ""},
	}
	for _, tt := range tests {
		if got := cutAll(true, []byte(tt.stream)); got.err != nil {
			t.Errorf("%q = %v after login, want no error", tt.stream, got)
		}
		got := cutAll(false, []byte(tt.stream))
		if tt.err == "" && got.err != nil || tt.err != "" && !errors.Is(got.err, ProtocolError(tt.err)) {
			t.Errorf("%q = %v before login, want %q", tt.stream, got, tt.err)
		}
	}
}

// Ensure that memory follows what has arrived and not what was announced, and goes back
// once a large command is over.
func TestReader_Memory(t *testing.T) {
	t.Parallel()
	f := newReader(&pieces{[][]byte{fmt.Appendf(nil, "*%d\r\n$%d\r\n0123456789", maxArgs, testLimits.Bulk)}})
	f.loggedIn = true
	for f.Fill() == nil {
		if _, err := f.Next(); !errors.Is(err, ErrIncomplete) {
			t.Fatalf("next = %v, want %v", err, ErrIncomplete)
		}
	}
	if len(f.buf) > smallBuffer || cap(f.spans) > keepArgs || cap(f.args) > keepArgs {
		t.Errorf("an announcement took %d bytes, %d spans, %d arguments", len(f.buf), cap(f.spans), cap(f.args))
	}

	large := encode([]string{"set", "k", strings.Repeat("v", 8<<20)})
	f = newReader(&pieces{[][]byte{[]byte(large), []byte("ping\n")}})
	f.loggedIn = true
	for commands := 0; commands < 2; {
		if _, err := f.Next(); err == nil {
			commands++
		} else if err := f.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	_ = f.Fill() // the end of the stream; room is made before it is noticed
	if len(f.buf) > pipelineBuffer {
		t.Errorf("after a large command %d bytes are kept", len(f.buf))
	}
}

// FuzzReader checks that the same commands come out however the bytes are split.
func FuzzReader(f *testing.F) {
	for _, stream := range []string{
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nping\r\n*0\r\n", "*1\r\n$-1\r\n", "get \"a\\x41\" 'b'\n\n*1\r\n$1\r\na\r\n",
		"*11\r\n$1\r\n", "*1\rX$4\rXpingXX*", "*3\r\n$0\r\n\r\n$1\r\n\n\r\n$2\r\n*1\r\n",
	} {
		f.Add([]byte(stream), uint64(1), true)
		f.Add([]byte(stream), uint64(2), false)
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, loggedIn bool) {
		whole := cutAll(loggedIn, bytes.Clone(stream))
		random := rand.New(rand.NewPCG(seed, 0))
		var split [][]byte
		for rest := bytes.Clone(stream); len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 16))
			split, rest = append(split, rest[:n]), rest[n:]
		}
		if got := cutAll(loggedIn, split...); got.String() != whole.String() {
			t.Errorf("%q split by %d = %v, want %v", stream, seed, got, whole)
		}
	})
}

// Ensure that the slots for many arguments are made at once: they are let go of after each
// large command.
func TestReader_ManyArguments(t *testing.T) {
	line := strings.Fields("MGET" + strings.Repeat(" k", 200_000))
	f := newReader(nil)
	f.loggedIn = true
	f.buf = []byte(encode(line))
	f.end = len(f.buf)
	f.spans = make([]span, 0, len(line))
	allocations := testing.AllocsPerRun(1, func() {
		f.start, f.args = 0, nil
		if args, err := f.Next(); err != nil || len(args) != len(line) {
			t.Fatalf("Next = %d arguments, %v, want %d", len(args), err, len(line))
		}
	})
	if allocations > 5 { // the race detector makes a few of its own
		t.Errorf("200,000 arguments took %v allocations, want one for the arguments, and few others", allocations)
	}
}

// FuzzReader_Redcon compares with redcon's parser, which knows well-formed commands.
func FuzzReader_Redcon(f *testing.F) {
	f.Add("get\nk", "set\nk\nv\r", uint8(3))
	f.Add("", "\n", uint8(0))
	f.Fuzz(func(t *testing.T, first, second string, size uint8) {
		var stream []byte
		var want [][]string
		for _, text := range []string{first, second} {
			words := strings.Split(text, "\n")
			stream = append(stream, encode(words)...)
			want = append(want, words)
		}
		var split [][]byte
		for part := range slices.Chunk(bytes.Clone(stream), int(size)+1) {
			split = append(split, part)
		}
		if got := cutAll(true, split...); got.err != nil || fmt.Sprintf("%q", got.commands) != fmt.Sprintf("%q", want) {
			t.Errorf("%q = %v, want %q", stream, got, want)
		}
		for _, words := range want {
			complete, args, kind, rest, err := redcon.ReadNextCommand(stream, nil)
			if !complete || kind != redcon.Redis || err != nil || fmt.Sprintf("%q", args) != fmt.Sprintf("%q", words) {
				t.Errorf("redcon reads %q, %v, %v of %q, want %q", args, complete, err, stream, words)
			}
			stream = rest
		}
	})
}
