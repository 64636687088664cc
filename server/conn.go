package server

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// flushSize is how many bytes of replies are gathered before they are sent in the middle
// of a pipeline.
const flushSize = 64 << 10

// conn is one client. Its goroutine reads commands, runs them one after the other and
// sends the replies; the fields without a lock belong to that goroutine.
type conn struct {
	srv    *Server
	id     int64
	net    net.Conn
	in     frames
	out    reply           // replies that were not sent yet
	owed   storage.Barrier // what must be safe before they are sent
	opened ttl.Instant

	loggedIn    bool
	user        string
	db          int
	transaction transaction
	replies     replyMode
	closing     bool // close once the replies are sent

	mu   sync.Mutex
	seen clientInfo // what other connections may look at
}

// clientInfo is the part of a connection that CLIENT LIST shows. Its owner writes it and
// others read it, under conn.mu.
type clientInfo struct {
	name, libName, libVersion string
	user                      string
	lastCommand               string
	lastUsed                  ttl.Instant
	db                        int
	queued                    int // commands queued by MULTI, -1 outside
	proto                     int
	noEvict, noTouch          bool // CLIENT NO-EVICT, CLIENT NO-TOUCH
	killed                    bool // CLIENT KILL closed the connection
}

// replyMode is the state of CLIENT REPLY.
type replyMode int

const (
	repliesOn replyMode = iota
	repliesOff
	replySkipNext // the reply to the next command is dropped
	replySkipThis // the reply to CLIENT REPLY SKIP itself is dropped
)

func newConn(srv *Server, id int64, nc net.Conn) *conn {
	c := &conn{srv: srv, id: id, net: nc, in: newFrames(nc), opened: srv.keyspace.Now()}
	c.resetState()
	c.seen.lastUsed = c.opened
	return c
}

// resetState puts the connection into the state of a new one: RESET.
func (c *conn) resetState() {
	c.out.proto = 2
	c.db = 0
	c.user = "default"
	c.setLoggedIn(c.srv.settings.password() == "")
	c.transaction.reset()
	c.replies = repliesOn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.name = ""
	c.seen.noTouch = false
	c.noteStateLocked()
}

func (c *conn) setLoggedIn(yes bool) {
	c.loggedIn = yes
	c.in.loggedIn = yes
}

// serve answers the client until it goes, misbehaves, or the server stops.
func (c *conn) serve() {
	defer c.net.Close()
	defer func() {
		if p := recover(); p != nil {
			c.srv.log.Error("panic while serving a client; its connection is closed",
				"client", c.id, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	for !c.closing {
		args, err := c.in.next()
		var violation protocolError
		switch {
		case err == nil:
			c.dispatch(args)
			if len(c.out.b) >= flushSize && c.flush() != nil {
				return
			}
		case errors.Is(err, errIncomplete):
			if c.flush() != nil || c.fill() != nil {
				return
			}
		case errors.As(err, &violation):
			c.out.fail(replyError(violation.Error()))
			c.closing = true
		}
	}
	_ = c.flush() // the connection is closed next, whatever became of the last reply
}

// fill waits for bytes from the client, at most the idle time. The reason of a failure
// is worth nothing to anybody: the client is gone, was idle, or the server stops.
func (c *conn) fill() error {
	if c.srv.stopping() {
		return net.ErrClosed
	}
	if idle := c.srv.settings.idle(); idle > 0 {
		if err := c.net.SetReadDeadline(ttl.System.Now().Add(idle).Time()); err != nil {
			return err
		}
		// A stop that came in between would be forgotten by the new deadline.
		if c.srv.stopping() {
			return net.ErrClosed
		}
	}
	return c.in.fill()
}

// flush makes what the replies report safe, and sends them. This is the only way out:
// no reply passes the barrier of the change it reports.
func (c *conn) flush() error {
	if len(c.out.b) == 0 {
		return nil
	}
	if err := c.srv.keyspace.Sync(context.Background(), c.owed); err != nil {
		c.srv.log.Error("replies withheld: changes could not be made durable", "client", c.id, "err", err)
		return err
	}
	c.owed = storage.Barrier{}
	_, err := c.net.Write(c.out.b)
	if cap(c.out.b) > flushSize*2 {
		c.out.b = nil // a large reply must not stay with an idle connection
	}
	c.out.b = c.out.b[:0]
	return err
}

// applyReplyMode drops the reply that begins at begin if CLIENT REPLY says so.
func (c *conn) applyReplyMode(begin int) {
	switch c.replies {
	case repliesOff:
		c.out.b = c.out.b[:begin]
	case replySkipThis:
		c.out.b = c.out.b[:begin]
		c.replies = replySkipNext
	case replySkipNext:
		c.out.b = c.out.b[:begin]
		c.replies = repliesOn
	}
}

// noteCommand shows other connections what this one is doing. A nil cmd is a command that
// does not exist.
func (c *conn) noteCommand(cmd *command) {
	name := ""
	if cmd != nil {
		name = cmd.fullName()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.lastCommand = name
	c.seen.lastUsed = c.srv.keyspace.Now()
}

// noteState shows other connections what became of this one.
func (c *conn) noteState() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteStateLocked()
}

func (c *conn) noteStateLocked() {
	c.seen.queued = -1
	if c.transaction.open {
		c.seen.queued = len(c.transaction.queued)
	}
	c.seen.db = c.db
	c.seen.proto = c.out.proto
	c.seen.user = c.user
}

// interrupt wakes the connection if it waits for its client, so that it can stop.
func (c *conn) interrupt() { _ = c.net.SetReadDeadline(time.Unix(1, 0)) } // it may be closed already
