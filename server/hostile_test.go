package server

import (
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that a client that has not logged in in time is cut, whether it is silent, sends a
// byte now and then, or keeps the server busy with wrong passwords.
func TestServer_LoginTime(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	_, addr := startServer(t, ttl.NewManual(1), Config{Settings: Settings{Password: "right"}, loginTime: limit})
	authenticated, r := dialServer(t, addr)
	if _, err := io.WriteString(authenticated, "AUTH right\r\n"); err != nil {
		t.Fatal(err)
	}
	expectLine(t, r, "+OK")
	for name, attack := range map[string]func(io.Writer) error{
		"silence": func(io.Writer) error { return nil },
		"dribble": func(w io.Writer) error {
			for {
				if _, err := io.WriteString(w, "x"); err != nil {
					return nil // cut
				}
				time.Sleep(time.Millisecond) // the pace of the attack
			}
		},
		"guesses": func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat("AUTH wrong\r\n", 100))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			nc, r := dialServer(t, addr)
			if err := attack(nc); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, r) // up to the end, which may be a reset
			// A penalty that has begun is served.
			if took := time.Since(begin); took < limit-50*time.Millisecond || took > limit+2*maxPenalty {
				t.Errorf("cut after %v, want %v", took, limit)
			}
		})
	}
	t.Cleanup(func() { // t.Fatal would end it without a word
		_, err := io.WriteString(authenticated, "PING\r\n")
		line, readErr := r.ReadString('\n')
		if line != "+PONG\r\n" {
			t.Errorf("PING after the attacks = %q, %v", line, errors.Join(err, readErr))
		}
	})
}

// Ensure that clients leave the store the files it needs.
func TestSocketLimit(t *testing.T) {
	t.Parallel()
	for files, want := range map[int]int{0: math.MaxInt, 1: 1, 256: 128, 1024: 512, 4096: 2996, 65536: 64436} {
		if got := socketLimit(files); got != want {
			t.Errorf("socketLimit(%d) = %d, want %d", files, got, want)
		}
	}
}

// Ensure that all clients together hold no more memory than allowed, of any kind, that small commands
// are served meanwhile, and that all of the memory is given back.
func TestServer_ClientMemory(t *testing.T) {
	t.Parallel()
	const memory, most = 8 << 20, 6 // of the clients below, so many fit
	attacks := map[string]string{
		"commands":     "*2\r\n$4\r\nECHO\r\n$2000000\r\n" + strings.Repeat("x", 1<<20+1),
		"replies":      encode(append([]string{"MGET"}, strings.Fields(strings.Repeat("big ", 24))...)),
		"transactions": "MULTI\r\n" + encode([]string{"ECHO", strings.Repeat("x", 700_000)}) + encode([]string{"ECHO", strings.Repeat("x", 700_000)}),
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, addr := startServer(t, ttl.NewManual(1), Config{clientMemory: memory})
			authenticated, r := dialServer(t, addr)
			if _, err := io.WriteString(authenticated, encode([]string{"SET", "big", strings.Repeat("v", 700_000)})); err != nil {
				t.Fatal(err)
			}
			expectLine(t, r, "+OK")
			var crowd []net.Conn
			for range 4 * most {
				nc, _ := dialServer(t, addr)
				_, _ = io.WriteString(nc, attack) // it may be cut before the end
				crowd = append(crowd, nc)
			}
			poll(t, "clients are cut", func() bool { return srv.stats.queryLimit.Load()+srv.stats.outputLimit.Load() >= 4*most-most-2 })
			if left := srv.authenticated.left.Load(); left < 0 || left > memory {
				t.Errorf("%d bytes are left of %d", left, memory)
			}
			if _, err := io.WriteString(authenticated, "PING\r\n"); err != nil {
				t.Fatal(err)
			}
			expectLine(t, r, "+PONG")
			for _, nc := range crowd {
				_ = nc.Close()
			}
			poll(t, "everything is given back", func() bool { return srv.authenticated.left.Load() == memory })
		})
	}
}

// poll waits for what connections of a real server do in their own time.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 20s it is not true that %s", what)
		}
		time.Sleep(time.Millisecond) // polling
	}
}
