package server

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// How a connection is treated once the server stops. What has arrived by then is answered;
// a client that does not take its answers is not waited for.
const (
	// lastSendTime is how long a client may take nothing of the replies it still gets.
	lastSendTime = 2 * time.Second
	lastSendSize = 64 << 10 // the pieces in which they are sent
	// lastReadSize is how many bytes of one client are still read: an end for one that never
	// stops sending.
	lastReadSize = 8 << 20
	// lastReadWait is how long commands may still arrive, and how long a command that has begun
	// to arrive may then pause: it can be larger than what the sockets hold.
	lastReadWait = 50 * time.Millisecond
)

// interrupt tells the connection, from any goroutine, that the server stops: a read that is
// under way and a write have their last time.
func (c *conn) interrupt() {
	now := ttl.System.Now()
	_ = c.net.SetReadDeadline(now.Add(c.srv.lastReadWait).Time()) // it may be closed already
	_ = c.net.SetWriteDeadline(now.Add(lastSendTime).Time())
}

// beginLastRead comes before a read of a server that stops.
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

// sendError decides what an error of a write means that took n bytes. It is nil if the server
// stops and the client does read, if slowly. TLS cannot go on in the middle of a write.
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

// cut ends the connection from any goroutine, and waits for nothing. No command of it begins
// after that, and no reply is sent. One that encrypts still has to say good-bye, which is left
// to its own goroutine.
func (c *conn) cut() {
	c.isCut.Store(true)
	if wake := c.unpause.Load(); wake != nil {
		(*wake)()
	}
	if _, encrypted := c.net.(secured); encrypted {
		_ = c.net.SetDeadline(longAgo) // it may be closed already
		return
	}
	_ = c.net.Close() // so may it here
}

// close closes the connection when its goroutine is done with it. One that encrypts says
// good-bye, without which its client takes the end for an attack, unless it ends in the
// middle of a reply. If there is no room for it TLS waits five seconds at most.
//
// It counts as cut before its client can see the end, so that whoever heard of the end finds it
// in no list of connections.
func (c *conn) close() {
	c.isCut.Store(true)
	nc := c.net
	if s, encrypted := nc.(secured); encrypted && c.outbox.torn.Load() {
		nc = s.NetConn()
	}
	_ = nc.Close() // it may be cut already, or the client gone
}
