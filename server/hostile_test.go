package server

import (
	"io"
	"math"
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
	member, r := dialServer(t, addr)
	if _, err := io.WriteString(member, "AUTH right\r\n"); err != nil {
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
	t.Cleanup(func() {
		if _, err := io.WriteString(member, "PING\r\n"); err != nil {
			t.Fatal(err)
		}
		expectLine(t, r, "+PONG")
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
