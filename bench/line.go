package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// line is one line of the table: a figure of sessiond, usually beside that of redis-server.
type line struct {
	row    string
	figure string
	unit   unit

	// What was measured, round by round. Against is empty if the figure stands alone.
	ours, against         []float64
	oursName, againstName string

	target target
}

// unit writes a figure.
type unit func(float64) string

// target is what a figure has to reach. The zero target asks for nothing.
type target struct {
	bound    bound
	limit    float64
	absolute bool // about the figure of sessiond, not about the ratio
}

type bound int

const (
	none bound = iota
	atMost
	atLeast
)

func (t target) met(value float64) bool {
	return t.bound == atMost && value <= t.limit || t.bound == atLeast && value >= t.limit
}

// ratioAtMost asks that ours divided by against is not above limit.
func ratioAtMost(limit float64) target { return target{bound: atMost, limit: limit} }

func ratioAtLeast(limit float64) target { return target{bound: atLeast, limit: limit} }

// figureAtMost asks that the figure of sessiond is not above limit, in its unit.
func figureAtMost(limit float64) target { return target{bound: atMost, limit: limit, absolute: true} }

// ratios returns ours divided by against for each round: its two halves were measured one
// soon after the other, so that a machine that grows slower does not tell between them.
func (l line) ratios() []float64 {
	ratios := make([]float64, min(len(l.ours), len(l.against)))
	for i := range ratios {
		ratios[i] = l.ours[i] / l.against[i]
	}
	return ratios
}

// cells returns the line as the table shows it.
func (l line) cells() []string {
	ours := fmt.Sprintf("%s (%s)", l.unit(median(l.ours)), l.oursName)
	var against, ratio string
	ratios := l.ratios()
	if len(ratios) > 0 {
		against = fmt.Sprintf("%s (%s)", l.unit(median(l.against)), l.againstName)
		ratio = ratioUnit(median(ratios))
	}
	if len(ratios) > 1 {
		ratio += fmt.Sprintf(" (%.2f to %.2f)", slices.Min(ratios), slices.Max(ratios))
	}
	wanted, verdict := l.verdict()
	return []string{l.row, l.figure, ours, against, ratio, wanted, verdict}
}

// verdict returns the target in words and whether it is met.
func (l line) verdict() (wanted, verdict string) {
	value, write := median(l.ours), l.unit
	if !l.target.absolute {
		value, write = median(l.ratios()), ratioUnit
	}
	switch l.target.bound {
	case none:
		return "", ""
	case atMost:
		wanted = "<= " + write(l.target.limit)
	case atLeast:
		wanted = ">= " + write(l.target.limit)
	}
	if l.target.met(value) {
		return wanted, "met"
	}
	return wanted, "MISSED"
}

// median returns the middle one, the lower of the two middle ones if their number is even,
// or zero if there are none.
func median[T cmp.Ordered](values []T) (middle T) {
	if len(values) == 0 {
		return middle
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// ratioUnit writes a ratio, or a question mark if there was too little to measure.
func ratioUnit(ratio float64) string {
	if math.IsInf(ratio, 0) || math.IsNaN(ratio) {
		return "?"
	}
	return fmt.Sprintf("%.2fx", ratio)
}

// timeUnit writes seconds with three digits.
func timeUnit(seconds float64) string {
	switch {
	case seconds < 1e-3:
		return threeDigits(seconds*1e6) + " µs"
	case seconds < 1:
		return threeDigits(seconds*1e3) + " ms"
	}
	return threeDigits(seconds) + " s"
}

func bytesUnit(bytes float64) string {
	switch {
	case bytes < 1<<10:
		return threeDigits(bytes) + " B"
	case bytes < 1<<20:
		return threeDigits(bytes/(1<<10)) + " KiB"
	case bytes < 1<<30:
		return threeDigits(bytes/(1<<20)) + " MiB"
	}
	return threeDigits(bytes/(1<<30)) + " GiB"
}

func opsUnit(rate float64) string { return fmt.Sprintf("%.0f/s", rate) }

func bytesPerSecondUnit(rate float64) string { return fmt.Sprintf("%.0f MB/s", rate/1e6) }

func threeDigits(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
