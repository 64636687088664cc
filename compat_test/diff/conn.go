package diff

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// patience is how long a server may take for one packet, on a busy machine too.
const patience = 20 * time.Second

// What stands for a reply when there is none.
const (
	closed  = "(connection closed)"
	silence = "(no reply)"
)

// client is a connection to one server.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// ask sends all lines as one packet and returns one reply for each. A reply that does not
// come is "(connection closed)" or "(no reply)", and so are those after it.
func (c *client) ask(lines ...[]string) []string {
	var packet strings.Builder
	for _, args := range lines {
		packet.WriteString(frame(args))
	}
	sent := c.send(packet.String())
	replies := make([]string, len(lines))
	var missing string
	for i := range replies {
		if replies[i] = missing; missing == "" {
			replies[i], missing = c.reply()
		}
	}
	<-sent
	return replies
}

// send writes in the background: a server may refuse to read on before its replies are read.
func (c *client) send(packet string) <-chan struct{} {
	_ = c.conn.SetDeadline(time.Now().Add(patience)) // fails only on a closed connection, like the write
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = c.conn.Write([]byte(packet)) // a lost connection shows in the replies
	}()
	return sent
}

// reply returns the next reply, and what stands for all later ones if it did not come.
func (c *client) reply() (reply, missing string) {
	reply, err := proc.ReadReply(c.r)
	switch {
	case err == nil:
		return reply, ""
	case proc.ErrClosed(err):
		missing = closed
	case errors.Is(err, os.ErrDeadlineExceeded):
		missing = silence
	default:
		missing = fmt.Sprintf("(%v)", err)
	}
	return reply + missing, missing
}

// rest returns everything up to the end of the connection.
func (c *client) rest() string {
	var b strings.Builder
	for {
		reply, missing := c.reply()
		b.WriteString(reply)
		if missing != "" {
			return b.String()
		}
	}
}

// upTo returns everything before the error that names last, or up to the end of the
// connection.
func (c *client) upTo(last string) string {
	var b strings.Builder
	for {
		reply, missing := c.reply()
		if strings.HasPrefix(reply, "-ERR unknown command '"+last+"'") {
			return b.String()
		}
		b.WriteString(reply)
		if missing != "" {
			return b.String()
		}
	}
}

func (c *client) close() { _ = c.conn.Close() } // nothing more is wanted from it

func frame(args []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// session is a connection to each of the two servers.
type session struct {
	oracle, subject *client
	queue           []queuedLine
}

func (p *Pair) dial() (*session, error) {
	oracle, err := dial(p.Oracle)
	if err != nil {
		return nil, fmt.Errorf("oracle: %w", err)
	}
	subject, err := dial(p.Subject)
	if err != nil {
		oracle.close()
		return nil, fmt.Errorf("subject: %w", err)
	}
	return &session{oracle: oracle, subject: subject}, nil
}

func (s *session) close() {
	s.oracle.close()
	s.subject.close()
}

// both runs f for each server at the same time.
func (s *session) both(f func(*client) string) (oracle, subject string) {
	done := make(chan string)
	go func() { done <- f(s.subject) }()
	oracle = f(s.oracle)
	return oracle, <-done
}

// ask sends the lines to both servers at the same time.
func (s *session) ask(lines ...[]string) (oracle, subject []string) {
	done := make(chan []string)
	go func() { done <- s.subject.ask(lines...) }()
	oracle = s.oracle.ask(lines...)
	return oracle, <-done
}
