package proc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Conn is a raw connection for tests that care about bytes. Its methods fail the test
// when the server does not answer in time.
type Conn struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// Dial opens a connection, closed at the end of the test at the latest.
func Dial(t testing.TB, network, addr string) *Conn {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(2 * Patience)); err != nil {
		t.Fatal(err)
	}
	c := &Conn{t: t, conn: conn, r: bufio.NewReader(conn)}
	t.Cleanup(c.Close)
	return c
}

// Send writes bytes as they are.
func (c *Conn) Send(raw string) {
	c.t.Helper()
	if err := c.TrySend(raw); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// TrySend writes bytes as they are, to a server that may close while they are written.
func (c *Conn) TrySend(raw string) error {
	_, err := io.WriteString(c.conn, raw)
	return err
}

// Reply reads one complete reply and returns its bytes unchanged.
func (c *Conn) Reply() string {
	c.t.Helper()
	reply, err := c.TryReply()
	if err != nil {
		c.t.Fatalf("reply %q: %v", reply, err)
	}
	return reply
}

// TryReply is Reply for a server that may close instead.
func (c *Conn) TryReply() (string, error) { return ReadReply(c.r) }

// Do sends one command and returns the raw reply.
func (c *Conn) Do(args ...string) string {
	c.t.Helper()
	c.Send(Command(args...))
	return c.Reply()
}

// Rest returns what the server sends until it closes the connection.
func (c *Conn) Rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil && !ErrClosed(err) {
		c.t.Fatalf("the server did not close: %v; it sent %q", err, b)
	}
	return string(b)
}

// CloseWrite tells the server that nothing more will be sent.
func (c *Conn) CloseWrite() {
	c.t.Helper()
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		c.t.Fatalf("%T cannot close one direction", c.conn)
	}
	if err := half.CloseWrite(); err != nil {
		c.t.Fatalf("close the sending side: %v", err)
	}
}

// Close closes the connection. It is harmless when repeated.
func (c *Conn) Close() { _ = c.conn.Close() }

// Command returns a command as a RESP array of bulk strings.
func Command(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// Bulk returns a string as a RESP bulk string.
func Bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// ReadReply reads one complete RESP2 or RESP3 reply and returns its bytes unchanged.
func ReadReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return line, err
	}
	switch line[0] {
	case '$', '=', '!':
		return readBulk(r, line)
	case '*', '~', '>', '%', '|':
		return readAggregate(r, line)
	case '+', '-', ':', '_', ',', '#', '(':
		return line, nil
	}
	return line, fmt.Errorf("not a RESP reply: %q", line)
}

func readBulk(r *bufio.Reader, head string) (string, error) {
	var n int
	if _, err := fmt.Sscanf(head[1:], "%d", &n); err != nil || n < 0 {
		return head, err
	}
	body := make([]byte, n+2)
	read, err := io.ReadFull(r, body)
	return head + string(body[:read]), err
}

func readAggregate(r *bufio.Reader, head string) (string, error) {
	var n int
	if _, err := fmt.Sscanf(head[1:], "%d", &n); err != nil || n < 0 {
		return head, err
	}
	if head[0] == '%' || head[0] == '|' {
		n *= 2
	}
	if head[0] == '|' {
		n++ // an attribute stands before the reply it belongs to
	}
	var b strings.Builder
	b.WriteString(head)
	for range n {
		part, err := ReadReply(r)
		b.WriteString(part)
		if err != nil {
			return b.String(), err
		}
	}
	return b.String(), nil
}

// ErrClosed reports whether err says that the server closed the connection.
func ErrClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
