package server

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// How a connection ends when the server stops. Commands that have arrived by then are answered. The
// server does not wait for a client that does not read its replies.
const (
	// lastSendTime is how long a client may go without accepting a byte of its last replies, which are
	// sent in pieces of lastSendSize.
	lastSendTime = 2 * time.Second
	lastSendSize = 64 << 10
	// lastReadSize is how many bytes are still read from one client, because some never stop
	// sending.
	lastReadSize = 8 << 20
	// lastReadWait is how long commands may still begin to arrive. It is also the longest pause in
	// the middle of a command, which can be larger than the buffers of the sockets.
	lastReadWait = 50 * time.Millisecond
)

// interrupt tells the connection, from any goroutine, that the server stops. It shortens the
// deadlines of a read and a write that are under way.
func (c *conn) interrupt() {
	now := ttl.System.Now()
	_ = c.net.SetReadDeadline(now.Add(c.srv.lastReadWait).Time()) // it may be closed already
	_ = c.net.SetWriteDeadline(now.Add(lastSendTime).Time())
}

// beginLastRead sets the deadline of a read while the server stops. It returns net.ErrClosed if
// nothing more is to be read.
func (c *conn) beginLastRead() error {
	if c.readLast += c.in.LastRead(); c.readLast > lastReadSize {
		return net.ErrClosed
	}
	by := ttl.System.Now().Add(c.srv.lastReadWait).Time()
	if c.readLastBy.IsZero() {
		c.readLastBy = by
	}
	if !c.in.GoesOn() && !c.transaction.open {
		by = c.readLastBy
	}
	return c.setReadDeadline(by)
}

// sendError returns the error that ends the connection after a write of n bytes failed with err. It
// returns nil if the server stops and the client is only slow. TLS cannot continue after a write that
// was interrupted.
func (c *conn) sendError(n int, err error) error {
	late := c.srv.stopping() && errors.Is(err, os.ErrDeadlineExceeded)
	if _, encrypted := c.net.(secured); late && n > 0 && !encrypted {
		return nil
	}
	if late {
		c.srv.deaf.Add(1)
	}
	c.outbox.torn.Store(true)
	return err
}

// cut ends the connection, from any goroutine, without waiting. After that no command of the
// connection begins and no reply is sent. An encrypted connection still has to send close_notify; its
// own goroutine does that.
func (c *conn) cut() {
	c.isCut.Store(true)
	if wake := c.unpause.Load(); wake != nil {
		(*wake)()
	}
	if _, encrypted := c.net.(secured); encrypted {
		_ = c.net.SetDeadline(longAgo) // it may be closed already
		return
	}
	_ = c.net.Close() // here, too
}

// close closes the connection at the end of its goroutine. An encrypted connection sends
// close_notify, without which the client could suspect an attack, unless it ends in the middle of a
// reply. If the buffer of the socket is full, TLS waits five seconds at most.
//
// isCut is set before the client can see the end, so that a client that has seen it finds this
// connection in no list.
func (c *conn) close() {
	c.isCut.Store(true)
	nc := c.net
	if s, encrypted := nc.(secured); encrypted && c.outbox.torn.Load() {
		nc = s.NetConn()
	}
	_ = nc.Close() // it may be cut already, or the client gone
}
