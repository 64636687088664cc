package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// handshakeTime is how long a connection may take to agree on its encryption, however
// slowly it sends.
const handshakeTime = 10 * time.Second

// levelVerbose is Redis' level between debug and notice.
const levelVerbose = slog.LevelInfo - 1

// secured is a connection that encrypts, such as a *tls.Conn.
type secured interface {
	HandshakeContext(context.Context) error
	// NetConn returns the connection below, whose Close does not wait for the client.
	NetConn() net.Conn
}

// handshake agrees on the encryption of a connection that has one. Until then its client
// has sent no command and is told nothing.
func (c *conn) handshake() error {
	s, ok := c.net.(secured)
	if !ok {
		return nil
	}
	if err := c.net.SetDeadline(ttl.System.Now().Add(handshakeTime).Time()); err != nil {
		return err
	}
	// A stop that came before would be forgotten by the deadline, and so would a cut.
	if c.srv.stopping() || c.isCut.Load() {
		return net.ErrClosed
	}
	if err := s.HandshakeContext(context.Background()); err != nil {
		c.srv.log.Log(context.Background(), levelVerbose, "client closed: no TLS handshake",
			"client", c.id, "addr", c.remoteAddr(), "err", err)
		return err
	}
	return c.net.SetDeadline(time.Time{}) // fill looks for a stop again
}

// setReadDeadline bounds the next read. TLS may answer in the middle of it, when the client
// changes keys; that write has the same deadline, not the one of the last reply.
func (c *conn) setReadDeadline(deadline time.Time) error {
	if _, ok := c.net.(secured); ok {
		c.outbox.turn.Lock() // a push must not lose its deadline
		defer c.outbox.turn.Unlock()
		c.outbox.writeBy = time.Time{}
		return c.net.SetDeadline(deadline)
	}
	if deadline == c.readBy {
		return nil
	}
	c.readBy = deadline
	return c.net.SetReadDeadline(deadline)
}

var errEncrypted = errors.New("TLS on a port that is not encrypted")

// refuseTLS ends a connection whose client begins a TLS handshake where nobody answers it:
// taken for an inline command it would wait for the end of its line.
func (c *conn) refuseTLS() error {
	const handshakeRecord, version = 0x16, 0x03
	b := c.in.Buffered()
	if len(b) < 2 || b[0] != handshakeRecord || b[1] != version {
		return nil
	}
	c.srv.log.Log(context.Background(), levelVerbose, "client closed: it speaks TLS, and this port does not",
		"client", c.id, "addr", c.remoteAddr())
	return errEncrypted
}
