package diff

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Run says what a random run does.
type Run struct {
	Commands []Command // the table the lines are made from
	Lines    int       // how many
	Seed     uint64    // the same seed makes the same lines
	Most     int       // differences after which to stop. Zero means 10.
}

const (
	episodeLines = 500 // from an empty server to a comparison of everything in it
	connections  = 3
	packetLines  = 50 // the most lines sent as one packet
	// shrinkTime bounds the search for a shorter way to one difference.
	shrinkTime = 10 * time.Second
)

// Random sends random lines to both servers in episodes that start empty, and returns the
// differences, each with a short way to it. It stops looking at an episode at its first
// difference; the same difference of the same command is returned once.
func (p *Pair) Random(run Run) ([]Difference, error) {
	if run.Most == 0 {
		run.Most = 10
	}
	commands, err := plan(run.Commands)
	if err != nil {
		return nil, err
	}
	var found []Difference
	seen := map[string]bool{}
	for episode := uint64(0); int(episode)*episodeLines < run.Lines && len(found) < run.Most; episode++ {
		g := newGenerator(commands, run.Seed, episode)
		packets := g.packets(min(episodeLines, run.Lines-int(episode)*episodeLines))
		d, err := p.replay(packets)
		if err != nil {
			return found, fmt.Errorf("seed %d, episode %d: %w", run.Seed, episode, err)
		}
		if d == nil || seen[d.signature()] {
			continue
		}
		seen[d.signature()] = true
		where := fmt.Sprintf("seed %d, episode %d", run.Seed, episode)
		found = append(found, p.shorten(*d, packets, where))
	}
	return found, nil
}

// signature is equal for differences that probably have one cause.
func (d Difference) signature() string {
	outline := func(reply string) string {
		v, _ := parse(reply)
		if v.kind == '-' {
			return v.text[:min(len(v.text), 30)]
		}
		return string(v.kind) + strconv.FormatBool(v.null)
	}
	return strings.ToLower(d.Line.Args[0]) + outline(d.Oracle) + outline(d.Subject)
}

// packets makes the lines of an episode, cut into packets of one connection each.
func (g *generator) packets(lines int) [][]Line {
	var packets [][]Line
	for lines > 0 {
		n := min(lines, 1+g.IntN(g.pickInt(2, 10, packetLines)))
		conn := 1 + g.IntN(connections)
		packet := make([]Line, n)
		for i := range packet {
			packet[i] = g.line(conn)
		}
		packets, lines = append(packets, packet), lines-n
	}
	return packets
}

func (g *generator) pickInt(numbers ...int) int { return numbers[g.IntN(len(numbers))] }

// replay sends the packets to empty servers and returns the first difference: in a reply,
// or else in what the servers hold in the end.
func (p *Pair) replay(packets [][]Line) (*Difference, error) {
	if err := p.flush(); err != nil {
		return nil, err
	}
	var sessions [connections + 1]*session
	defer func() {
		for _, s := range sessions {
			if s != nil {
				s.close()
			}
		}
	}()
	for _, packet := range packets {
		conn := packet[0].Conn
		if sessions[conn] == nil {
			s, err := p.dial()
			if err != nil {
				return nil, err
			}
			sessions[conn] = s
		}
		if d := p.send(sessions[conn], packet); d != nil {
			return d, nil
		}
	}
	return p.compareContents()
}

// send sends one packet and returns the first difference among the replies.
func (p *Pair) send(s *session, packet []Line) *Difference {
	oracle, subject := s.ask(words(packet)...)
	for i, l := range packet {
		rule := naturalRule(l.Args)
		if !p.judge(&s.queue, l.Args, rule, oracle[i], subject[i]) {
			return &Difference{Line: l, Rule: rule, Oracle: oracle[i], Subject: subject[i]}
		}
	}
	return nil
}
