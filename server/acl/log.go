package acl

import (
	"strings"
	"sync"

	"github.com/sessiond/sessiond/ttl"
)

const (
	// LogSize is how many entries a Log holds: Redis' default of acllog-max-len.
	LogSize = 128
	// logGroup is how long equal events are counted in one entry, in milliseconds. logNear is how
	// many of the latest entries are searched for an equal event. Both are Redis'.
	logGroup = 60_000
	logNear  = 10
	// logText limits a name in an entry, in bytes. Redis has no such limit.
	logText = 1 << 10
)

// Event is what ACL LOG says about a refusal. It never holds a password.
type Event struct {
	Why    Denial
	Multi  bool   // the command was part of a transaction
	Object string // the command, the key, or AUTH as the client spelled it
	User   string
}

// Entry is an entry of a Log. It counts equal events.
type Entry struct {
	Event
	Count  int64       // number of events
	At     ttl.Instant // instant of the latest event
	Client string      // client of the latest event, as CLIENT LIST describes it
}

// Log holds the latest refusals. The zero Log is empty. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	entries []Entry // the latest first
}

// Add counts an event in the entry of equal events, or in a new one. The entry becomes the first.
func (l *Log) Add(event Event, now ttl.Instant, client string) {
	event.Object = clip(event.Object, logText)
	event.User = clip(event.User, logText)
	l.mu.Lock()
	defer l.mu.Unlock()
	entry, at := Entry{Event: event}, len(l.entries)
	for i := range min(logNear, len(l.entries)) {
		if like := &l.entries[i]; like.Event == event && now-like.At <= logGroup {
			entry, at = *like, i
			break
		}
	}
	entry.Count++
	entry.At, entry.Client = now, client
	switch {
	case at == LogSize:
		at--
	case at == len(l.entries):
		l.entries = append(l.entries, Entry{})
	}
	copy(l.entries[1:], l.entries[:at])
	l.entries[0] = entry
}

// clip copies at most limit bytes, so that the log does not keep a large argument in memory.
func clip(text string, limit int) string { return strings.Clone(text[:min(len(text), limit)]) }

// Reset empties the log.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}

// Latest returns at most n entries, the latest first.
func (l *Log) Latest(n int) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Entry(nil), l.entries[:min(n, len(l.entries))]...)
}
