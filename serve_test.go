package sessiond_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
)

// Ensure that the program and its Redis clients see the same sessions, on every listener.
func TestStore_Serve(t *testing.T) {
	t.Parallel()
	s, clock := open(t, sessiond.Options{Databases: 2})
	one, two := listen(t), listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(one, two) }()

	if err := s.DB(1).Set(t.Context(), "k", []byte("embedded"), time.Minute); err != nil {
		t.Fatal(err)
	}
	ask(t, one, "SELECT 1\r\nGET k\r\nPTTL k\r\n", "+OK\r\n$8\r\nembedded\r\n:60000\r\n")
	ask(t, two, "SET k wire PX 5\r\nSELECT 2\r\n", "+OK\r\n-ERR DB index is out of range\r\n")
	if got, found, err := s.DB(0).Get(t.Context(), "k"); err != nil || !found || string(got) != "wire" {
		t.Errorf("Get = %q, %v, %v", got, found, err)
	}
	clock.Advance(5 * time.Millisecond)
	ask(t, one, "GET k\r\n", "$-1\r\n")

	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, sessiond.ErrServerClosed) {
		t.Errorf("Serve = %v, want ErrServerClosed", err)
	}
	if _, err := net.Dial("tcp", one.Addr().String()); err == nil {
		t.Error("the port is open after Shutdown")
	}
	if _, found, err := s.DB(1).Get(t.Context(), "k"); err != nil || !found {
		t.Errorf("Get after Shutdown = %v, %v, want the session", found, err)
	}
}

// Ensure that the options reach the clients.
func TestStore_Serve_Options(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	s, _ := open(t, sessiond.Options{
		Password: "secret", MaxClients: 7, IdleTimeout: time.Minute, Durability: sessiond.Strict,
		OnShutdown: func() { close(asked) },
	})
	ln := listen(t)
	go func() { _ = s.Serve(ln) }() // ends with Close
	ask(t, ln, "GET k\r\n", "-NOAUTH Authentication required.\r\n")
	ask(t, ln, "AUTH secret\r\nCONFIG GET maxclients\r\nCONFIG GET timeout\r\nCONFIG GET appendfsync\r\n",
		"+OK\r\n*2\r\n$10\r\nmaxclients\r\n$1\r\n7\r\n*2\r\n$7\r\ntimeout\r\n$2\r\n60\r\n*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n")
	ask(t, ln, "AUTH secret\r\nSHUTDOWN\r\n", "")
	<-asked
}

// Ensure that clients can change the durability while the store is used, inside a transaction
// that holds records, too.
func TestStore_Serve_ConfigDurability(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{Durability: sessiond.EverySec})
	ln := listen(t)
	go func() { _ = s.Serve(ln) }() // ends with Close
	ask(t, ln, "SET k v\r\nCONFIG SET appendfsync always\r\nCONFIG GET durability\r\n",
		"+OK\r\n+OK\r\n*2\r\n$10\r\ndurability\r\n$6\r\nstrict\r\n")
	if err := s.DB(0).Set(t.Context(), "k", []byte("w"), time.Minute); err != nil {
		t.Error(err)
	}
	ask(t, ln, "MULTI\r\nSET k x\r\nCONFIG SET durability session\r\nGET k\r\nFLUSHALL\r\nEXEC\r\nCONFIG GET durability\r\n",
		"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n+OK\r\n$1\r\nx\r\n+OK\r\n*2\r\n$10\r\ndurability\r\n$7\r\nsession\r\n")
}

// Ensure that clients change the level of a log whose level was handed over, and no other's.
func TestStore_Serve_ConfigLogLevel(t *testing.T) {
	t.Parallel()
	var level slog.LevelVar
	s, _ := open(t, sessiond.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: &level})), LogLevel: &level,
	})
	ln := listen(t)
	go func() { _ = s.Serve(ln) }() // ends with Close
	ask(t, ln, "CONFIG SET loglevel WARNING timeout x\r\n",
		"-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer\r\n")
	if level.Level() != slog.LevelInfo {
		t.Errorf("the level is %v after a CONFIG SET that failed, want INFO", level.Level())
	}
	ask(t, ln, "CONFIG SET loglevel WARNING\r\nCONFIG GET loglevel\r\n",
		"+OK\r\n*2\r\n$8\r\nloglevel\r\n$7\r\nwarning\r\n")
	if level.Level() != slog.LevelWarn {
		t.Errorf("the level is %v, want WARN", level.Level())
	}

	fixed, _ := open(t, sessiond.Options{})
	ln = listen(t)
	go func() { _ = fixed.Serve(ln) }() // ends with Close
	ask(t, ln, "CONFIG SET loglevel warning\r\nCONFIG SET loglevel debug\r\nCONFIG GET loglevel\r\n",
		"+OK\r\n-ERR CONFIG SET failed (possibly related to argument 'loglevel') - the log is that of the program that serves, which keeps its level\r\n*2\r\n$8\r\nloglevel\r\n$7\r\nwarning\r\n")
}

// Ensure that a listener that fails ends Serve with its error and closes the others.
func TestStore_Serve_ListenerFails(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{})
	if err := s.Serve(); err == nil {
		t.Error("Serve took no listener")
	}
	good, bad := listen(t), listen(t)
	if err := bad.Close(); err != nil {
		t.Fatal(err)
	}
	hang := time.AfterFunc(20*time.Second, func() { _ = s.Close() }) // a Serve that waits for good fails
	defer hang.Stop()
	if err := s.Serve(good, bad); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v, want %v", err, net.ErrClosed)
	}
	if _, err := good.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the other listener: %v, want %v", err, net.ErrClosed)
	}
	again := listen(t)
	go func() { _ = s.Serve(again) }() // ends with Close
	ask(t, again, "PING\r\n", "+PONG\r\n")
}

// Ensure that Shutdown before Serve, and twice, is harmless.
func TestStore_Shutdown_Idle(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := errors.Join(s.Shutdown(ctx), s.Shutdown(ctx)); err != nil {
		t.Error(err)
	}
	if err := s.Serve(listen(t)); !errors.Is(err, sessiond.ErrServerClosed) {
		t.Errorf("Serve = %v, want ErrServerClosed", err)
	}
}

// Ensure that the names of the modes lead back to them.
func TestParseDurability(t *testing.T) {
	t.Parallel()
	for _, d := range []sessiond.Durability{sessiond.Session, sessiond.Strict, sessiond.EverySec} {
		if got, err := sessiond.ParseDurability(d.String()); err != nil || got != d {
			t.Errorf("ParseDurability(%q) = %v, %v", d, got, err)
		}
	}
	for _, name := range []string{"", "always", "Session", "Durability(3)"} {
		if got, err := sessiond.ParseDurability(name); err == nil {
			t.Errorf("ParseDurability(%q) = %v", name, got)
		}
	}
}
