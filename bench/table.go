package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// tableRun is what the rows of a table share.
type tableRun struct {
	*bench
	interval         // of each load
	rounds   int     // of each comparison
	sessions int     // that servers hold
	scale    float64 // of what is counted in thousands; 1 but for a smoke test
	// burstLimit is how long a burst of ends may take until it has left no trace.
	burstLimit time.Duration
}

func (t *tableRun) population(count int, values sizes) population {
	return population{count: count, sizes: values, bytes: t.bytes}
}

func (t *tableRun) scaled(n int) int { return max(int(t.scale*float64(n)), 1) }

func tableFlags(o *options, set *pflag.FlagSet) {
	set.IntVar(&o.sessions, "sessions", 100_000, "`number` of sessions in each server")
	set.IntVar(&o.rounds, "repeats", 3, "`number` of measurements of each figure")
	outputFlags(o, set)
}

// outputFlags are the flags that table and large have in common.
func outputFlags(o *options, set *pflag.FlagSet) {
	set.StringVar(&o.rows, "rows", "", "`regexp` of the rows to measure; empty means all")
	set.Float64Var(&o.seconds, "seconds", 3, "`seconds` of each measurement")
	set.BoolVar(&o.quick, "quick", false, "only see whether everything works: few sessions, short measurements")
	set.BoolVar(&o.markdown, "markdown", false, "write the table as Markdown")
}

func runTable(ctx context.Context, b *bench, o *options, out io.Writer) error {
	return b.runRows(ctx, o, tableRows(), out)
}

// runRows measures the rows that were chosen and prints their lines.
func (b *bench) runRows(ctx context.Context, o *options, rows []row, out io.Writer) error {
	chosen, err := regexp.Compile(o.rows)
	if err != nil {
		return fmt.Errorf("--rows: %w", err)
	}
	t := &tableRun{
		bench:      b,
		interval:   interval{warm: time.Second, long: seconds(o.seconds)},
		rounds:     o.rounds,
		sessions:   o.sessions,
		scale:      1,
		burstLimit: time.Minute,
	}
	if o.quick {
		t.interval = interval{warm: 50 * time.Millisecond, long: 200 * time.Millisecond}
		t.rounds, t.sessions, t.scale, t.burstLimit = 1, min(o.sessions, 2000), 0.01, 2*time.Second
	}
	printMachine(ctx, out, t)
	var lines []line
	for _, r := range rows {
		if !chosen.MatchString(r.name) {
			continue
		}
		b.progress.step("%s", r.name)
		added, err := r.run(ctx, t, r.name)
		if err != nil { // what was measured before is not lost
			return errors.Join(printLines(out, lines, o.markdown), fmt.Errorf("%s: %w", r.name, err))
		}
		lines = append(lines, added...)
	}
	return printLines(out, lines, o.markdown)
}

var columns = []string{"row", "figure", "measured", "compared with", "ratio", "target", ""}

// printLines writes the table.
func printLines(out io.Writer, lines []line, markdown bool) error {
	write := writeText
	if markdown {
		write = writeMarkdown
	}
	cells := [][]string{columns}
	for _, l := range lines {
		cells = append(cells, l.cells())
	}
	return write(out, cells)
}

func writeText(out io.Writer, cells [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range cells {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

func writeMarkdown(out io.Writer, cells [][]string) error {
	rule := make([]string, len(cells[0]))
	for i, cell := range cells[0] {
		rule[i] = strings.Repeat("-", max(utf8.RuneCountInString(cell), 3))
	}
	cells = append([][]string{cells[0], rule}, cells[1:]...)
	for _, row := range cells {
		if _, err := fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | ")); err != nil {
			return err
		}
	}
	return nil
}
