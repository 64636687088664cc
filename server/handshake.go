package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// handshakeTime is how long a connection may take for the TLS handshake.
const handshakeTime = 10 * time.Second

// levelVerbose is Redis' level between debug and notice.
const levelVerbose = slog.LevelInfo - 1

// secured is a connection that encrypts, such as a *tls.Conn.
type secured interface {
	HandshakeContext(context.Context) error
	// NetConn returns the connection below, whose Close does not wait for the client.
	NetConn() net.Conn
}

// handshake does the TLS handshake of an encrypted connection. Before it, the client can neither send
// a command nor get a reply.
func (c *conn) handshake() error {
	s, ok := c.net.(secured)
	if !ok {
		return nil
	}
	if err := c.net.SetDeadline(ttl.System.Now().Add(handshakeTime).Time()); err != nil {
		return err
	}
	// A stop or a cut before SetDeadline would be lost, because it has set a deadline, too.
	if c.srv.stopping() || c.isCut.Load() {
		return net.ErrClosed
	}
	if err := s.HandshakeContext(context.Background()); err != nil {
		c.srv.log.Log(context.Background(), levelVerbose, "client closed: no TLS handshake",
			"client", c.id, "addr", c.remoteAddr(), "err", err)
		return err
	}
	return c.net.SetDeadline(time.Time{}) // fill checks for a stop again
}

// setReadDeadline sets the deadline of the next read. When the client changes keys, TLS writes in the
// middle of a read; that write gets the same deadline, not the one of the last reply.
func (c *conn) setReadDeadline(deadline time.Time) error {
	if _, ok := c.net.(secured); ok {
		c.outbox.turn.Lock() // a push that is being sent keeps its deadline
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

// refuseTLS ends a connection whose client begins a TLS handshake on a port without TLS. Without this
// the server would read the handshake as an inline command and wait for the end of the line.
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
