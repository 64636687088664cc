// Package server speaks the Redis protocol to session stores.
//
// A command passes resp.Reader, conn.dispatch, conn.execute, its handler runX (cmd_*.go),
// storage.Keyspace with its Engine, and at last conn.flush, which waits until the changes are as safe
// as the durability mode says and sends the replies. docs/walkthrough.md follows it step by step.
//
// One goroutine serves one connection. After the first subscription a second one sends pushes (see
// outbox). Lock order: settings.turn -> Server.mu -> conn.mu, and settings.mu after any of
// them. outbox.turn -> outbox.mu are taken while none of the others is held.
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
	// Users are the ACL users. Unless they define the default user, it has all rights and the
	// password of Settings.
	Users *acl.Definitions
	// ACLFile is the file of ACL LOAD and ACL SAVE. Nil means that both are refused.
	ACLFile acl.File
	// Settings are the values behind CONFIG GET and CONFIG SET.
	Settings Settings
	// Renames gives commands other names. The zero value changes none.
	Renames Renames
	// Version is sessiond's own version. Clients also see a Redis version.
	Version string
	// Backup makes the copy of SAVE and BGSAVE. Its context ends with Shutdown or Close. Nil
	// means that they only make all changes durable.
	Backup func(context.Context) error
	// Stop is called once, when a client sends SHUTDOWN. It must not wait for the server. Nil
	// means that SHUTDOWN is refused.
	Stop func()
	// Logger receives what an operator should know. Nil means slog.Default.
	Logger *slog.Logger
	// LogLevel is the level of Logger, for CONFIG SET loglevel. Nil means that the level cannot
	// be changed.
	LogLevel *slog.LevelVar

	// Tests set these where the constants loginTime, lastReadWait and clientsBuffer are too large or
	// too small for them. Zero means the constant.
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
	logLevel  *slog.LevelVar // nil if the server cannot change it
	pause     pause

	identity
	memory
	saves
	guards
	network
	ending
}

// identity is what INFO says about the process.
type identity struct {
	version string
	runID   string
	started ttl.Instant
}

// memory is shared by all connections.
type memory struct {
	preAuth       *budget // for buffers of clients that have not logged in
	authenticated *budget // for large buffers of clients that have
	replies       replyBuffers
}

// saves is the state of SAVE and BGSAVE.
type saves struct {
	backup   func(context.Context) error // nil if the program makes no copies
	lastSave atomic.Int64                // Unix seconds
}

// guards protect the server from clients that have not logged in.
type guards struct {
	loginTime     time.Duration
	failedLogins  failedLogins
	httpWarning   warning
	acceptWarning warning
}

// network holds the listeners and the connections.
type network struct {
	sockets   int // how many clients fit into the limit of open files
	nextID    atomic.Int64
	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[int64]*conn
	running   sync.WaitGroup // connections and background saves
}

// ending is the state of a stop of the server.
type ending struct {
	stop         func()          // what SHUTDOWN calls; nil if it is refused
	stopped      context.Context // ends with Shutdown or Close
	stopWaits    context.CancelFunc
	quit         atomic.Bool
	lastReadWait time.Duration
	deaf         atomic.Int64 // clients that did not read their replies while the server stopped
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
		_ = nc.Close() // without a reply
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

// refuse closes a connection above maxclients. The error fits into the kernel's buffer, so sending it
// does not wait. TLS could send it only after a handshake, which would.
func refuse(nc net.Conn) {
	to, reason := nc, "-"+string(errMaxClients)+"\r\n"
	if s, ok := nc.(secured); ok {
		const closeNotify = "\x15\x03\x01\x00\x02\x01\x00" // a TLS alert, not encrypted yet
		to, reason = s.NetConn(), closeNotify
	}
	_, _ = io.WriteString(to, reason) // the client may be gone
	_ = nc.Close()
}

// Shutdown stops accepting, lets every connection finish the commands that have arrived,
// those in its socket included, sends their replies and closes it. A client that takes no
// reply for two seconds is cut, and the log says so. If ctx ends first, Shutdown cuts the remaining
// clients and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closeListeners()
	s.each((*conn).interrupt)
	done := make(chan struct{})
	go func() { // ends with the last connection, which Close cuts if necessary
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
		_ = s.Close() // it returns no error
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
