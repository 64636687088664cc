package enginetest

import (
	"fmt"
	"strings"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// step is one thing done to both engines. It holds every choice, so that it is the same
// each time it is done.
type step struct {
	verb   string // view, update, sweep or reopen
	scope  storage.Scope
	ops    []op
	fail   bool // the update ends with an error
	sync   bool // the barrier is passed to Sync
	now    ttl.Instant
	budget int
}

// op is one call inside a view or an update.
type op struct {
	verb     string // the method, in lower case
	key      id     // of scan, len, flush and swap only the database counts
	value    string
	deadline ttl.Instant
	other    int // the second database of swap
	limit    int // of scan
	element  string
	to       id // of moveelements
}

func describe(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "%4d  %v\n", i, s)
	}
	return b.String()
}

func (s step) String() string {
	switch s.verb {
	case "sweep":
		return fmt.Sprintf("sweep at %d, budget %d", s.now, s.budget)
	case "reopen":
		return "reopen"
	}
	scoped := "of everything"
	if !s.scope.All {
		var names []string
		for _, k := range s.scope.Keys {
			names = append(names, idOf(k).String())
		}
		scoped = "of " + strings.Join(names, " ")
	}
	text := s.verb + " " + scoped
	for _, o := range s.ops {
		text += "\n        " + o.String()
	}
	if s.fail {
		text += "\n        fail"
	}
	return text
}

func (o op) String() string {
	switch o.verb {
	case "put":
		return fmt.Sprintf("put %v = %.40q until %d", o.key, o.value, o.deadline)
	case "setdeadline":
		return fmt.Sprintf("setdeadline %v %d", o.key, o.deadline)
	case "scan":
		return fmt.Sprintf("scan %d, limit %d", o.key.db, o.limit)
	case "len", "flush":
		return fmt.Sprintf("%s %d", o.verb, o.key.db)
	case "swap":
		return fmt.Sprintf("swap %d %d", o.key.db, o.other)
	case "setvalue":
		return fmt.Sprintf("setvalue %v = %.40q", o.key, o.value)
	case "putelement", "deleteelement":
		return fmt.Sprintf("%s %v %q = %.40q", o.verb, o.key, o.element, o.value)
	case "moveelements":
		return fmt.Sprintf("moveelements %v to %v", o.key, o.to)
	}
	return fmt.Sprintf("%s %v", o.verb, o.key)
}
