// Package diff asks two servers the same thing and compares what they say, byte for byte.
//
// One is the oracle, redis-server as packaged; the other is under test. What is asked comes
// from stories, text files that a person wrote (see ParseStory), or from a generator that
// derives lines from the syntax of each command (see Random). What may differ, and why,
// stands in one list (see Accepted).
package diff

import (
	"fmt"
	"strings"
)

// Pair is the oracle and the server under test.
type Pair struct {
	Oracle   string // host:port
	Subject  string // host:port
	Accepted *Accepted
}

// Line is one command on one of several connections.
type Line struct {
	Conn int
	Args []string
}

// String returns the line as a story would have it, but for the verb.
func (l Line) String() string {
	if l.Conn <= 1 {
		return Quote(l.Args)
	}
	return fmt.Sprintf("%d> %s", l.Conn, Quote(l.Args))
}

// Difference is a line that the two servers answered differently.
type Difference struct {
	Where   string // file and line, or seed and episode
	Line    Line
	Rule    Rule
	Oracle  string // the raw reply
	Subject string
	Before  []Line // what leads to it from an empty server, if known
}

// String returns the difference for a person: the line, both replies, and the way there.
func (d Difference) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (%s)\n  oracle:  %s\n  subject: %s",
		d.Where, cut(d.Line.String()), d.Rule, clip(d.Oracle), clip(d.Subject))
	if len(d.Before) > 0 {
		b.WriteString("\n  after, from an empty server:")
		for _, l := range d.Before {
			b.WriteString("\n    " + cut(l.String()))
		}
	}
	return b.String()
}

// cut shortens a line nobody would read to its end.
func cut(line string) string {
	const most = 400
	if len(line) <= most {
		return line
	}
	return fmt.Sprintf("%s... (%d bytes)", line[:most], len(line))
}

// clip quotes a reply and cuts the middle out of a long one.
func clip(reply string) string {
	const most = 600
	if len(reply) <= most {
		return fmt.Sprintf("%q", reply)
	}
	return fmt.Sprintf("%q ... %q (%d bytes)", reply[:most/2], reply[len(reply)-most/2:], len(reply))
}
