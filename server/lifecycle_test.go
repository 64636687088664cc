package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
	"github.com/sessiond/sessiond/ttl"
)

// startServer serves a model engine on a free port, judged by clock.
func startServer(t *testing.T, clock ttl.Clock, config Config) (*Server, string) {
	t.Helper()
	config.Keyspace = storage.NewKeyspace(enginetest.NewModel(), clock)
	config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := New(config)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close() // it returns no error
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
	})
	return srv, ln.Addr().String()
}

// dialServer opens a connection that fails the test rather than wait for ever.
func dialServer(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	nc = patientConn{nc}
	return nc, bufio.NewReader(nc)
}

// patientConn gives each read and each write 20 seconds. A deadline for the whole connection would
// pass while the test waits for its turn among the parallel ones.
type patientConn struct{ net.Conn }

func (c patientConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c patientConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func expectLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("reply = %q, %v, want %q", line, err, want)
	}
}

// Ensure that Shutdown answers everything that has arrived and then closes.
func TestServer_Shutdown_Drains(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(1), Config{})
	nc, r := dialServer(t, addr)
	const n = 5000
	if _, err := io.WriteString(nc, strings.Repeat("INCR n\r\n", n)); err != nil {
		t.Fatal(err)
	}
	expectLine(t, r, ":1") // it is being served
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Fatalf("Shutdown = %v", err)
	}
	// What the server had read it answered; what follows is the end, not half a reply.
	for i := 2; ; i++ {
		line, err := r.ReadString('\n')
		if err != nil {
			if line != "" {
				t.Errorf("connection ended inside a reply: %q", line)
			}
			return
		}
		if want := fmt.Sprintf(":%d\r\n", i); line != want {
			t.Fatalf("reply %d = %q, want %q", i, line, want)
		}
	}
}

// Ensure that Shutdown gives up on clients that do not read when its context ends.
func TestServer_Shutdown_ContextEnds(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(1), Config{})
	nc, r := dialServer(t, addr)
	value := strings.Repeat("v", 1<<20)
	fmt.Fprintf(nc, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n", len(value), value)
	expectLine(t, r, "+OK")
	fmt.Fprint(nc, strings.Repeat("GET k\r\n", 64)) // 64 MiB nobody reads
	expectLine(t, r, "$1048576")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v, want context.Canceled", err)
	}
}

// Ensure that a connection above maxclients gets Redis' error and the others go on.
func TestServer_MaxClients(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, ttl.NewManual(1), Config{Settings: Settings{MaxClients: 1}})
	first, r1 := dialServer(t, addr)
	fmt.Fprint(first, "PING\r\n")
	expectLine(t, r1, "+PONG")
	_, r2 := dialServer(t, addr)
	expectLine(t, r2, "-ERR max number of clients reached")
	if _, err := r2.ReadByte(); err == nil {
		t.Error("the connection above maxclients stays open")
	}
	fmt.Fprint(first, "PING\r\n")
	expectLine(t, r1, "+PONG")
}

// Ensure that a panic in a handler costs its own connection and nothing else.
func TestServer_Panic(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(1), Config{})
	srv.table.byName["echo"].run = func(*call) error { panic("on purpose") }
	bad, rBad := dialServer(t, addr)
	good, rGood := dialServer(t, addr)
	fmt.Fprint(bad, "ECHO x\r\n")
	expectLine(t, rBad, "-"+string(errPanic))
	if _, err := rBad.ReadByte(); err == nil {
		t.Error("the connection stays open after a panic")
	}
	fmt.Fprint(good, "PING\r\n")
	expectLine(t, rGood, "+PONG")
}

// Ensure that a client that says nothing for the idle time is closed.
func TestServer_IdleTimeout(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, ttl.NewManual(1), Config{Settings: Settings{IdleTimeout: 50 * time.Millisecond}})
	_, r := dialServer(t, addr)
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("read from an idle connection = %v, want EOF", err)
	}
}

// Ensure that large commands and replies leave no memory with the connection.
func TestConn_GivesBuffersBack(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(1), Config{})
	nc, r := dialServer(t, addr)
	var held *conn
	srv.table.byName["echo"].run = func(c *call) error { held = c.conn; c.out.OK(); return nil }
	value := strings.Repeat("v", 8<<20)
	fmt.Fprintf(nc, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n", len(value), value)
	expectLine(t, r, "+OK")
	fmt.Fprint(nc, "GET k\r\n")
	expectLine(t, r, fmt.Sprintf("$%d", len(value)))
	if _, err := r.Discard(len(value) + 2); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fmt.Fprint(nc, "ECHO x\r\n")
		expectLine(t, r, "+OK")
	}
	if err := srv.Shutdown(context.Background()); err != nil { // nobody changes the buffers after it
		t.Fatal(err)
	}
	if got := held.in.Size() + cap(held.out.Bytes()); got > 16<<10 {
		t.Errorf("an idle connection holds %d bytes of buffers after a value of 8 MiB", got)
	}
}
