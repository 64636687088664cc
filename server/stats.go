package server

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/ttl"
)

// stats counts what INFO tells. It is safe for concurrent use.
type stats struct {
	accepted   atomic.Int64 // connections
	turnedAway atomic.Int64 // connections above maxclients
	// Clients that were cut because they held more than they may.
	queryLimit, outputLimit atomic.Int64

	denied     [acl.Denials]atomic.Int64 // by the ACL
	perCommand []commandStats            // by command.id
	totals     totals
	rates      rates
	mostMemory atomic.Uint64 // the most that was in use whenever a rate was sampled
	expired    atomic.Int64  // what the keyspace had counted at the last CONFIG RESETSTAT

	saving     atomic.Bool // a BGSAVE is under way
	saveFailed atomic.Bool // the latest one did not succeed

	mu     sync.Mutex
	errors map[string]int64 // error replies by their first word; the words are our own
}

type commandStats struct {
	calls, rejected, failed atomic.Int64
}

func newStats(commands int) *stats {
	return &stats{perCommand: make([]commandStats, commands), errors: map[string]int64{}}
}

func (s *stats) failed(cmd *command) { s.perCommand[cmd.id].failed.Add(1) }

// rejected counts a command a gate refused; cmd is nil if it does not exist.
func (s *stats) rejected(cmd *command) {
	if cmd != nil {
		s.perCommand[cmd.id].rejected.Add(1)
	}
}

// erred counts an error reply.
func (s *stats) erred(reply replyError) {
	code, _, _ := strings.Cut(string(reply), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errors[code]++
}

// errorCount is how often replies began with one word.
type errorCount struct {
	code  string
	count int64
}

// errorCounts returns the error replies by code, in the order of the codes.
func (s *stats) errorCounts() (counts []errorCount, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, code := range slices.Sorted(maps.Keys(s.errors)) {
		counts = append(counts, errorCount{code, s.errors[code]})
		total += s.errors[code]
	}
	return counts, total
}

// sample takes what INFO tells of the last moments, at most ten times a second.
func (s *stats) sample(now ttl.Instant) {
	if s.rates.sample(now, &s.totals) {
		used, _ := memoryInUse()
		s.noteMemory(used)
	}
}

func (s *stats) noteMemory(used uint64) {
	for old := s.mostMemory.Load(); used > old && !s.mostMemory.CompareAndSwap(old, used); old = s.mostMemory.Load() {
	}
}

// reset sets the counters back to zero: CONFIG RESETSTAT. Like Redis it leaves the most memory
// that was in use. Expired is what the keyspace has counted.
func (s *stats) reset(now ttl.Instant, expired int64) {
	s.totals.reset()
	s.rates.reset(now)
	s.expired.Store(expired)
	s.accepted.Store(0)
	s.turnedAway.Store(0)
	s.queryLimit.Store(0)
	s.outputLimit.Store(0)
	for i := range s.denied {
		s.denied[i].Store(0)
	}
	for i := range s.perCommand {
		s.perCommand[i].calls.Store(0)
		s.perCommand[i].rejected.Store(0)
		s.perCommand[i].failed.Store(0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.errors)
}
