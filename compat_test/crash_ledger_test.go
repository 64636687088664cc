package compat_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// record is what the ledger knows of a live key. The deadline lies between lo and hi, in
// Unix milliseconds: a relative one is known only to the time its command was under way,
// until a reply tells it. Zero means no deadline.
type record struct {
	value  string
	lo, hi int64
}

func (r record) String() string {
	if r.hi == 0 {
		return fmt.Sprintf("%.12q without deadline", r.value)
	}
	return fmt.Sprintf("%.12q until %d..%d", r.value, r.lo, r.hi)
}

// world is one state the keys of a connection may be in: the live records by key.
type world map[string]record

// span is the time a command was under way, in Unix milliseconds of this machine's clock.
// The server read the time somewhere in it, ends included.
type span struct{ from, to int64 }

// since begins a span.
func (l *ledger) since() span { return span{from: time.Now().UnixMilli() - l.afterlife} }

// until ends a span.
func (s span) until() span { return span{s.from, time.Now().UnixMilli()} }

// at returns the worlds that w may be when a command looks at keys in the course of s:
// two for each key whose deadline may or may not be due, the one with more records first.
func (w world) at(s span, keys []string) []world {
	worlds := []world{maps.Clone(w)}
	for _, k := range keys {
		r, found := w[k]
		if !found || r.hi == 0 || r.lo > s.to {
			continue
		}
		surelyDue := r.hi <= s.from
		for i := range worlds {
			if surelyDue {
				delete(worlds[i], k)
				continue
			}
			without := maps.Clone(worlds[i])
			delete(without, k)
			worlds = append(worlds, without)
		}
	}
	return worlds
}

// step is one command of the load, or the commands of one transaction.
type step struct {
	commands [][]string
	tx       bool
}

// request returns the bytes of the step.
func (s step) request() string {
	var b strings.Builder
	if s.tx {
		b.WriteString(proc.Command("MULTI"))
	}
	for _, c := range s.commands {
		b.WriteString(proc.Command(c...))
	}
	if s.tx {
		b.WriteString(proc.Command("EXEC"))
	}
	return b.String()
}

// replies returns how many replies the step gets.
func (s step) replies() int {
	if s.tx {
		return len(s.commands) + 2
	}
	return 1
}

func (s step) keys() []string {
	var keys []string
	for _, c := range s.commands {
		if c[0] == "FLUSHDB" {
			continue // due or not, all go
		}
		keys = append(keys, c[1])
		if c[0] == "RENAME" {
			keys = append(keys, c[2])
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// outcome is a world after a step, and the bytes that would have told of it.
type outcome struct {
	world world
	reply string
}

// outcomes returns everything the step may have done to w.
func (s step) outcomes(w world, under span) []outcome {
	var out []outcome
	for _, after := range w.at(under, s.keys()) {
		var replies strings.Builder
		if s.tx {
			replies.WriteString("+OK\r\n" + strings.Repeat("+QUEUED\r\n", len(s.commands)))
			fmt.Fprintf(&replies, "*%d\r\n", len(s.commands))
		}
		for _, c := range s.commands {
			replies.WriteString(after.run(c, under))
		}
		out = append(out, outcome{after, replies.String()})
	}
	return out
}

// run changes w as Redis would and returns Redis' reply. Keys that are due were removed.
func (w world) run(args []string, under span) string {
	if args[0] == "FLUSHDB" {
		clear(w)
		return "+OK\r\n"
	}
	key := args[1]
	r, found := w[key]
	switch args[0] {
	case "SET":
		return w.set(key, args[2], args[3:], under)
	case "SETEX":
		return w.set(key, args[3], []string{"EX", args[2]}, under)
	case "PSETEX":
		return w.set(key, args[3], []string{"PX", args[2]}, under)
	case "GET":
		return bulkOrNil(r.value, found)
	case "GETDEL":
		delete(w, key)
		return bulkOrNil(r.value, found)
	case "DEL":
		delete(w, key)
		return oneIf(found)
	case "GETEX":
		if found {
			w.move(key, args[2:], under)
		}
		return bulkOrNil(r.value, found)
	case "EXPIRE", "PEXPIRE", "PEXPIREAT":
		if found {
			unit := map[string]string{"EXPIRE": "EX", "PEXPIRE": "PX", "PEXPIREAT": "PXAT"}[args[0]]
			w.move(key, []string{unit, args[2]}, under)
		}
		return oneIf(found)
	case "PERSIST":
		if found && r.hi != 0 {
			w[key] = record{value: r.value}
			return oneIf(true)
		}
		return oneIf(false)
	case "INCR":
		n, _ := strconv.Atoi(r.value) // a counter, or absent
		w[key] = record{strconv.Itoa(n + 1), r.lo, r.hi}
		return fmt.Sprintf(":%d\r\n", n+1)
	case "RENAME":
		if !found {
			return "-ERR no such key\r\n"
		}
		delete(w, key)
		w[args[2]] = r
		return "+OK\r\n"
	}
	panic("the ledger does not know " + args[0])
}

func (w world) set(key, value string, options []string, under span) string {
	old, found := w[key]
	switch {
	case len(options) > 0 && options[0] == "NX":
		if found {
			return "$-1\r\n"
		}
		options = options[1:]
	case len(options) > 0 && options[0] == "XX": // always with KEEPTTL
		if !found {
			return "$-1\r\n"
		}
		w[key] = record{value, old.lo, old.hi}
		return "+OK\r\n"
	}
	w[key] = record{value: value}
	if len(options) > 0 {
		w.move(key, options, under)
	}
	return "+OK\r\n"
}

// move gives key the deadline that an option such as EX 10 stands for.
func (w world) move(key string, option []string, under span) {
	r := w[key]
	if option[0] == "PERSIST" {
		w[key] = record{value: r.value}
		return
	}
	n, _ := strconv.ParseInt(option[1], 10, 64) // written by plan
	switch option[0] {
	case "PXAT":
		r.lo, r.hi = n, n
	case "EX":
		r.lo, r.hi = under.from+n*1000, under.to+n*1000
	case "PX":
		r.lo, r.hi = under.from+n, under.to+n
	}
	if r.hi <= under.from || n <= 0 {
		delete(w, key) // due at once
		return
	}
	w[key] = r
}

func bulkOrNil(value string, found bool) string {
	if !found {
		return "$-1\r\n"
	}
	return proc.Bulk(value)
}

func oneIf(yes bool) string {
	if yes {
		return ":1\r\n"
	}
	return ":0\r\n"
}

// ledger is what one connection was told about keys that nobody else writes. It is
// certain, but for what was under way when the server ended.
type ledger struct {
	owner int
	db    int // the ledger flushes it now and then, unless it is 0, which all others share
	mood  mood
	// afterlife is how long a key is readable past its deadline, in milliseconds. Redis
	// ends it when the deadline lies in the past, sessiond when it is reached.
	afterlife int64
	rng       *rand.Rand
	known     world
	// maybe holds the worlds that what was under way could have led to; empty means none
	// was under way.
	maybe []world
	// pending are the steps that were under way.
	pending []step
	// serial makes every value unlike all others.
	serial       int
	acknowledged int // changes the server confirmed
	// recent are the last steps and their replies, for messages.
	recent []string
}

// mood changes what the load is made of.
type mood struct {
	rare int // one value out of so many is large
	size int // of a large value, in bytes
	due  int // most milliseconds until a short-lived key is due
}

var (
	calm  = mood{rare: 200, size: 60_000, due: 1000}
	bulky = mood{rare: 12, size: 60_000, due: 1000} // fills a table in memory several times a second
	hasty = mood{rare: 200, size: 60_000, due: 100} // keeps the sweeper busy
	heavy = mood{rare: 50, size: 2_000_000, due: 1000}
)

const (
	sessionsPerLedger = 24
	countersPerLedger = 4
)

func newLedger(owner int, seed uint64, afterlife int64) *ledger {
	return &ledger{owner: owner, afterlife: afterlife,
		rng: rand.New(rand.NewPCG(seed, uint64(owner))), mood: calm, known: world{}}
}

func (l *ledger) session() string {
	return fmt.Sprintf("sess:%d:%d", l.owner, l.rng.IntN(sessionsPerLedger))
}
func (l *ledger) counter() string {
	return fmt.Sprintf("count:%d:%d", l.owner, l.rng.IntN(countersPerLedger))
}

// keys returns every key the ledger ever writes.
func (l *ledger) keys() []string {
	var keys []string
	for i := range sessionsPerLedger {
		keys = append(keys, fmt.Sprintf("sess:%d:%d", l.owner, i))
	}
	for i := range countersPerLedger {
		keys = append(keys, fmt.Sprintf("count:%d:%d", l.owner, i))
	}
	return keys
}

func (l *ledger) value() string {
	l.serial++
	size := l.rng.IntN(600)
	if l.rng.IntN(l.mood.rare) == 0 {
		size = l.mood.size
	}
	return fmt.Sprintf("%d/%d/", l.owner, l.serial) + incompressible()[:size]
}

// incompressible does not get smaller when it is compressed, so that large values make large files.
var incompressible = sync.OnceValue(func() string {
	b := make([]byte, heavy.size)
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(b) // never fails
	return string(b)
})

// soon is a number of milliseconds in which a key is due during the round or while the
// server is down; later is one after the whole test.
func (l *ledger) soon() string  { return strconv.Itoa(1 + l.rng.IntN(1+l.rng.IntN(l.mood.due))) }
func (l *ledger) later() string { return strconv.Itoa(3600_000 + l.rng.IntN(3600_000)) }

// plan returns the next step of the load. now is in Unix milliseconds.
func (l *ledger) plan(now int64) step {
	one := func(args ...string) step { return step{commands: [][]string{args}} }
	at := func(ms string) string {
		n, _ := strconv.ParseInt(ms, 10, 64)
		return strconv.FormatInt(now+n, 10)
	}
	if l.db != 0 && l.rng.IntN(100) == 0 {
		return one("FLUSHDB")
	}
	k := l.session()
	switch l.rng.IntN(24) {
	case 0, 1, 2:
		return one("SET", k, l.value(), "EX", strconv.Itoa(3600+l.rng.IntN(3600)))
	case 3:
		return one("SET", k, l.value(), "PXAT", at(l.later()))
	case 4:
		return one("SET", k, l.value())
	case 5, 6:
		return one("SET", k, l.value(), "PX", l.soon())
	case 7:
		return one("SETEX", k, "7200", l.value())
	case 8:
		return one("SET", k, l.value(), "NX", "PX", l.later())
	case 9:
		return one("SET", k, l.value(), "XX", "KEEPTTL")
	case 10:
		return one("GET", k)
	case 11, 12:
		return one("EXPIRE", k, strconv.Itoa(7200+l.rng.IntN(3600))) // mostly longer
	case 13:
		return one("PEXPIREAT", k, at(l.later()))
	case 14:
		return one("PEXPIRE", k, l.soon()) // shorter
	case 15:
		return one("EXPIRE", k, "-5")
	case 16:
		return one("DEL", k)
	case 17:
		return one("GETDEL", k)
	case 18:
		return one("PERSIST", k)
	case 19:
		return one("GETEX", k, "PXAT", at(l.later()))
	case 20, 21:
		return one("INCR", l.counter())
	case 22:
		return l.rename(k)
	default:
		return l.transaction(k, at(l.later()))
	}
}

func (l *ledger) rename(from string) step {
	to := l.session()
	if to == from {
		return step{commands: [][]string{{"GETEX", from, "PERSIST"}}}
	}
	return step{commands: [][]string{{"RENAME", from, to}}}
}

func (l *ledger) transaction(k, deadline string) step {
	return step{tx: true, commands: [][]string{
		{"SET", k, l.value()}, {"PEXPIREAT", k, deadline}, {"INCR", l.counter()}, {"DEL", l.session()},
	}}
}

// settle takes the reply to a step into the ledger. An error says that the server told
// something impossible. Where a reply leaves open whether a key was due already, as that
// of a failed RENAME does for its target, the record stays: its deadline says the rest.
func (l *ledger) settle(s step, under span, reply string) error {
	if l.recent = append(l.recent, fmt.Sprintf("%d..%d %.60q: %.100q", under.from, under.to, s.commands, reply)); len(l.recent) > 60 {
		l.recent = l.recent[1:]
	}
	possible := s.outcomes(l.known, under)
	for _, o := range possible {
		if o.reply == reply {
			if !maps.Equal(o.world, l.known) {
				l.acknowledged++
			}
			l.known = o.world
			return nil
		}
	}
	return fmt.Errorf("%.60q on %v answered %s, want %s; the steps before:\n%s", s.commands, l.before(s),
		short(reply), short(possible[0].reply), l.history(s.keys()))
}

// history returns the recent steps that touched any of the keys.
func (l *ledger) history(keys []string) string {
	var lines []string
	for _, line := range l.recent {
		if slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(line, strconv.Quote(k)) }) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// before returns the records a step touches, for messages.
func (l *ledger) before(s step) string {
	var b strings.Builder
	for _, k := range s.keys() {
		if r, found := l.known[k]; found {
			fmt.Fprintf(&b, "[%s: %v]", k, r)
		} else {
			fmt.Fprintf(&b, "[%s: absent]", k)
		}
	}
	return b.String()
}

// cut notes the steps that were sent and not answered: any number of them, from the first
// on, may have happened.
func (l *ledger) cut(steps []step, under span) {
	l.maybe, l.pending = nil, steps
	worlds := []world{l.known}
	for _, s := range steps {
		var next []world
		for _, w := range worlds {
			for _, o := range s.outcomes(w, under) {
				next = append(next, o.world)
			}
		}
		worlds = next
		l.maybe = append(l.maybe, worlds...)
	}
}

// verdict is what a comparison of a ledger with the server found.
type verdict struct {
	checked int      // keys compared
	lost    []string // acknowledged changes that are missing
	back    []string // ended sessions that are readable
	moved   []string // deadlines that are not the ones acknowledged
	worlds  []string // of the ledgers with a fault: what each possible world says, and what led there
}

func (v *verdict) add(other verdict) {
	v.checked += other.checked
	v.lost = append(v.lost, other.lost...)
	v.back = append(v.back, other.back...)
	v.moved = append(v.moved, other.moved...)
	v.worlds = append(v.worlds, other.worlds...)
}

func (v verdict) faults() int { return len(v.lost) + len(v.back) + len(v.moved) }

// judge compares what the server shows with the best of the possible worlds, and takes
// over what it shows, so that the next round starts from certain knowledge.
func (l *ledger) judge(shown world, under span) verdict {
	best := l.compare(l.known, shown, under)
	for _, w := range l.maybe {
		if v := l.compare(w, shown, under); v.faults() < best.faults() {
			best = v
		}
	}
	if best.faults() > 0 {
		best.worlds = []string{l.explain(shown, under)}
	}
	l.known, l.maybe, l.pending = maps.Clone(shown), nil, nil
	return best
}

// explain returns what is wrong in each of the possible worlds, and what the connection did
// last: the best of the worlds is not always the one the server meant.
func (l *ledger) explain(shown world, under span) string {
	var b strings.Builder
	fmt.Fprintf(&b, "connection %d, looked at in %d..%d:\n", l.owner, under.from, under.to)
	for i, w := range append([]world{l.known}, l.maybe...) {
		v := l.compare(w, shown, under)
		fmt.Fprintf(&b, "possible world %d: lost %q, back %q, moved %q\n", i, v.lost, v.back, v.moved)
	}
	for _, line := range l.recent {
		fmt.Fprintf(&b, "acknowledged: %s\n", line)
	}
	for _, s := range l.pending {
		fmt.Fprintf(&b, "under way: %.60q\n", s.commands)
	}
	return b.String()
}

func (l *ledger) compare(want, shown world, under span) verdict {
	v := verdict{checked: sessionsPerLedger + countersPerLedger}
	for _, k := range l.keys() {
		w, wanted := want[k]
		s, found := shown[k]
		due, maybeDue := false, false
		if wanted && w.hi != 0 {
			due, maybeDue = w.hi <= under.from, w.lo <= under.to
		}
		switch {
		case !wanted && found:
			v.back = append(v.back, fmt.Sprintf("%s was ended and is %v", k, s))
		case due && found:
			v.back = append(v.back, fmt.Sprintf("%s was due at %d..%d and is %v at %d", k, w.lo, w.hi, s, under.from))
		case wanted && !maybeDue && !found:
			v.lost = append(v.lost, fmt.Sprintf("%s is absent, want %v", k, w))
		case wanted && found && s.value != w.value:
			v.lost = append(v.lost, fmt.Sprintf("%s is %v, want %v", k, s, w))
		case wanted && found && (s.lo < w.lo || s.hi > w.hi):
			v.moved = append(v.moved, fmt.Sprintf("%s is due at %d, want %d..%d", k, s.lo, w.lo, w.hi))
		}
	}
	return v
}

// live returns how many keys are surely alive in the course of s, and how many may be.
func (l *ledger) live(s span) (sure, maybe int) {
	for _, r := range l.known {
		switch {
		case r.hi == 0 || r.lo > s.to:
			sure++
		case r.hi > s.from:
			maybe++
		}
	}
	return sure, maybe
}

// Ensure that a reply which says nothing about a key that may be due leaves it open.
func TestLedger_KeepsOpenWhatIsOpen(t *testing.T) {
	t.Parallel()
	l := newLedger(0, 1, 0)
	l.known = world{"to": {"v", 1000, 1020}}
	rename := step{commands: [][]string{{"RENAME", "from", "to"}}}
	if err := l.settle(rename, span{1005, 1010}, "-ERR no such key\r\n"); err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{":0\r\n", ":1\r\n"} {
		one := *l
		if err := one.settle(step{commands: [][]string{{"DEL", "to"}}}, span{1010, 1015}, reply); err != nil {
			t.Error(err)
		}
	}
}

// Ensure that the judge sees each kind of fault and no other.
func TestLedger_Judge(t *testing.T) {
	t.Parallel()
	const a, b = "sess:0:0", "sess:0:1"
	now := span{1000, 1010}
	for _, tt := range []struct {
		name              string
		known, shown      world
		maybe             []world
		lost, back, moved int
	}{
		{name: "all as told", known: world{a: {"v", 2000, 2000}}, shown: world{a: {"v", 2000, 2000}}},
		{name: "missing", known: world{a: {value: "v"}}, shown: world{}, lost: 1},
		{name: "older value", known: world{a: {value: "v2"}}, shown: world{a: {value: "v1"}}, lost: 1},
		{name: "deleted is back", known: world{}, shown: world{a: {value: "v"}}, back: 1},
		{name: "expired is back", known: world{a: {"v", 990, 1000}}, shown: world{a: {"v", 990, 990}}, back: 1},
		{name: "expired is gone", known: world{a: {"v", 990, 1000}}, shown: world{}},
		{name: "due meanwhile, gone", known: world{a: {"v", 1005, 1005}}, shown: world{}},
		{name: "due meanwhile, there", known: world{a: {"v", 1005, 1005}}, shown: world{a: {"v", 1005, 1005}}},
		{name: "not due yet, gone", known: world{a: {"v", 1011, 1011}}, shown: world{}, lost: 1},
		{name: "deadline off by one", known: world{a: {"v", 2000, 2000}}, shown: world{a: {"v", 2001, 2001}}, moved: 1},
		{name: "deadline dropped", known: world{a: {"v", 2000, 2000}}, shown: world{a: {value: "v"}}, moved: 1},
		{name: "deadline invented", known: world{a: {value: "v"}}, shown: world{a: {"v", 2000, 2000}}, moved: 1},
		{name: "deadline within what is known", known: world{a: {"v", 2000, 2005}}, shown: world{a: {"v", 2003, 2003}}},
		{
			name: "half a transaction", known: world{a: {value: "1"}, b: {value: "1"}}, maybe: []world{{a: {value: "2"}, b: {value: "2"}}},
			shown: world{a: {value: "2"}, b: {value: "1"}}, lost: 1,
		},
		{
			name: "whole transaction", known: world{a: {value: "1"}, b: {value: "1"}}, maybe: []world{{a: {value: "2"}, b: {value: "2"}}},
			shown: world{a: {value: "2"}, b: {value: "2"}},
		},
	} {
		l := newLedger(0, 1, 0)
		l.known, l.maybe = tt.known, tt.maybe
		v := l.judge(tt.shown, now)
		if len(v.lost) != tt.lost || len(v.back) != tt.back || len(v.moved) != tt.moved {
			t.Errorf("%s: %+v, want %d lost, %d back, %d moved", tt.name, v, tt.lost, tt.back, tt.moved)
		}
	}
}
