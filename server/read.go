package server

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/ttl"
)

// longAgo is a deadline that ends a read at once.
var longAgo = time.Unix(1, 0)

// fill waits for bytes from the client, at most for the idle time, or the time to log in. Its error
// ends the connection: the client has gone or was silent too long, the server stops, or a command is
// too large. Only the last one is logged.
func (c *conn) fill() error {
	var silent time.Duration // time since bytes last arrived
	for {
		b := c.srv.settings.bounds()
		c.applyBounds(b)
		if err := c.prepareRead(b, silent); err != nil {
			return err
		}
		if b != c.srv.settings.bounds() {
			continue // CONFIG SET has called wake before our read could be woken
		}
		err := c.in.Fill()
		if c.wasWoken(err) {
			silent = c.srv.keyspace.Now().Sub(ttl.Instant(c.lastUsed.Load()))
			continue
		}
		c.afterRead(err)
		return err
	}
}

// prepareRead sets the deadline of a read. The client was silent for that time already.
func (c *conn) prepareRead(b bounds, silent time.Duration) error {
	var deadline time.Time
	switch {
	case !c.loggedIn:
		deadline = c.outbox.loginBy
	case b.idle > 0:
		deadline = ttl.System.Now().Add(b.idle - silent).Time()
	}
	if err := c.setReadDeadline(deadline); err != nil {
		return err
	}
	// What came before would be forgotten by the new deadline.
	if c.isCut.Load() {
		return net.ErrClosed
	}
	if c.srv.stopping() {
		return c.beginLastRead()
	}
	return nil
}

// afterRead updates the statistics after a read and logs a command that is too large.
func (c *conn) afterRead(err error) {
	now := c.srv.keyspace.Now()
	c.lastUsed.Store(int64(now))
	c.srv.stats.sample(now) // before the new bytes are counted, which arrived just now
	if err == nil {
		c.srv.stats.totals.received.Add(int64(c.in.LastRead()))
	}
	if errors.Is(err, resp.ErrQueryLimit) || errors.Is(err, resp.ErrMemory) {
		c.srv.log.Warn("client closed: its command is too large", "client", c.id, "err", err)
		c.srv.stats.queryLimit.Add(1)
	}
}

// wake makes the connection, from any goroutine, read the settings again if it waits for its client.
// A connection in its handshake reads them afterwards in any case.
func (c *conn) wake() {
	if !c.reads.Load() || c.srv.stopping() {
		return
	}
	c.woken.Store(true)
	_ = c.net.SetReadDeadline(longAgo) // it may be closed already
}

// wasWoken reports whether a read ended with err because of wake, and not because of its deadline.
func (c *conn) wasWoken(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !c.woken.Swap(false) {
		return false
	}
	c.readBy = longAgo // wake has set it
	return true
}
