package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"math"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// backoff slows an accept loop down while accepting fails, out of file descriptors for
// example, and logs a failure now and then.
type backoff struct{ pause time.Duration }

func (b *backoff) reset() { b.pause = 0 }

func (b *backoff) wait(s *Server, err error) {
	if b.pause == 0 && s.acceptWarning.due() {
		s.log.Error("cannot accept connections; trying again", "err", err)
	}
	b.pause = min(max(2*b.pause, 5*time.Millisecond), time.Second)
	_ = ttl.System.Sleep(context.Background(), b.pause) // cannot be cancelled
}

// storeFiles is how many of the files a process may open are kept for the store, which
// cannot go on without them: half of them, but not more than it ever needs.
const storeFiles = 1100

// socketLimit returns how many clients the process has files for.
func socketLimit(files int) int {
	if files == 0 {
		return math.MaxInt
	}
	return max(files-min(files/2, storeFiles), 1)
}

// limitClients lowers maxclients to what the limit of open files allows, as Redis does.
func (s *Server) limitClients(settings *Settings) {
	if settings.MaxClients <= s.sockets {
		return
	}
	s.log.Warn("maxclients was lowered: the limit of open files is too low for it",
		"asked", settings.MaxClients, "now", s.sockets, "files", openFiles())
	settings.MaxClients = s.sockets
}

// newRunID returns 40 random hexadecimal digits: INFO's run_id.
func newRunID() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
