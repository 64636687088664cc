package server

import (
	"strings"
	"sync"

	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/ttl"
)

const (
	// aclLogSize is Redis' default of acllog-max-len.
	aclLogSize = 128
	// aclLogGroup is how long like events are counted in one entry, in milliseconds, and
	// aclLogNear how many of the latest entries are looked at for one. They are Redis'.
	aclLogGroup = 60_000
	aclLogNear  = 10
	// aclLogText bounds a name in an entry, in bytes. Redis keeps all of it.
	aclLogText = 1 << 10
)

// aclEvent is what ACL LOG tells about a refusal. It never holds a password.
type aclEvent struct {
	why    denial
	multi  bool   // in a transaction, rather than on its own
	object string // the command, the key, or AUTH as it was spelled
	user   string
}

type aclEntry struct {
	aclEvent
	count  int64
	at     ttl.Instant // of the latest
	client string
}

// aclLog holds the latest refusals. It is safe for concurrent use.
type aclLog struct {
	mu      sync.Mutex
	entries []aclEntry // the latest first
}

// add counts an event in the entry of like ones, which becomes the first, or makes one.
func (l *aclLog) add(event aclEvent, now ttl.Instant, client string) {
	event.object = clip(event.object, aclLogText)
	event.user = clip(event.user, aclLogText)
	l.mu.Lock()
	defer l.mu.Unlock()
	entry, place := aclEntry{aclEvent: event}, len(l.entries)
	for i := range min(aclLogNear, len(l.entries)) {
		if like := &l.entries[i]; like.aclEvent == event && now-like.at <= aclLogGroup {
			entry, place = *like, i
			break
		}
	}
	entry.count++
	entry.at, entry.client = now, client
	switch {
	case place == aclLogSize:
		place--
	case place == len(l.entries):
		l.entries = append(l.entries, aclEntry{})
	}
	copy(l.entries[1:], l.entries[:place])
	l.entries[0] = entry
}

// clip copies at most limit bytes, so that a large argument does not stay in memory.
func clip(text string, limit int) string { return strings.Clone(text[:min(len(text), limit)]) }

func (l *aclLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}

// latest returns at most n entries.
func (l *aclLog) latest(n int) []aclEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]aclEntry(nil), l.entries[:min(n, len(l.entries))]...)
}

// writeTo appends an entry to a reply. The context is Redis' word for where it happened.
func (e *aclEntry) writeTo(w *resp.Writer, now ttl.Instant) {
	context := "toplevel"
	if e.multi {
		context = "multi"
	}
	w.Map(7)
	w.BulkString("count")
	w.Int(e.count)
	w.BulkString("reason")
	w.BulkString(e.why.reason())
	w.BulkString("context")
	w.BulkString(context)
	w.BulkString("object")
	w.BulkString(e.object)
	w.BulkString("username")
	w.BulkString(e.user)
	w.BulkString("age-seconds")
	w.Double(float64(max(0, now-e.at)) / 1000)
	w.BulkString("client-info")
	w.BulkString(e.client)
}
