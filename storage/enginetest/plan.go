package enginetest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// planner makes random steps. Its clock moves with each sweep and sometimes back.
type planner struct {
	*rand.Rand
	now      ttl.Instant
	elements bool // the engine keeps them
}

// names are few, so that steps meet.
func names() []string { return []string{"", "a", "b", "ab", "\x00", "\xff"} }

func (p *planner) plan(n int) []step {
	steps := make([]step, n)
	for i := range steps {
		steps[i] = p.step()
	}
	return steps
}

func (p *planner) step() step {
	switch n := p.IntN(1000); {
	case n < 5:
		return step{verb: "reopen"}
	case n < 150:
		p.now += 1 + ttl.Instant(p.IntN(4))
		if p.IntN(20) == 0 {
			p.now = max(1, p.now-ttl.Instant(p.IntN(60)))
		}
		return step{verb: "sweep", now: p.now, budget: 1 + p.IntN(6)}
	case n < 250:
		s := step{verb: "view", scope: p.scope(3), sync: p.IntN(10) == 0}
		verbs := []string{"get", "get", "stat", "scan", "len"}
		if p.elements {
			verbs = append(verbs, "elements", "elements")
		}
		s.ops = p.ops(s.scope, verbs...)
		return s
	}
	s := step{verb: "update", scope: p.scope(6), fail: p.IntN(12) == 0, sync: p.IntN(25) == 0}
	verbs := []string{"put", "put", "put", "setdeadline", "setdeadline", "delete", "get", "stat", "scan", "len"}
	if s.scope.All {
		verbs = append(verbs, "flush", "swap", "swap")
	}
	if p.elements {
		verbs = append(verbs, elementVerbs...)
	}
	s.ops = p.ops(s.scope, verbs...)
	return s
}

// scope is Whole one time out of n.
func (p *planner) scope(n int) storage.Scope {
	if p.IntN(n) == 0 {
		return storage.Whole
	}
	var scoped storage.Scope
	for range 1 + p.IntN(4) {
		scoped.Keys = append(scoped.Keys, p.key().key())
	}
	return scoped
}

func (p *planner) key() id {
	return id{p.IntN(3), names()[p.IntN(len(names()))]}
}

func (p *planner) ops(scope storage.Scope, verbs ...string) (ops []op) {
	for range 1 + p.IntN(5) {
		o := op{
			verb:     verbs[p.IntN(len(verbs))],
			key:      p.key(),
			value:    p.value(),
			deadline: p.deadline(),
			other:    databases()[p.IntN(len(databases()))],
			limit:    1 + p.IntN(8),
		}
		// Now and then a key outside the scope stays.
		if !scope.All && p.IntN(40) != 0 {
			o.key = idOf(scope.Keys[p.IntN(len(scope.Keys))])
		}
		if p.elements {
			o.element, o.to = names()[p.IntN(len(names()))], p.key()
			if !scope.All {
				o.to = idOf(scope.Keys[p.IntN(len(scope.Keys))])
			}
		}
		ops = append(ops, o)
	}
	return ops
}

func (p *planner) value() string {
	switch p.IntN(30) {
	case 0:
		return ""
	case 1:
		return strings.Repeat("long ", 4000)
	}
	return fmt.Sprint(p.IntN(1000))
}

func (p *planner) deadline() ttl.Instant {
	switch p.IntN(20) {
	case 0, 1, 2:
		return ttl.Never
	case 3:
		return ttl.Latest
	}
	return max(1, p.now+ttl.Instant(p.IntN(44))-4)
}
