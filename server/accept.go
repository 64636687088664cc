package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"math"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// backoff slows an accept loop down while accepting fails, for example when the process has no file
// descriptors left. It logs some of the failures.
type backoff struct{ pause time.Duration }

func (b *backoff) reset() { b.pause = 0 }

func (b *backoff) wait(s *Server, err error) {
	if b.pause == 0 && s.acceptWarning.due() {
		s.log.Error("cannot accept connections; trying again", "err", err)
	}
	b.pause = min(max(2*b.pause, 5*time.Millisecond), time.Second)
	_ = ttl.System.Sleep(context.Background(), b.pause) // cannot be cancelled
}

// storeFiles is how many open files are reserved for the store at most. It never needs more. If the
// process may open fewer than twice as many, the store gets half of them.
const storeFiles = 1100

// socketLimit returns how many clients fit into the limit of open files.
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
