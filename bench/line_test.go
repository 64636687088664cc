package main

import (
	"slices"
	"strings"
	"testing"
)

// Ensure that a line shows medians, the median of the rounds' ratios, and whether the target
// is met by the right one of them.
func TestLine_Cells(t *testing.T) {
	t.Parallel()
	cpu := line{row: "mix", figure: "CPU", unit: timeUnit, oursName: "a", againstName: "b",
		ours: []float64{12e-6, 30e-6, 11e-6}, against: []float64{10e-6, 20e-6, 10e-6}}
	with := func(l line, t target) line { l.target = t; return l }
	tests := []struct {
		line line
		want string
	}{
		{cpu, "mix|CPU|12.0 µs (a)|10.0 µs (b)|1.20x (1.10 to 1.50)||"},
		{with(cpu, ratioAtMost(1.2)), "mix|CPU|12.0 µs (a)|10.0 µs (b)|1.20x (1.10 to 1.50)|<= 1.20x|met"},
		{with(cpu, ratioAtMost(1.19)), "mix|CPU|12.0 µs (a)|10.0 µs (b)|1.20x (1.10 to 1.50)|<= 1.19x|MISSED"},
		{with(cpu, ratioAtLeast(1.21)), "mix|CPU|12.0 µs (a)|10.0 µs (b)|1.20x (1.10 to 1.50)|>= 1.21x|MISSED"},
		{with(cpu, figureAtMost(12e-6)), "mix|CPU|12.0 µs (a)|10.0 µs (b)|1.20x (1.10 to 1.50)|<= 12.0 µs|met"},
		{line{unit: bytesUnit, ours: []float64{3 << 20}, oursName: "a", target: figureAtMost(2 << 20)},
			"||3.00 MiB (a)|||<= 2.00 MiB|MISSED"},
		{line{unit: opsUnit, ours: []float64{1}, against: []float64{0}, target: ratioAtMost(1)}, "||1/s ()|0/s ()|?|<= 1.00x|MISSED"},
	}
	for _, tt := range tests {
		if got := strings.Join(tt.line.cells(), "|"); got != tt.want {
			t.Errorf("line is %s, want %s", got, tt.want)
		}
	}
}

// Ensure that the table has its columns in line as text, and a rule under the head as
// Markdown.
func TestPrintLines(t *testing.T) {
	t.Parallel()
	lines := []line{{row: "first", figure: "f", unit: opsUnit, ours: []float64{2}, oursName: "s"}}
	var text, markdown strings.Builder
	if err := printLines(&text, lines, false); err != nil {
		t.Fatal(err)
	}
	if err := printLines(&markdown, lines, true); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(text.String(), "\n")
	if strings.Index(rows[0], "measured") != strings.Index(rows[1], "2/s (s)") {
		t.Errorf("columns are not in line:\n%s", text.String())
	}
	want := []string{
		"| row | figure | measured | compared with | ratio | target |  |",
		"| --- | ------ | -------- | ------------- | ----- | ------ | --- |",
		"| first | f | 2/s (s) |  |  |  |  |",
	}
	if got := strings.Split(strings.TrimSpace(markdown.String()), "\n"); !slices.Equal(got, want) {
		t.Errorf("Markdown:\n%s", markdown.String())
	}
}
