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

// stats holds the counters of INFO. It is safe for concurrent use.
type stats struct {
	accepted   atomic.Int64 // connections
	turnedAway atomic.Int64 // connections above maxclients
	// Clients that were cut because they exceeded a limit.
	queryLimit, outputLimit atomic.Int64

	denied     [acl.Denials]atomic.Int64 // by the ACL
	perCommand []commandStats            // by command.id
	totals     totals
	rates      rates
	mostMemory atomic.Uint64 // the largest memory in use at any sample
	expired    atomic.Int64  // the keyspace's count at the last CONFIG RESETSTAT

	saving     atomic.Bool // a BGSAVE is under way
	saveFailed atomic.Bool // the latest BGSAVE failed

	mu     sync.Mutex
	errors map[string]int64 // error replies by their first word
}

type commandStats struct {
	calls, rejected, failed atomic.Int64
}

func newStats(commands int) *stats {
	return &stats{perCommand: make([]commandStats, commands), errors: map[string]int64{}}
}

func (s *stats) failed(cmd *command) { s.perCommand[cmd.id].failed.Add(1) }

// rejected counts a command that a gate refused. cmd is nil if the command does not exist.
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

// errorCount is the number of error replies that begin with one word.
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

// sample updates the rates and the largest memory in use, at most ten times a second.
func (s *stats) sample(now ttl.Instant) {
	if s.rates.sample(now, &s.totals) {
		used, _ := memoryInUse()
		s.raiseMostMemory(used)
	}
}

func (s *stats) raiseMostMemory(used uint64) {
	for old := s.mostMemory.Load(); used > old && !s.mostMemory.CompareAndSwap(old, used); old = s.mostMemory.Load() {
	}
}

// reset sets the counters to zero for CONFIG RESETSTAT, except the largest memory in use, as in Redis.
// expired is the present count of the keyspace.
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
