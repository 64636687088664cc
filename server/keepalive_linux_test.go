package server

import (
	"io"
	"math"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// probes is how the system probes a connection: whether at all, after what silence, with what time
// between, and how often, in seconds.
type probes struct{ on, idle, interval, count int }

// probesOf returns the probes of the server's newest connection.
func probesOf(t *testing.T, srv *Server) (p probes) {
	t.Helper()
	clients := srv.clients(nil)
	nc := clients[len(clients)-1].net
	if s, ok := nc.(secured); ok {
		nc = s.NetConn()
	}
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for _, option := range []struct {
			level, name int
			to          *int
		}{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, &p.on}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, &p.idle},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, &p.interval}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, &p.count},
		} {
			n, err := syscall.GetsockoptInt(int(fd), option.level, option.name)
			if err != nil {
				t.Errorf("option %d: %v", option.name, err)
			}
			*option.to = n
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Ensure that a silent client is probed as Redis probes it, whatever is given at the start, one
// over TLS, too.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	for given, want := range map[time.Duration]probes{
		0:                       {1, 300, 100, 3},
		time.Minute:             {1, 60, 20, 3},
		1500 * time.Millisecond: {1, 2, 1, 3},
		time.Second:             {1, 1, 1, 3},
		math.MaxInt64:           {1, 32767, 10922, 3},
	} {
		srv, addr := startServer(t, ttl.NewManual(1), Config{Settings: Settings{TCPKeepAlive: given}})
		nc, r := dialServer(t, addr)
		ask(t, nc, r, "ping")
		if got := probesOf(t, srv); got != want {
			t.Errorf("%v: %+v, want %+v", given, got, want)
		}
	}
	srv, addr := startServer(t, ttl.NewManual(1), Config{Settings: Settings{TCPKeepAlive: -1}})
	nc, r := dialServer(t, addr)
	ask(t, nc, r, "ping")
	if got := probesOf(t, srv); got.on != 0 {
		t.Errorf("never: %+v", got)
	}
	srv, _, encrypted := startTLS(t, Config{Settings: Settings{TCPKeepAlive: time.Minute}})
	secret, _ := dialServer(t, encrypted)
	if _, err := io.WriteString(encrypt(secret), "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, want := probesOf(t, srv), (probes{1, 60, 20, 3}); got != want {
		t.Errorf("over TLS: %+v, want %+v", got, want)
	}
}

// Ensure that CONFIG SET tcp-keepalive applies to new connections, and that a Unix socket works with
// it.
func TestKeepAlive_ConfigSet(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(1), Config{})
	first, r := dialServer(t, addr)
	for _, seconds := range []string{"0", "60"} {
		ask(t, first, r, "config set tcp-keepalive "+seconds)
		if got, want := probesOf(t, srv), (probes{1, 300, 100, 3}); seconds == "0" && got != want {
			t.Errorf("a client that was there: %+v, want %+v", got, want)
		}
		nc, nr := dialServer(t, addr)
		ask(t, nc, nr, "ping")
		if got := probesOf(t, srv); (got.on != 0) != (seconds != "0") || got.on != 0 && got != (probes{1, 60, 20, 3}) {
			t.Errorf("with %s: %+v", seconds, got)
		}
	}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }() // ends with the server
	unix, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	if _, err := io.WriteString(unix, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, len("+PONG\r\n"))
	if _, err := io.ReadFull(unix, reply); err != nil || string(reply) != "+PONG\r\n" {
		t.Errorf("PING over a Unix socket = %q, %v", reply, err)
	}
}
