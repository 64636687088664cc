package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Requests for sessions, with all that does not change already encoded. Every key has
// keyLength bytes.
const (
	getHead    = "*2\r\n$3\r\nGET\r\n$37\r\n"
	expireHead = "*3\r\n$6\r\nEXPIRE\r\n$37\r\n"
	setHead    = "*5\r\n$3\r\nSET\r\n$37\r\n"
	dayTail    = "\r\n$5\r\n86400\r\n" // a day, the usual life of a session
)

func appendGet(dst []byte, p population, i int) []byte {
	return append(p.appendKey(append(dst, getHead...), i), "\r\n"...)
}

func appendExpire(dst []byte, p population, i int) []byte {
	return append(p.appendKey(append(dst, expireHead...), i), dayTail...)
}

func appendSet(dst []byte, p population, i int) []byte {
	return append(append(appendSetValue(dst, p, i), "\r\n$2\r\nEX"...), dayTail...)
}

// appendSetUntil is appendSet with a deadline instead of a time to live.
func appendSetUntil(dst []byte, p population, i int, deadline time.Time) []byte {
	ms := strconv.FormatInt(deadline.UnixMilli(), 10)
	return fmt.Appendf(appendSetValue(dst, p, i), "\r\n$4\r\nPXAT\r\n$%d\r\n%s\r\n", len(ms), ms)
}

func appendSetValue(dst []byte, p population, i int) []byte {
	dst = append(p.appendKey(append(dst, setHead...), i), "\r\n$"...)
	value := p.value(i)
	dst = strconv.AppendInt(dst, int64(len(value)), 10)
	return append(append(dst, "\r\n"...), value...)
}

// reply is what a request is answered with: the first byte of it, and the length of a
// bulk string or the value of an integer.
type reply struct {
	kind byte
	n    int
}

// What sessions that exist answer.
var (
	replyOK  = reply{kind: '+'}
	replyOne = reply{kind: ':', n: 1}
)

// conn is a connection of a client.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(addr string) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReaderSize(c, 64<<10)}, nil
}

// errReply is an error that the server answered.
type errReply string

func (e errReply) Error() string { return "the server answers: " + string(e) }

// head reads the first line of a reply. An error reply is an errReply.
func head(in *bufio.Reader) (reply, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return reply{}, err
	}
	line = bytes.TrimSuffix(line, []byte("\r\n"))
	if len(line) == 0 {
		return reply{}, fmt.Errorf("an empty line is no reply")
	}
	switch line[0] {
	case '+':
		return replyOK, nil
	case '-':
		return reply{}, errReply(line[1:])
	case ':', '$':
		n, ok := parseInt(line[1:])
		if !ok {
			return reply{}, fmt.Errorf("reply %q: no number", line)
		}
		return reply{line[0], n}, nil
	}
	return reply{}, fmt.Errorf("reply %q: of no kind that was asked for", line)
}

// parseInt is strconv.Atoi without a string.
func parseInt(b []byte) (n int, ok bool) {
	digits := bytes.TrimPrefix(b, []byte("-"))
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if len(digits) < len(b) {
		n = -n
	}
	return n, len(digits) > 0 && len(digits) < 19
}

// expect reads a reply, throws its content away, and returns an error if it is another
// than want.
func expect(in *bufio.Reader, want reply) error {
	got, err := head(in)
	if err != nil {
		return err
	}
	if got.kind == '$' && got.n >= 0 {
		if _, err := in.Discard(got.n + len("\r\n")); err != nil {
			return err
		}
	}
	if got != want {
		return fmt.Errorf("reply %c%d, want %c%d", got.kind, got.n, want.kind, want.n)
	}
	return nil
}

// ask sends a command, for what is not measured, and returns the reply as text.
func (c *conn) ask(words ...string) (string, error) {
	if _, err := io.WriteString(c, strings.Join(words, " ")+"\r\n"); err != nil {
		return "", err
	}
	r, err := head(c.in)
	switch {
	case err != nil:
		return "", err
	case r.kind != '$':
		return strconv.Itoa(r.n), nil
	case r.n < 0:
		return "", nil
	}
	body := make([]byte, r.n+len("\r\n"))
	if _, err := io.ReadFull(c.in, body); err != nil {
		return "", err
	}
	return string(body[:r.n]), nil
}
