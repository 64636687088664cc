package server

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that a new maxclients applies to new connections only, and that a number beyond the limit of
// open files is refused with Redis' error.
func TestConfigSet_MaxClients(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(1), Config{Settings: Settings{MaxClients: 2}})
	first, r1 := dialServer(t, addr)
	second, r2 := dialServer(t, addr)
	ask(t, second, r2, "ping")
	if got := ask(t, first, r1, "config set maxclients 1").text; got != "OK" {
		t.Fatalf("CONFIG SET maxclients = %q", got)
	}
	if got := ask(t, second, r2, "ping").text; got != "PONG" {
		t.Errorf("PING of a client that was there = %q", got)
	}
	_, refused := dialServer(t, addr)
	expectLine(t, refused, "-ERR max number of clients reached")
	ask(t, first, r1, "config set maxclients 3")
	third, r3 := dialServer(t, addr)
	if got := ask(t, third, r3, "info clients").text; !strings.Contains(got, "\r\nmaxclients:3\r\n") {
		t.Errorf("INFO clients = %q", got)
	}
	if srv.sockets == math.MaxInt {
		return // this system has no limit
	}
	want := fmt.Sprintf("ERR CONFIG SET failed (possibly related to argument 'maxclients') - "+
		"The operating system is not able to handle the specified number of clients, try with %d", srv.sockets)
	if got := ask(t, first, r1, "config set timeout 7 maxclients 4294967295").text; got != want {
		t.Errorf("CONFIG SET maxclients = %q, want %q", got, want)
	}
	if now := srv.settings.get(); now.MaxClients != 3 || now.IdleTimeout != 0 {
		t.Errorf("after a CONFIG SET that failed: maxclients %d, timeout %v", now.MaxClients, now.IdleTimeout)
	}
}

// Ensure that a new timeout also ends connections that were idle when it was set.
func TestConfigSet_Timeout(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, ttl.NewManual(1), Config{})
	_, silent := dialServer(t, addr)
	nc, r := dialServer(t, addr)
	ask(t, nc, r, "config set timeout 1")
	if _, err := silent.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("read from a connection that is silent = %v, want EOF", err)
	}
}

// deadlines is a listener that records the latest read deadline of each connection.
type deadlines struct {
	net.Listener
	mu   sync.Mutex
	last map[string]time.Time // by the client's address
}

type deadlineConn struct {
	net.Conn
	of *deadlines
}

func (l *deadlines) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return deadlineConn{nc, l}, err
}

func (c deadlineConn) SetReadDeadline(deadline time.Time) error {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.last[c.RemoteAddr().String()] = deadline
	return c.Conn.SetReadDeadline(deadline)
}

// Ensure that a longer timeout, or none, also applies to connections that were idle when it was set.
func TestConfigSet_Timeout_Longer(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(1), Config{Settings: Settings{IdleTimeout: 100 * time.Second}})
	nc, r := dialServer(t, addr)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	recorded := &deadlines{Listener: ln, last: map[string]time.Time{}}
	go func() { _ = srv.Serve(recorded) }() // ends with the server
	waiting, wr := dialServer(t, ln.Addr().String())
	ask(t, waiting, wr, "ping")
	expect := func(what string, right func(deadline time.Time) bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // polling
			recorded.mu.Lock()
			deadline := recorded.last[waiting.LocalAddr().String()]
			recorded.mu.Unlock()
			if right(deadline) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: the client has until %v", what, deadline)
			}
		}
	}
	soon := time.Now().Add(150 * time.Second)
	expect("at first", func(d time.Time) bool { return !d.IsZero() && d.Before(soon) })
	ask(t, nc, r, "config set timeout 1000")
	expect("with a longer timeout", func(d time.Time) bool { return d.After(soon) })
	ask(t, nc, r, "config set timeout 0")
	expect("without a timeout", time.Time.IsZero)
	if got := ask(t, waiting, wr, "config get timeout").elements[1].text; got != "0" {
		t.Errorf("CONFIG GET timeout = %q", got)
	}
}
