package server

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/internal/rawsocket"
	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// flushSize is how many bytes of replies are gathered before they are sent in the middle of a
// pipeline. flushNoLogin is the same for a client that has not logged in.
const (
	flushSize    = 64 << 10
	flushNoLogin = 1 << 8
)

// What a connection may keep from one command to the next.
const (
	keepArgs  = 1 << 10  // slots for keys
	queueFree = 64 << 10 // bytes of a transaction that are not charged to a budget
)

// loginTime is how long a connection may take to log in.
const loginTime = 30 * time.Second

// conn is the connection of one client. Its goroutine reads commands, runs them one after the other
// and sends the replies. The fields belong to that goroutine, except those of outbox, signals and
// visible.
type conn struct {
	srv    *Server
	id     int64
	net    net.Conn
	socket io.ReadWriter // reads and writes net
	opened ttl.Instant

	session
	transaction transaction
	execution

	in      resp.Reader
	out     resp.Writer     // replies that were not sent yet
	lent    *[]byte         // the buffer of out, if it came from Server.replies
	owed    storage.Barrier // must be passed before out is sent
	outbox  outbox          // sends out, and pushes
	held    shares
	closing bool // the connection closes once the replies are sent
	timing

	signals
	visible
}

// session is the state of a connection that commands change. RESET resets it. The transaction, the
// protocol (out.Proto) and the name (clientInfo) are kept elsewhere.
type session struct {
	user     *acl.User // the rules of this user apply; it is the default user before the login
	db       int
	replies  replyMode
	loggedIn bool
	penalty  time.Duration // delay of the answer to a failed login
}

// execution is the state of the running command, unless EXEC runs it. It is part of the connection
// to save an allocation for each command.
type execution struct {
	call  call
	keys  []storage.Key           // the scope of call
	begin int                     // offset of its reply in out
	step  func(*storage.Tx) error // runStep

	lookups lookups // of the transaction of call
	tally   tally   // of commands that are not in the server's totals yet
}

// timing holds the read deadline, and the limits of the last reads when the server stops.
type timing struct {
	readBy     time.Time // the read deadline that is set; zero if there is none
	readLast   int       // bytes that were read since the server began to stop
	readLastBy time.Time // commands must begin to arrive before this while the server stops
}

// shares are the parts of the server's budgets that a connection has taken.
type shares struct {
	preAuth       share // for incomplete commands before the login
	authenticated share // for incomplete commands after the login
	replies       share
	queued        share // for the transaction
}

// signals are set by other goroutines to tell the connection something.
type signals struct {
	isCut   atomic.Bool                        // see cut
	reads   atomic.Bool                        // the handshake is over; the connection reads commands
	woken   atomic.Bool                        // see wake
	unpause atomic.Pointer[context.CancelFunc] // ends the wait of waitPaused, if there is one
}

// visible is the state that other goroutines read.
type visible struct {
	lastCommand atomic.Pointer[command]   // nil before the first command and after an unknown one
	lastUsed    atomic.Int64              // ttl.Instant when bytes last arrived
	watching    atomic.Pointer[watchlist] // transaction.watched, for SWAPDB on other connections

	published connState // the last state that was copied to info; for the owner only
	mu        sync.Mutex
	info      clientInfo
}

// clientInfo is the part of a connection that CLIENT LIST shows. The owner writes it and other
// goroutines read it, both under conn.mu.
type clientInfo struct {
	connState
	name, libName, libVersion string
	noEvict, noTouch          bool // CLIENT NO-EVICT, CLIENT NO-TOUCH
	held                      bool // CLIENT PAUSE makes it wait
}

// connState is the part of clientInfo that may change with every command.
type connState struct {
	user   *acl.User
	db     int
	queued int // number of commands queued since MULTI; -1 outside a transaction
	proto  int
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
	c := &conn{srv: srv, id: id, net: nc, socket: rawsocket.New(nc), opened: srv.keyspace.Now()}
	bounds := srv.settings.bounds()
	c.in = resp.NewReader(c.socket, bounds.input)
	c.held = shares{
		preAuth:       share{of: srv.preAuth},
		authenticated: share{of: srv.authenticated},
		replies:       share{of: srv.authenticated},
		queued:        share{of: srv.authenticated},
	}
	c.outbox.held.of = srv.authenticated
	c.in.PreAuth, c.in.Authenticated, c.out.Budget = &c.held.preAuth, &c.held.authenticated, &c.held.replies
	c.applyBounds(bounds)
	c.step = c.runStep
	c.resetState()
	c.lastUsed.Store(int64(c.opened))
	return c
}

// resetState gives the connection the state of a new one, as RESET does.
func (c *conn) resetState() {
	c.out.Proto = 2
	c.db = 0
	c.user = c.srv.acl.Default()
	c.setLoggedIn(c.user.Rules().Open())
	c.resetTransaction()
	c.replies = repliesOn
	c.publishState()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.info.name = ""
	c.info.noTouch = false
}

func (c *conn) setLoggedIn(yes bool) {
	c.loggedIn = yes
	c.in.SetLoggedIn(yes)
	var by time.Time
	if !yes {
		by = ttl.System.Now().Add(c.srv.loginTime).Time()
	}
	c.outbox.setLoginBy(by)
}

// serve answers the client until it disconnects, violates a rule, or the server stops.
func (c *conn) serve() {
	defer c.end()
	err := c.handshake()
	c.reads.Store(err == nil)
	for err == nil && !c.closing {
		var args [][]byte
		if args, err = c.readCommand(); err == nil {
			err = c.answer(args)
		}
	}
	c.finish(err)
}

// readCommand returns the next command. When it has to wait for the client, because the
// pipeline is empty, it sends the replies first.
func (c *conn) readCommand() ([][]byte, error) {
	for !c.isCut.Load() {
		args, err := c.in.Next()
		if err == nil || !errors.Is(err, resp.ErrIncomplete) {
			return args, err
		}
		if err := c.flush(); err != nil {
			return nil, err
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
		if err := c.refuseTLS(); err != nil {
			return nil, err
		}
	}
	return nil, net.ErrClosed
}

// answer runs one command, unless the connection has to end because of it, and leaves its
// reply in c.out.
func (c *conn) answer(args [][]byte) error {
	if err := c.refuseHTTP(args); err != nil {
		return err
	}
	if err := c.waitPaused(args); err != nil {
		return err
	}
	c.guardedDispatch(args)
	return c.checkBuffers()
}

// finish sends the last replies, and an error for a violation of the protocol. When the
// connection ends because of any other error, nothing more is sent.
func (c *conn) finish(err error) {
	var violation resp.ProtocolError
	if errors.As(err, &violation) {
		c.out.Error(violation.Error())
		err = nil
	}
	if err == nil && !c.isCut.Load() {
		_ = c.flush() // the connection is closed next in any case
	}
}

// end closes the connection. It returns when none of its goroutines is running.
func (c *conn) end() {
	c.releaseBudgets()
	c.close()
	c.endPushes()
}

// releaseBudgets gives back what the connection has taken from the budgets.
func (c *conn) releaseBudgets() {
	for _, s := range []*share{&c.held.preAuth, &c.held.authenticated, &c.held.replies, &c.held.queued} {
		s.Hold(0)
	}
}

// guardedDispatch limits a panic in a handler to its own connection, which gets an error and is
// closed. The panic has released the engine's locks before it arrives here.
func (c *conn) guardedDispatch(args [][]byte) {
	if c.out.Bytes() == nil {
		c.lent = c.srv.replies.take()
		c.out.Use(*c.lent)
	}
	begin := c.out.Len()
	defer func() {
		if p := recover(); p != nil {
			c.srv.log.Error("panic in a command; its connection is closed",
				"client", c.id, "panic", p, "stack", string(debug.Stack()))
			c.out.Truncate(begin)
			c.out.Error(string(errPanic))
			c.closing = true
		}
	}()
	c.dispatch(args)
}

// checkBuffers sends the replies in the middle of a pipeline if there are many, and ends a
// connection that exceeds its limits.
func (c *conn) checkBuffers() error {
	switch {
	case c.out.Over():
		c.srv.log.Warn("client closed: its reply exceeds client-output-buffer-limit, or what all clients may hold", "client", c.id)
		c.srv.stats.outputLimit.Add(1)
		return net.ErrClosed
	case c.transaction.bytes > c.in.Limits.Query, !c.held.queued.Hold(c.transaction.bytes - queueFree):
		c.srv.log.Warn("client closed: its transaction exceeds client-query-buffer-limit, or what all clients may hold", "client", c.id)
		c.srv.stats.queryLimit.Add(1)
		return net.ErrClosed
	case !c.loggedIn && c.outbox.loginBy.Before(ttl.System.Now().Time()):
		return net.ErrClosed // a pipeline of failed logins takes long, but does not extend the time to log in
	case c.out.Len() >= flushSize, c.out.Len() >= flushNoLogin && !c.loggedIn, c.outbox.pushing:
		return c.flush()
	}
	return nil
}

func (c *conn) applyBounds(b bounds) {
	c.in.Limits = b.input
	c.out.Limit = b.output.hard
	c.outbox.setOutput(b.output)
}

// applyReplyMode drops the reply that begins at begin if CLIENT REPLY asked for that.
func (c *conn) applyReplyMode(begin int) {
	switch c.replies {
	case repliesOff:
		c.out.Truncate(begin)
	case replySkipThis:
		c.out.Truncate(begin)
		c.replies = replySkipNext
	case replySkipNext:
		c.out.Truncate(begin)
		c.replies = repliesOn
	}
}

// publishState copies the state of the connection to info, if it has changed.
func (c *conn) publishState() {
	now := connState{user: c.user, db: c.db, queued: -1, proto: c.out.Proto}
	if c.transaction.open {
		now.queued = len(c.transaction.queued)
	}
	if now == c.published {
		return
	}
	c.published = now
	c.mu.Lock()
	defer c.mu.Unlock()
	c.info.connState = now
}
