package diff

import (
	"fmt"
	"strconv"
	"strings"
)

// Rule says how strictly two replies are compared. The zero Rule is byte for byte. Every
// rule but error and any still wants equal errors where either reply is one.
type Rule struct {
	kind      ruleKind
	tolerance int64    // of approx
	prefix    string   // of error
	fields    []string // of except
	listed    bool     // differences on the list of accepted ones are accepted
}

type ruleKind int

const (
	exact  ruleKind = iota
	sorted          // arrays in any order
	approx          // integers that time has a part in
	kindly          // errors that begin alike
	shape           // types only
	except          // maps and arrays of pairs, less the values of some fields
	anyway          // any one reply
)

var ruleNames = [...]string{"do", "sorted", "approx", "error", "shape", "except", "any"}

// String returns the rule as it is written in a story.
func (r Rule) String() string {
	switch r.kind {
	case kindly:
		return fmt.Sprintf("error %q", r.prefix)
	case except:
		return "except(" + strings.Join(r.fields, ",") + ")"
	case exact:
		if r.listed {
			return "accepted"
		}
	}
	return ruleNames[r.kind]
}

// equal reports whether the two raw replies are equal by the rule.
func (r Rule) equal(oracle, subject string) bool {
	if oracle == subject && r.kind != kindly {
		return true
	}
	a, _ := parse(oracle)
	b, _ := parse(subject)
	if a.kind == 0 || b.kind == 0 { // closed, or no reply
		return false
	}
	switch r.kind {
	case kindly:
		return a.kind == '-' && b.kind == '-' &&
			strings.HasPrefix(a.text, r.prefix) && strings.HasPrefix(b.text, r.prefix)
	case anyway:
		return true
	}
	if a.kind == '-' || b.kind == '-' {
		return false
	}
	switch r.kind {
	case sorted:
		return a.canon() == b.canon()
	case approx:
		return r.near(a, b)
	case shape:
		return sameShape(a, b)
	case except:
		return a.without(r.fields) == b.without(r.fields)
	}
	return false
}

// near compares integers; negative ones say something other than a time, so they must be
// equal.
func (r Rule) near(a, b value) bool {
	x, errX := strconv.ParseInt(a.text, 10, 64)
	y, errY := strconv.ParseInt(b.text, 10, 64)
	if a.kind != b.kind || errX != nil || errY != nil || x < 0 || y < 0 {
		return false
	}
	return max(x-y, y-x) <= r.tolerance
}

// queuedLine is a line that waits for EXEC, and the rule for its element of EXEC's reply.
type queuedLine struct {
	args []string
	rule Rule
}

// judge compares the replies to one line, an EXEC's element by element. It keeps the
// connection's list of queued lines.
func (p *Pair) judge(queue *[]queuedLine, args []string, rule Rule, oracle, subject string) bool {
	if oracle == "+QUEUED\r\n" {
		*queue = append(*queue, queuedLine{args, rule})
	}
	switch strings.ToLower(args[0]) {
	case "exec":
		queued := *queue
		*queue = nil
		if oracle[0] == '*' && subject[0] == '*' {
			return p.judgeExec(queued, oracle, subject)
		}
	case "discard", "reset":
		*queue = nil
	}
	return p.agree(args, rule, oracle, subject)
}

func (p *Pair) judgeExec(queued []queuedLine, oracle, subject string) bool {
	a, _ := parse(oracle)
	b, _ := parse(subject)
	if a.null || b.null || len(a.elems) != len(queued) || len(b.elems) != len(queued) {
		return oracle == subject
	}
	for i, q := range queued {
		if !p.agree(q.args, q.rule, a.elems[i].raw, b.elems[i].raw) {
			return false
		}
	}
	return true
}

// agree reports whether the replies are equal by the rule, or their difference is accepted.
func (p *Pair) agree(args []string, rule Rule, oracle, subject string) bool {
	return rule.equal(oracle, subject) || rule.listed && p.Accepted.allows(args, oracle, subject)
}
