package diff

import (
	"slices"
	"time"
)

// shorten looks for a short way to the difference: it leaves out lines as long as the
// servers still differ.
func (p *Pair) shorten(d Difference, packets [][]Line, where string) Difference {
	lines := slices.Concat(packets...)
	deadline := time.Now().Add(shrinkTime)
	best, err := p.replay(repack(lines))
	if err != nil || best == nil {
		d.Where, d.Before = where+" (it did not happen again)", lastLines(lines, d.Line)
		return d
	}
	for size := (len(lines) + 1) / 2; size >= 1; size /= 2 {
		for at := 0; at < len(lines) && time.Now().Before(deadline); {
			rest := slices.Delete(slices.Clone(lines), at, min(at+size, len(lines)))
			if fewer, err := p.replay(repack(rest)); err == nil && fewer != nil && fewer.signature() == best.signature() {
				lines, best = rest, fewer
			} else {
				at += size
			}
		}
	}
	best.Where, best.Before = where, lines
	return *best
}

// lastLines returns the lines up to the one that differs, at most 30.
func lastLines(lines []Line, last Line) []Line {
	for i, l := range lines {
		if l.Conn == last.Conn && slices.Equal(l.Args, last.Args) {
			return lines[max(0, i-30) : i+1]
		}
	}
	return lines[:min(30, len(lines))]
}

// repack puts the lines that follow each other on one connection into one packet.
func repack(lines []Line) [][]Line {
	var packets [][]Line
	for _, l := range lines {
		last := len(packets) - 1
		if last >= 0 && packets[last][0].Conn == l.Conn && len(packets[last]) < packetLines {
			packets[last] = append(packets[last], l)
		} else {
			packets = append(packets, []Line{l})
		}
	}
	return packets
}
