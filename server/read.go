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

// fill waits for bytes from the client, at most the idle time, or the time to log in. What
// ends the wait is of interest to nobody: the client is gone, was silent, or the server
// stops; too large a command is logged.
func (c *conn) fill() error {
	var silent time.Duration // so far
	for {
		b := c.srv.settings.bounds()
		c.applyBounds(b)
		if err := c.prepareRead(b, silent); err != nil {
			return err
		}
		if b != c.srv.settings.bounds() {
			continue // whoever changed them woke up those who waited, and we did not yet
		}
		err := c.in.Fill()
		if c.wasWoken(err) {
			silent = c.srv.keyspace.Now().Sub(ttl.Instant(c.lastUsed.Load()))
			continue
		}
		c.noteRead(err)
		return err
	}
}

// prepareRead sets the deadline of a read from a client that was silent for some time already.
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

// noteRead notes what became of a read.
func (c *conn) noteRead(err error) {
	now := c.srv.keyspace.Now()
	c.lastUsed.Store(int64(now))
	c.srv.stats.sample(now) // before what arrived is counted: it has not waited since the last sample
	if err == nil {
		c.srv.stats.totals.received.Add(int64(c.in.LastRead()))
	}
	if errors.Is(err, resp.ErrQueryLimit) || errors.Is(err, resp.ErrMemory) {
		c.srv.log.Warn("client closed: its command is too large", "client", c.id, "err", err)
		c.srv.stats.queryLimit.Add(1)
	}
}

// wake has the connection, from any goroutine, look at the settings again if it waits for its
// client. One in the handshake does so by itself after it.
func (c *conn) wake() {
	if !c.reads.Load() || c.srv.stopping() {
		return
	}
	c.woken.Store(true)
	_ = c.net.SetReadDeadline(longAgo) // it may be closed already
}

// wasWoken reports whether a read ended with err because of wake and not of its deadline.
func (c *conn) wasWoken(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !c.woken.Swap(false) {
		return false
	}
	c.readBy = longAgo // which is what is set now
	return true
}
