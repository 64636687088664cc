package pebble

import (
	"log/slog"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/ttl"
)

// stallSilence is how long nothing more is said of stalls that come and go.
const stallSilence = 10 * time.Second

// stalls tells that changes wait because Pebble's tables in memory are full, or too many wait
// on the disk to be merged. A client that writes then hears nothing until there is room. A
// busy disk makes it wait for moments; one on which nothing can be flushed, for ever. Pebble
// calls it with a lock held, one call at a time.
type stalls struct {
	logger *slog.Logger
	clock  ttl.Clock
	begun  ttl.Instant
	told   bool        // of the stall that began then
	quiet  ttl.Instant // when the silence ends
}

// listen makes l tell of stalls.
func (s *stalls) listen(l *pebbledb.EventListener) {
	l.WriteStallBegin, l.WriteStallEnd = s.begin, s.end
}

func (s *stalls) begin(info pebbledb.WriteStallBeginInfo) {
	s.begun = s.clock.Now()
	left := s.quiet.Sub(s.begun)
	if s.told = left <= 0 || left > stallSilence; s.told { // more if the clock stepped back
		s.quiet = s.begun.Add(stallSilence)
		s.logger.Warn("changes wait until the store has flushed or compacted", "reason", info.Reason)
	}
}

func (s *stalls) end() {
	if s.told {
		s.logger.Warn("changes wait no longer", "after", s.clock.Now().Sub(s.begun))
	}
}
