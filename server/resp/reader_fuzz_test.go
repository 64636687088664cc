package resp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// plainReader reads a stream that has arrived as a whole. It is written from the protocol,
// one argument after the other, and shares no code with Reader.
type plainReader struct {
	rest     string
	loggedIn bool
}

// command returns the next command. done says that the stream ends before it does.
func (r *plainReader) command() (words []string, violation string, done bool) {
	if r.rest == "" {
		return nil, "", true
	}
	if r.rest[0] != '*' {
		return r.inline()
	}
	n, violation, done := r.number("mbulk", "multibulk")
	switch {
	case violation != "" || done:
		return nil, violation, done
	case n > 1024*1024:
		return nil, "invalid multibulk length", false
	case n > 10 && !r.loggedIn:
		return nil, "unauthenticated multibulk length", false
	}
	for ; n > 0; n-- {
		if r.rest != "" && r.rest[0] != '$' && strings.Contains(r.rest, "\r") {
			return nil, "expected '$', got '" + r.rest[:1] + "'", false
		}
		size, violation, done := r.number("bulk", "bulk")
		switch {
		case violation != "" || done:
			return nil, violation, done
		case size < 0 || size > 64*1024*1024:
			return nil, "invalid bulk length", false
		case size > 16*1024 && !r.loggedIn:
			return nil, "unauthenticated bulk length", false
		case len(r.rest) < size+2:
			return nil, "", true
		}
		words = append(words, r.rest[:size])
		r.rest = r.rest[size+2:]
	}
	return words, "", false
}

// number reads a line with a sign in front and two bytes behind.
func (r *plainReader) number(long, wrong string) (n int, violation string, done bool) {
	line, rest, found := strings.Cut(r.rest, "\r")
	switch {
	case len(line) >= 64*1024:
		return 0, "too big " + long + " count string", false
	case !found || rest == "":
		return 0, "", true
	}
	r.rest = rest[1:]
	n, err := strconv.Atoi(line[1:])
	if err != nil || strconv.Itoa(n) != line[1:] {
		return 0, "invalid " + wrong + " length", false
	}
	return n, "", false
}

func (r *plainReader) inline() (words []string, violation string, done bool) {
	line, rest, found := strings.Cut(r.rest, "\n")
	switch {
	case len(line) > 64*1024:
		return nil, "too big inline request", false
	case !found:
		return nil, "", true
	}
	r.rest = rest
	line, _, _ = strings.Cut(strings.TrimSuffix(line, "\r"), "\x00")
	words, ok := plainSplit(line)
	if !ok {
		return nil, "unbalanced quotes in request", false
	}
	return words, "", false
}

// plainSplit splits a line into words, which may be quoted from their middle on.
func plainSplit(line string) (words []string, ok bool) {
	for {
		if line = strings.TrimLeft(line, " \t\n\v\f\r"); line == "" {
			return words, true
		}
		var word strings.Builder
		for line != "" && !strings.ContainsRune(" \t\n\r", rune(line[0])) {
			c := line[0]
			line = line[1:]
			if c != '"' && c != '\'' {
				word.WriteByte(c)
				continue
			}
			text, behind, closed := plainUnquote(line, c)
			if !closed || behind != "" && !strings.ContainsRune(" \t\n\v\f\r", rune(behind[0])) {
				return nil, false
			}
			word.WriteString(text)
			line = behind
			break
		}
		words = append(words, word.String())
	}
}

// plainUnquote reads up to the closing quote.
func plainUnquote(line string, quote byte) (text, behind string, closed bool) {
	short := map[byte]string{'n': "\n", 'r': "\r", 't': "\t", 'b': "\b", 'a': "\a"}
	for {
		switch {
		case line == "":
			return "", "", false
		case line[0] == quote:
			return text, line[1:], true
		case quote == '\'' && strings.HasPrefix(line, `\'`):
			text, line = text+"'", line[2:]
		case quote == '"' && line[0] == '\\' && len(line) >= 4 && line[1] == 'x' && plainHex(line[2:4]) >= 0:
			text, line = text+string([]byte{byte(plainHex(line[2:4]))}), line[4:]
		case quote == '"' && line[0] == '\\' && len(line) > 1:
			c, known := short[line[1]]
			if !known {
				c = line[1:2]
			}
			text, line = text+c, line[2:]
		default:
			text, line = text+line[:1], line[1:]
		}
	}
}

// plainHex returns the value of two hexadecimal digits, or -1.
func plainHex(digits string) int {
	n, err := strconv.ParseUint(digits, 16, 8)
	if err != nil || strings.ContainsAny(digits, "+-_") {
		return -1
	}
	return int(n)
}

// cutPlainly is cutAll by the plain reader.
func cutPlainly(loggedIn bool, stream string) (c cut) {
	r := plainReader{stream, loggedIn}
	for {
		words, violation, done := r.command()
		if violation != "" {
			c.err = ProtocolError(violation)
		}
		if done || violation != "" {
			return c
		}
		if len(words) > 0 {
			c.commands = append(c.commands, words)
		}
	}
}

// FuzzReader_Plain checks that, however the bytes are split, the commands and the violation
// are those a reader finds that sees all of them at once and shares no code with Reader.
func FuzzReader_Plain(f *testing.F) {
	for _, stream := range []string{
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nping\r\n*0\r\n*-1\r\n", "*1\r\n$9223372036854775807\r\n\r\n", "*1\r\n$-1\r\n",
		"get \"a\\x41\\n\" 'b\\''\n\n*1\r\n$1\r\na\r\n", "*11\r\n$1\r\n", "*1\rX$4\rXpingXX*", "*3\r\n$0\r\n\r\n$1\r\n\n\r\n$2\r\n*1\r\n",
		"*1\r\n+OK\r\n", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "a\"b c\"d\n", "\x16\x03\x01\x02\x00\x01", "*2\r\n$16384\r\n", "~1\r\n%1\r\n",
		"set k \"\\xg1\\\n", "*1000000000000000000000\r\n",
	} {
		f.Add([]byte(stream), uint64(1), true)
		f.Add([]byte(stream), uint64(2), false)
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, loggedIn bool) {
		want := cutPlainly(loggedIn, string(stream))
		random := rand.New(rand.NewPCG(seed, 0))
		most := 1 + random.IntN(64)
		var split [][]byte
		for rest := bytes.Clone(stream); len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), most))
			split, rest = append(split, rest[:n]), rest[n:]
		}
		if got := cutAll(loggedIn, split...); got.String() != want.String() {
			t.Errorf("%q split by %d = %v, want %v", stream, seed, got, want)
		}
	})
}

// FuzzSplitInline_Plain compares the words of a line with those plainSplit finds.
func FuzzSplitInline_Plain(f *testing.F) {
	for _, line := range []string{`set "a\x41\n" 'b\''`, `a"b"`, `"a"b`, "a\v\"b\"\fc", `"\x4"`, `'\n'`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		line, _, _ = strings.Cut(line, "\x00")
		want, wantOK := plainSplit(line)
		got, ok := splitLine(line)
		if ok != wantOK || ok && fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("split %q = %q, %v, want %q, %v", line, got, ok, want, wantOK)
		}
	})
}
