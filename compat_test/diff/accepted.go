package diff

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// Accepted is the list of differences that are meant, each with its reason. It is safe for
// concurrent use; nil accepts nothing.
type Accepted struct {
	mu      sync.Mutex
	entries []*acceptedEntry
}

// acceptedEntry relaxes the rule for lines that begin with its words.
type acceptedEntry struct {
	rule   Rule
	words  []string // lower case
	reason string
	used   bool
}

// ReadAccepted reads a list. Each line has a rule (shape, any, except(field,field)), the
// words a command begins with, and after "--" the reason:
//
//	shape  MEMORY USAGE  -- The two servers keep keys in different ways.
func ReadAccepted(path string) (*Accepted, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	a := &Accepted{}
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		e, err := parseAccepted(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		a.entries = append(a.entries, e)
	}
	return a, nil
}

func parseAccepted(line string) (*acceptedEntry, error) {
	pattern, reason, ok := strings.Cut(line, " -- ")
	words := strings.Fields(strings.ToLower(pattern))
	if reason = strings.TrimSpace(reason); !ok || reason == "" || len(words) < 2 {
		return nil, fmt.Errorf("want: rule words -- reason")
	}
	e := &acceptedEntry{words: words[1:], reason: reason}
	switch name := words[0]; {
	case name == "shape":
		e.rule = Rule{kind: shape}
	case name == "any":
		e.rule = Rule{kind: anyway}
	case strings.HasPrefix(name, "except(") && strings.HasSuffix(name, ")"):
		e.rule = Rule{kind: except, fields: strings.Split(name[len("except("):len(name)-1], ",")}
	default:
		return nil, fmt.Errorf("no such rule: %s", name)
	}
	return e, nil
}

// allows reports whether an entry accepts the difference, and remembers that it was used.
func (a *Accepted) allows(args []string, oracle, subject string) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.entries {
		if e.matches(args) && e.rule.equal(oracle, subject) {
			e.used = true
			return true
		}
	}
	return false
}

func (e *acceptedEntry) matches(args []string) bool {
	if len(args) < len(e.words) {
		return false
	}
	for i, w := range e.words {
		if !strings.EqualFold(w, args[i]) {
			return false
		}
	}
	return true
}

// Unused returns the entries that accepted nothing, which say something untrue by now.
func (a *Accepted) Unused() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var unused []string
	for _, e := range a.entries {
		if !e.used {
			unused = append(unused, fmt.Sprintf("%s %s -- %s", e.rule, strings.Join(e.words, " "), e.reason))
		}
	}
	return unused
}
