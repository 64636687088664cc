package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// networks are the ways in which a client connects to a server.
var networks = []string{"tcp", "unix", "tls"}

// startNetwork serves one network and returns what connects to it.
func startNetwork(t *testing.T, network string, config Config) (srv *Server, dial func() (net.Conn, *bufio.Reader)) {
	t.Helper()
	switch network {
	case "tls":
		srv, _, addr := startTLS(t, config)
		return srv, func() (net.Conn, *bufio.Reader) {
			nc, _ := dialServer(t, addr)
			encrypted := encrypt(nc)
			return encrypted, bufio.NewReader(encrypted)
		}
	case "unix":
		srv, _ := startServer(t, ttl.NewManual(1), config)
		ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = srv.Serve(ln) }() // ends with the server
		return srv, func() (net.Conn, *bufio.Reader) {
			nc, err := net.Dial("unix", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = nc.Close() })
			nc = patientConn{nc}
			return nc, bufio.NewReader(nc)
		}
	}
	srv, addr := startServer(t, ttl.NewManual(1), config)
	return srv, func() (net.Conn, *bufio.Reader) { return dialServer(t, addr) }
}

func say(t *testing.T, nc net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
}

// shutDown stops the server, and fails if a client has to be cut for it.
func shutDown(t *testing.T, srv *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

// Ensure that a stop answers what was sent and not read yet, more than the sockets hold, the
// transaction that is complete and not the one that is not, and that half a command changes
// nothing.
func TestServer_Shutdown_WhatHasArrived(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			srv, dial := startNetwork(t, network, Config{lastReadWait: time.Second})
			busy, goOn := make(chan struct{}), make(chan struct{})
			srv.table.byName["echo"].run = func(c *call) error { close(busy); <-goOn; c.out.OK(); return nil }
			nc, r := dial()
			say(t, nc, "ECHO x\r\n")
			<-busy // nothing is read any more
			const n = 2000
			incr := "INCR n" + strings.Repeat(" ", 1<<10) + "\r\n"
			sent := make(chan struct{})
			const first = 60 // what every kind of connection takes while nothing is read
			say(t, nc, strings.Repeat(incr, first))
			go func() {
				defer close(sent)
				_, _ = io.WriteString(nc, strings.Repeat(incr, n-first)+
					"MULTI\r\nINCR n\r\nEXEC\r\n"+"MULTI\r\nINCR n\r\n"+"*2\r\n$4\r\nINCR\r\n$1\r\n")
			}()
			stopped := make(chan struct{})
			go func() { shutDown(t, srv); close(stopped) }()
			poll(t, "the server stops", srv.stopping)
			close(goOn)
			expectLine(t, r, "+OK")
			for i := range n {
				expectLine(t, r, fmt.Sprintf(":%d", i+1))
			}
			for _, want := range []string{"+OK", "+QUEUED", "*1", fmt.Sprintf(":%d", n+1), "+OK", "+QUEUED"} {
				expectLine(t, r, want)
			}
			if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
				t.Errorf("behind the replies: %q, %v, want the end", rest, err)
			}
			<-stopped
			<-sent
		})
	}
}

// Ensure that a stop ends although clients do not read their replies, that they do not delay other
// clients, and that a client that begins to read only then gets everything.
func TestServer_Shutdown_Deaf(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			srv, dial := startNetwork(t, network, Config{})
			value := strings.Repeat("v", 1<<20)
			first, r := dial()
			say(t, first, encode([]string{"SET", "k", value}))
			expectLine(t, r, "+OK")
			const n = 32
			request := strings.Repeat("GET k\r\n", n) // 32 MiB
			deaf, deafReplies := dial()
			say(t, deaf, request)
			late, lateReplies := dial()
			say(t, late, request)
			for _, r := range []*bufio.Reader{deafReplies, lateReplies} {
				expectLine(t, r, "$1048576") // what follows fills the buffers
			}
			stopped := make(chan struct{})
			go func() { shutDown(t, srv); close(stopped) }()
			if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("an idle client reads %v, want the end", err)
			}
			reply := int64(len("$1048576\r\n\r\n") + len(value))
			got, err := io.Copy(io.Discard, lateReplies)
			if want := n*reply - int64(len("$1048576\r\n")); err != nil || got != want {
				t.Errorf("who reads late got %d bytes, %v, want %d and the end", got, err, want)
			}
			<-stopped
			if got := srv.deaf.Load(); got != 1 {
				t.Errorf("%d clients were cut, want 1", got)
			}
		})
	}
}

// Ensure that a client that never stops sending does not keep the server from stopping.
func TestServer_Shutdown_Flood(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			srv, dial := startNetwork(t, network, Config{})
			nc, r := dial()
			go func() { // ends with the connection
				for piece := strings.Repeat("PING "+strings.Repeat("x", 1000)+"\r\n", 100); ; {
					if _, err := io.WriteString(nc, piece); err != nil {
						return
					}
				}
			}()
			expectLine(t, r, "$1000")
			go func() { _, _ = io.Copy(io.Discard, r) }() // ends with the connection
			shutDown(t, srv)
		})
	}
}

// Ensure that a TLS client gets close_notify in every way in which its connection can end: without it
// OpenSSL suspects an attack.
func TestConn_TLS_Goodbye(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, srv *Server, victim, other func(string)){
		"QUIT":               func(_ *testing.T, _ *Server, victim, _ func(string)) { victim("QUIT") },
		"CLIENT KILL":        func(_ *testing.T, _ *Server, _, other func(string)) { other("CLIENT KILL USER ada") },
		"CLIENT KILL itself": func(_ *testing.T, _ *Server, victim, _ func(string)) { victim("CLIENT KILL USER ada SKIPME no") },
		"ACL DELUSER":        func(_ *testing.T, _ *Server, _, other func(string)) { other("ACL DELUSER ada") },
		"a protocol error":   func(_ *testing.T, _ *Server, victim, _ func(string)) { victim("*1\r\n!") },
		"HTTP":               func(_ *testing.T, _ *Server, victim, _ func(string)) { victim("POST / HTTP/1.1") },
		"a panic":            func(_ *testing.T, _ *Server, victim, _ func(string)) { victim("ECHO x") },
		"Shutdown":           func(t *testing.T, srv *Server, _, _ func(string)) { shutDown(t, srv) },
		"Close":              func(_ *testing.T, srv *Server, _, _ func(string)) { _ = srv.Close() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, plain, encrypted := startTLS(t, Config{})
			srv.table.byName["echo"].run = func(*call) error { panic("on purpose") }
			other, replies := dialServer(t, plain)
			say(t, other, "ACL SETUSER ada on nopass +@all\r\n")
			expectLine(t, replies, "+OK")
			nc, _ := dialServer(t, encrypted)
			victim := encrypt(nc)
			say(t, victim, "AUTH ada x\r\n")
			r := bufio.NewReader(victim)
			expectLine(t, r, "+OK")
			line := func(nc net.Conn) func(string) { return func(text string) { say(t, nc, text+"\r\n") } }
			end(t, srv, line(victim), line(other))
			wantGoodbye(t, r)
		})
	}
}

// wantGoodbye reads to the end of a TLS connection. Without close_notify Go returns another error.
func wantGoodbye(t *testing.T, r io.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Errorf("the connection ends with %v", err)
	}
}

// Ensure that so it is when the server's patience ends.
func TestConn_TLS_GoodbyeToTheSilent(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]Config{
		"timeout":    {Settings: Settings{IdleTimeout: 50 * time.Millisecond}},
		"login time": {Settings: Settings{Password: "secret"}, loginTime: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, encrypted := startTLS(t, config)
			nc, _ := dialServer(t, encrypted)
			wantGoodbye(t, encrypt(nc))
		})
	}
}

// Ensure that a client above maxclients is not left to guess either.
func TestServer_TLS_MaxClientsGoodbye(t *testing.T) {
	t.Parallel()
	_, plain, encrypted := startTLS(t, Config{Settings: Settings{MaxClients: 1}})
	nc, r := dialServer(t, plain)
	say(t, nc, "PING\r\n")
	expectLine(t, r, "+PONG")
	below, _ := dialServer(t, encrypted)
	goodbye := make([]byte, 7)
	if _, err := io.ReadFull(below, goodbye); err != nil || goodbye[0] != 21 || goodbye[6] != 0 {
		t.Errorf("read = %q, %v, want the alert close_notify", goodbye, err)
	}
}

// Ensure that a client that reads nothing delays neither CLIENT KILL nor the end of its own
// connection.
func TestConn_TLS_GoodbyeToTheDeaf(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, srv *Server, other net.Conn, r *bufio.Reader){
		"CLIENT KILL": func(t *testing.T, _ *Server, other net.Conn, r *bufio.Reader) {
			say(t, other, "CLIENT KILL TYPE normal\r\n")
			expectLine(t, r, ":1")
		},
		"Close": func(_ *testing.T, srv *Server, _ net.Conn, _ *bufio.Reader) { _ = srv.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, plain, encrypted := startTLS(t, Config{})
			other, r := dialServer(t, plain)
			say(t, other, encode([]string{"SET", "k", strings.Repeat("v", 1<<20)}))
			expectLine(t, r, "+OK")
			nc, _ := dialServer(t, encrypted)
			deaf := encrypt(nc)
			say(t, deaf, strings.Repeat("GET k\r\n", 64))
			one := make([]byte, 1)
			if _, err := deaf.Read(one); err != nil { // the replies have begun
				t.Fatal(err)
			}
			end(t, srv, other, r)
			poll(t, "the connection of the deaf client has ended", func() bool {
				srv.mu.Lock()
				defer srv.mu.Unlock()
				return len(srv.conns) <= 1
			})
		})
	}
}
