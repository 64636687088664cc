// Package server speaks the Redis protocol to session stores.
//
// The way of a command from the wire to the disk and back:
//
//	resp.Reader        cuts the bytes that arrived into complete, bounded commands
//	conn.dispatch      finds the row in the table, asks the gates, queues or runs it
//	conn.execute       opens the transaction the row asks for and calls the handler
//	runX (cmd_*.go)    parses, reads, decides, writes, and appends its reply
//	storage.Keyspace   judges deadlines by one instant; its Engine applies the change
//	conn.flush         when the pipeline is empty: waits until the changes are as safe as
//	                   the durability mode says (once for all of them), then sends
//
// One goroutine serves one connection, and a second one sends to it once it hears pushes
// (outbox). Lock order: settings.turn -> Server.mu -> conn.mu, and settings.mu after any of
// them. outbox.turn -> outbox.mu are taken while none of these is held.
package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Config says what a Server serves and how.
type Config struct {
	// Keyspace holds the data. It must stay open until Shutdown or Close has returned.
	Keyspace *storage.Keyspace
	// Databases is the number of databases SELECT offers. Zero means 16.
	Databases int
	// Users are the ACL users. Without them, or the default user among them, that one has
	// all rights and the password of Settings.
	Users *acl.Definitions
	// ACLFile is where ACL LOAD and ACL SAVE find the users. Nil refuses both.
	ACLFile acl.File
	// Settings are the values behind CONFIG GET and CONFIG SET.
	Settings Settings
	// Renames gives commands other names. The zero Renames changes none.
	Renames Renames
	// Version is sessiond's own version, beside the Redis version clients read.
	Version string
	// Backup makes the copy that SAVE and BGSAVE ask for. Its context ends with Shutdown or
	// Close. Nil means that they make what was changed durable, and no more.
	Backup func(context.Context) error
	// Stop is called, once, when a client asks for SHUTDOWN. It must not wait for the
	// server. Nil refuses SHUTDOWN.
	Stop func()
	// Logger receives what an operator should know. Nil means slog.Default.
	Logger *slog.Logger
	// LogLevel is what Logger goes by, for CONFIG SET loglevel. Nil refuses it.
	LogLevel *slog.LevelVar

	// Tests have no time to wait for loginTime, no gigabytes for clientsBuffer, and clients that
	// may not run for lastReadWait. Zero means these.
	loginTime    time.Duration
	lastReadWait time.Duration
	clientMemory int64
}

// ErrServerClosed is returned by Serve after Shutdown or Close.
var ErrServerClosed = errors.New("server closed")

// Server answers clients. Create it with New. It is safe for concurrent use.
type Server struct {
	keyspace  *storage.Keyspace
	databases int
	settings  *settings
	table     *table
	acl       *acl.Users
	stats     *stats
	log       *slog.Logger
	logLevel  *slog.LevelVar // nil if it is not ours to change
	pause     pause

	identity
	memory
	saves
	guards
	network
	ending
}

// identity is what INFO tells of the process.
type identity struct {
	version string
	runID   string
	started ttl.Instant
}

// memory is what all connections share of it.
type memory struct {
	preAuth       *budget // buffers of clients that have not logged in
	authenticated *budget // large buffers of those that have
	replies       replyBuffers
}

// saves is what SAVE and BGSAVE need.
type saves struct {
	backup   func(context.Context) error // nil if there is no copy to make
	lastSave atomic.Int64                // Unix seconds
}

// guards keep clients that have not logged in from doing harm.
type guards struct {
	loginTime     time.Duration
	failedLogins  failedLogins
	httpWarning   warning
	acceptWarning warning
}

// network is the clients and where they come from.
type network struct {
	sockets   int // clients that the process has files for
	nextID    atomic.Int64
	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[int64]*conn
	running   sync.WaitGroup // connections and background saves
}

// ending is how the server stops.
type ending struct {
	stop         func()          // what SHUTDOWN calls; nil if it is refused
	stopped      context.Context // ends with Shutdown or Close
	stopWaits    context.CancelFunc
	quit         atomic.Bool
	lastReadWait time.Duration
	deaf         atomic.Int64 // clients that did not take their replies when the server stopped
}

// New returns a server that does not listen yet.
func New(config Config) *Server {
	s := &Server{
		keyspace:  config.Keyspace,
		databases: cmp.Or(config.Databases, 16),
		table:     newTable(),
		log:       cmp.Or(config.Logger, slog.Default()),
		logLevel:  config.LogLevel,
		identity:  identity{version: config.Version, runID: newRunID(), started: config.Keyspace.Now()},
		memory: memory{
			preAuth:       newBudget(preAuthBuffer),
			authenticated: newBudget(cmp.Or(config.clientMemory, clientsBuffer)),
		},
		saves:  saves{backup: config.Backup},
		guards: guards{loginTime: cmp.Or(config.loginTime, loginTime)},
		network: network{
			sockets:   socketLimit(openFiles()),
			listeners: map[net.Listener]struct{}{},
			conns:     map[int64]*conn{},
		},
		ending: ending{lastReadWait: cmp.Or(config.lastReadWait, lastReadWait)},
	}
	if config.Stop != nil {
		s.stop = sync.OnceFunc(config.Stop)
	}
	config.Renames.apply(s.table)
	s.acl = acl.NewUsers(s.table.acl, config.Users, config.Settings.Password, config.ACLFile)
	s.settings = newSettings(config.Settings, s.databases)
	s.limitClients(&s.settings.now)
	s.stopped, s.stopWaits = context.WithCancel(context.Background())
	s.stats = newStats(len(s.table.all))
	s.stats.reset(s.started, 0)
	s.lastSave.Store(int64(s.started) / 1000)
	return s
}

// Serve accepts connections from ln, which it closes, until Shutdown or Close, and then
// returns ErrServerClosed. Several listeners may be served at once.
func (s *Server) Serve(ln net.Listener) error {
	defer ln.Close()
	s.mu.Lock()
	if s.quit.Load() {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	var rest backoff
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			rest.reset()
			s.accept(nc)
		case s.quit.Load():
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			rest.wait(s, err)
		}
	}
}

// accept starts serving a connection, or turns it away.
func (s *Server) accept(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.quit.Load():
		_ = nc.Close() // nobody is told
	case len(s.conns) >= min(s.settings.maxClients(), s.sockets):
		s.stats.turnedAway.Add(1)
		refuse(nc)
	default:
		c := newConn(s, s.nextID.Add(1), nc)
		s.conns[c.id] = c
		s.stats.accepted.Add(1)
		s.running.Go(func() {
			keepAlive(nc, s.settings.keepAlive())
			c.serve()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.conns, c.id)
		})
	}
}

// refuse closes a connection that is one too many. The kernel's buffer takes the few bytes it
// is told without waiting; a handshake, after which TLS could say why, would have to wait.
func refuse(nc net.Conn) {
	to, reason := nc, "-"+string(errMaxClients)+"\r\n"
	if s, ok := nc.(secured); ok {
		const goodbye = "\x15\x03\x01\x00\x02\x01\x00" // the alert close_notify, not encrypted yet
		to, reason = s.NetConn(), goodbye
	}
	_, _ = io.WriteString(to, reason) // the client may be gone
	_ = nc.Close()
}

// Shutdown stops accepting, lets every connection finish the commands that have arrived,
// those in its socket included, sends their replies and closes it. A client that takes no
// reply for two seconds is cut, and the log says so. When ctx ends first the rest is cut and
// ctx's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closeListeners()
	s.each((*conn).interrupt)
	done := make(chan struct{})
	go func() { // ends with the connections, which Close cuts if need be
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		if n := s.deaf.Load(); n > 0 {
			s.log.Warn("clients were cut: they did not take their replies", "clients", n)
		}
		return nil
	case <-ctx.Done():
		_ = s.Close() // it returns no error; ctx's is the one to tell
		return ctx.Err()
	}
}

// Close cuts all connections and returns when none is being served.
func (s *Server) Close() error {
	s.closeListeners()
	s.each((*conn).cut)
	s.running.Wait()
	return nil
}

func (s *Server) closeListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quit.Store(true)
	s.stopWaits()
	for ln := range s.listeners {
		_ = ln.Close() // Serve returns, whatever Close says
	}
}

// stopping reports whether Shutdown or Close was called.
func (s *Server) stopping() bool { return s.quit.Load() }

// each calls fn for every connection.
func (s *Server) each(fn func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		fn(c)
	}
}
