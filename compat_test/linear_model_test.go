package compat_test

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
)

// The model of the linearizability tests is the world of the ledger: what Redis does to a
// few records, with what is uncertain about the time.
//
// A deadline is known as lo..hi, since a relative one counts from a moment within the span
// of its command. A command whose span touches such a deadline may have met the record alive
// or due, and the model follows both; outside of it the record must be the one or the other.
// That is sound as long as the machine's clock is not set meanwhile: the server reads the
// same clock, between the call and the return of the command.
//
// A command without a reply, cut off by the end of the server, has happened before that end
// or never. Its operation returns when its client sees the end of the connection, so
// nothing of it may turn up later.

// asked is the input of an operation.
type asked struct {
	group string // the keys that share an operation; groups are checked one by one
	step  step
	under span
	// watched is what GET said of the first key after WATCH, if the step is a transaction
	// with one. EXEC may have refused it; if not, the key was still the same.
	watched string
}

// unanswered is the output of an operation whose reply never came.
const unanswered = ""

// linearModel returns the model as porcupine wants it. Its state is the world of one group.
func linearModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Partition: byGroup,
		Init:      func() []any { return []any{world{}} },
		Step: func(state, input, output any) []any {
			return linearStep(state.(world), input.(asked), output.(string))
		},
		Equal: func(a, b any) bool { return maps.Equal(a.(world), b.(world)) },
		Hash:  func(state any) uint64 { return state.(world).hash() },
		DescribeOperation: func(input, output any) string {
			in := input.(asked)
			return fmt.Sprintf("%v at %d..%d: %.60q", in.step.commands, in.under.from, in.under.to, output)
		},
		DescribeState: func(state any) string { return fmt.Sprint(state) },
	}
	return m.ToModel()
}

func byGroup(history []porcupine.Operation) [][]porcupine.Operation {
	groups := map[string][]porcupine.Operation{}
	for _, o := range history {
		name := o.Input.(asked).group
		groups[name] = append(groups[name], o)
	}
	return slices.Collect(maps.Values(groups))
}

// linearStep returns the worlds that w may have become.
func linearStep(w world, in asked, output string) (next []any) {
	if output == unanswered {
		next = append(next, w)
	}
	if in.step.commands[0][0] == "PEXPIRETIME" {
		return append(next, w.tellDeadline(in, output)...)
	}
	if in.watched != "" {
		if output == "+OK\r\n+QUEUED\r\n*-1\r\n" {
			return []any{w}
		}
		return append(next, linearSwap(w, in, output)...)
	}
	for _, o := range in.step.outcomes(w, in.under) {
		if output == unanswered || output == o.reply {
			next = append(next, o.world)
		}
	}
	return next
}

// linearSwap is a transaction that found its watched key as it had been. No value is written
// twice, so it cannot have changed and come back.
func linearSwap(w world, in asked, output string) (next []any) {
	key := in.step.commands[0][1]
	for _, before := range w.at(in.under, []string{key}) {
		if r, found := before[key]; bulkOrNil(r.value, found) != in.watched {
			continue
		}
		for _, o := range in.step.outcomes(before, in.under) {
			if output == unanswered || output == o.reply {
				next = append(next, o.world)
			}
		}
	}
	return next
}

// tellDeadline is PEXPIRETIME, which ends what is uncertain about a deadline.
func (w world) tellDeadline(in asked, output string) (next []any) {
	if output == unanswered {
		return nil // it changed nothing
	}
	key := in.step.commands[0][1]
	told, err := strconv.ParseInt(strings.Trim(output, ":\r\n"), 10, 64)
	if err != nil {
		return nil
	}
	for _, after := range w.at(in.under, []string{key}) {
		r, found := after[key]
		switch {
		case !found && told == -2, found && r.hi == 0 && told == -1:
			next = append(next, after)
		case found && r.hi != 0 && r.lo <= told && told <= r.hi:
			after[key] = record{r.value, told, told}
			next = append(next, after)
		}
	}
	return next
}

// hash is the same for equal worlds.
func (w world) hash() (sum uint64) {
	for k, r := range w {
		h := fnv.New64a()
		fmt.Fprint(h, k, r.value, r.lo, r.hi)
		sum += h.Sum64()
	}
	return sum
}

// told is one operation of a history written by hand: its times are those of the model's
// clock, too.
type told struct {
	line   string // commands with ; between make a transaction; one may begin with what was watched
	call   int64
	end    int64
	answer string
}

func (o told) operation() porcupine.Operation {
	var s step
	watched, line, found := strings.Cut(o.line, " was watched; ")
	if !found {
		watched, line = "", o.line
	}
	for line := range strings.SplitSeq(line, "; ") {
		s.commands = append(s.commands, strings.Fields(line))
	}
	s.tx = len(s.commands) > 1 || found
	return porcupine.Operation{
		Input: asked{step: s, under: span{o.call, o.end}, watched: strings.ReplaceAll(watched, "_", "\r\n")}, Call: o.call, Output: o.answer, Return: o.end,
	}
}

// Ensure that the model accepts what is linearizable and rejects what is not: the checker
// can fail.
func TestLinear_Model(t *testing.T) {
	t.Parallel()
	const ok, null, v1, v2, one, zero = "+OK\r\n", "$-1\r\n", "$2\r\nv1\r\n", "$2\r\nv2\r\n", ":1\r\n", ":0\r\n"
	const swapped, refused = ok + "+QUEUED\r\n*1\r\n" + ok, ok + "+QUEUED\r\n*-1\r\n"
	const queued = ok + "+QUEUED\r\n+QUEUED\r\n*2\r\n"
	tests := []struct {
		name    string
		history []told
		want    bool
	}{
		{"a read of the newest value", []told{{"SET a v1", 1, 2, ok}, {"SET a v2", 3, 4, ok}, {"GET a", 5, 6, v2}}, true},
		{"a stale read", []told{{"SET a v1", 1, 2, ok}, {"SET a v2", 3, 4, ok}, {"GET a", 5, 6, v1}}, false},
		{"a read beside a write", []told{{"SET a v1", 1, 2, ok}, {"SET a v2", 3, 9, ok}, {"GET a", 5, 6, v1}}, true},
		{"new, then old, beside a write", []told{{"SET a v1", 1, 2, ok}, {"SET a v2", 3, 9, ok}, {"GET a", 4, 5, v2}, {"GET a", 6, 7, v1}}, false},
		{"a value nobody wrote", []told{{"SET a v1", 1, 2, ok}, {"GET a", 3, 4, v2}}, false},
		{"NX won by two", []told{{"SET a v1 NX", 1, 5, ok}, {"SET a v2 NX", 2, 6, ok}}, false},
		{"one number counted twice", []told{{"INCR n", 1, 5, one}, {"INCR n", 2, 6, one}}, false},
		{"GETDEL for two", []told{{"SET a v1", 1, 2, ok}, {"GETDEL a", 3, 6, v1}, {"GETDEL a", 4, 7, v1}}, false},

		{"cut off, happened", []told{{"SET a v1", 1, 3, unanswered}, {"GET a", 4, 5, v1}}, true},
		{"cut off, did not happen", []told{{"SET a v1", 1, 3, unanswered}, {"GET a", 4, 5, null}}, true},
		{"cut off, happens later", []told{{"SET a v1", 1, 3, unanswered}, {"GET a", 4, 5, null}, {"GET a", 6, 7, v1}}, false},
		{"acknowledged and lost", []told{{"SET a v1", 1, 2, ok}, {"SET a v2", 3, 4, ok}, {"DEL b", 4, 5, unanswered}, {"GET a", 6, 7, v1}}, false},
		{"deleted and back", []told{{"SET a v1", 1, 2, ok}, {"DEL a", 3, 4, one}, {"GET a", 5, 6, v1}}, false},

		{"a whole transaction", []told{{"SET a v1; SET b v1", 1, 4, queued + ok + ok}, {"GET a; GET b", 2, 5, queued + v1 + v1}}, true},
		{"half a transaction", []told{{"SET a v1; SET b v1", 1, 4, queued + ok + ok}, {"GET a; GET b", 2, 5, queued + v1 + null}}, false},
		{"half of one that was cut off", []told{{"SET a v1; SET b v1", 1, 4, unanswered}, {"GET a", 5, 6, v1}, {"GET b", 7, 8, null}}, false},

		{"a swap of what was seen", []told{{"SET a v1", 1, 2, ok}, {"$2_v1_ was watched; SET a v2", 3, 4, swapped}, {"GET a", 5, 6, v2}}, true},
		{"a swap of what has changed", []told{{"SET a v2", 1, 2, ok}, {"$2_v1_ was watched; SET a v3", 3, 4, swapped}}, false},
		{"a swap of what is gone", []told{{"$2_v1_ was watched; SET a v3", 3, 4, swapped}}, false},
		{"a swap of nothing", []told{{"$-1_ was watched; SET a v2", 3, 4, swapped}, {"GET a", 5, 6, v2}}, true},
		{"a swap refused", []told{{"SET a v1", 1, 2, ok}, {"$2_v1_ was watched; SET a v2", 3, 4, refused}, {"GET a", 5, 6, v1}}, true},
		{"a swap refused and done", []told{{"SET a v1", 1, 2, ok}, {"$2_v1_ was watched; SET a v2", 3, 4, refused}, {"GET a", 5, 6, v2}}, false},

		{"due and gone", []told{{"SET a v1 PXAT 10", 1, 2, ok}, {"GET a", 10, 11, null}}, true},
		{"due and there", []told{{"SET a v1 PXAT 10", 1, 2, ok}, {"GET a", 10, 11, v1}}, false},
		{"gone too soon", []told{{"SET a v1 PXAT 10", 1, 2, ok}, {"GET a", 8, 9, null}}, false},
		{"due meanwhile", []told{{"SET a v1 PXAT 10", 1, 2, ok}, {"GET a", 9, 11, v1}, {"GET a", 9, 11, null}}, true},
		{"gone, then back", []told{{"SET a v1 PXAT 10", 1, 2, ok}, {"GET a", 8, 10, null}, {"GET a", 9, 10, v1}}, true},
		{"gone, then back, one after the other", []told{{"SET a v1 PXAT 10", 1, 2, ok}, {"GET a", 7, 10, null}, {"GET a", 11, 12, v1}}, false},
		{"extended in time", []told{{"SET a v1 PXAT 10", 1, 2, ok}, {"PEXPIREAT a 20", 8, 9, one}, {"GET a", 12, 13, v1}}, true},
		{"extended too late", []told{{"SET a v1 PXAT 10", 1, 2, ok}, {"PEXPIREAT a 20", 10, 11, one}}, false},
		{"a deadline as told", []told{{"SET a v1 PX 100", 1, 5, ok}, {"PEXPIRETIME a", 6, 7, ":103\r\n"}, {"GET a", 103, 104, null}}, true},
		{"a deadline told twice", []told{{"SET a v1 PX 100", 1, 5, ok}, {"PEXPIRETIME a", 6, 7, ":103\r\n"}, {"PEXPIRETIME a", 8, 9, ":104\r\n"}}, false},
		{"a deadline out of nowhere", []told{{"SET a v1", 1, 5, ok}, {"PEXPIRETIME a", 6, 7, ":103\r\n"}}, false},
		{"an extension of what is absent", []told{{"EXPIRE a 10", 1, 5, zero}, {"PEXPIRETIME a", 6, 7, ":-2\r\n"}}, true},
	}
	for _, tt := range tests {
		var history []porcupine.Operation
		for _, o := range tt.history {
			history = append(history, o.operation())
		}
		if got := porcupine.CheckOperations(linearModel(), history); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
