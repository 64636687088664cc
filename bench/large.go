package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

func largeFlags(o *options, set *pflag.FlagSet) {
	set.IntVar(&o.sessions, "sessions", 10_000_000, "`number` of sessions at the end, of 512 bytes each")
	set.IntVar(&o.rounds, "repeats", 3, "`number` of measurements of each figure, and of kills")
	set.BoolVar(&o.withRedis, "redis", false, "the same with redis-server, which takes about a kilobyte of memory for each session")
	outputFlags(o, set)
}

func runLarge(ctx context.Context, b *bench, o *options, out io.Writer) error {
	settings := []setting{oursSession}
	if o.withRedis {
		settings = append(settings, redisEverySec)
	}
	var rows []row
	for _, s := range settings {
		rows = append(rows, row{s.name, func(ctx context.Context, t *tableRun, _ string) ([]line, error) {
			return runGrowth(ctx, t, s)
		}})
	}
	return b.runRows(ctx, o, rows, out)
}

// growth is one server that is given more and more sessions.
type growth struct {
	*tableRun
	srv      *server
	sessions population // all of them, at the end
	points   []int      // numbers of sessions
	series   []series
}

// series is what one load costs at each point.
type series struct {
	row  string
	load load
	// active is how many of the sessions the load is about. Zero means all there are.
	active int
	base   int         // the point with whose cost the others are compared
	target target      // of the last point
	costs  [][]float64 // CPU per op, in seconds
}

// growthSteps divide the sessions at the end into the points where costs are measured.
var growthSteps = []int{1000, 100, 10, 1}

// runGrowth measures what changes with the number of sessions, and should not.
func runGrowth(ctx context.Context, t *tableRun, s setting) (lines []line, err error) {
	err = t.with(ctx, s, population{}, func(srv *server) error {
		g := &growth{tableRun: t, srv: srv, sessions: t.population(t.sessions, sizes{512})}
		active := max(g.sessions.count/growthSteps[0], 1)
		get := load{name: "GET", connections: 50, mix: onlyGet}
		g.series = []series{
			{row: "mix, the same " + thousands(active) + " active of", load: plainMix, active: active},
			{row: "mix, all active of", load: plainMix},
			{row: "GET of a random one of", load: get, base: 1, target: ratioAtMost(4)},
		}
		if err := g.grow(ctx); err != nil {
			return err
		}
		resident, err := srv.resident()
		if err != nil {
			return err
		}
		replies, err := g.kills(ctx)
		lines = g.lines(float64(resident), replies)
		return err
	})
	return lines, err
}

// grow stores more and more sessions and measures at each point.
func (g *growth) grow(ctx context.Context) error {
	stored := 0
	for _, step := range growthSteps {
		p := g.sessions
		p.count = max(p.count/step, 1)
		if err := g.fill(ctx, g.srv, p, stored, time.Time{}); err != nil {
			return err
		}
		stored = p.count
		if err := g.srv.settle(ctx); err != nil {
			return err
		}
		g.points = append(g.points, p.count)
		for i := range g.series {
			if err := g.extend(ctx, &g.series[i], p); err != nil {
				return err
			}
		}
	}
	return nil
}

// extend measures a series at the point where there are the sessions p.
func (g *growth) extend(ctx context.Context, s *series, p population) error {
	all := p.count
	if s.active > 0 {
		p.count = s.active
	}
	var costs []float64
	for range g.rounds {
		r, err := s.load.run(ctx, g.srv, p, g.interval)
		if err != nil {
			return err
		}
		costs = append(costs, r.cpuPerOp())
	}
	g.progress.step("  %s %s: %s of CPU per op", s.row, count(all), timeUnit(median(costs)))
	s.costs = append(s.costs, costs)
	return nil
}

// kills returns how long the server took to its first reply after each kill -9.
func (g *growth) kills(ctx context.Context) (replies []float64, err error) {
	for range g.rounds {
		g.srv.kill()
		took, err := g.srv.revive(ctx, g.sessions, rand.IntN(g.sessions.count))
		if err != nil {
			return nil, err
		}
		g.progress.step("  first reply %v after kill -9", took.Round(time.Millisecond))
		replies = append(replies, took.Seconds())
	}
	return replies, nil
}

func (g *growth) lines(resident float64, replies []float64) (lines []line) {
	last := len(g.points) - 1
	for _, s := range g.series {
		for i := range g.points {
			l := g.compared(s, i)
			if i == last {
				l.target = s.target
			}
			lines = append(lines, l)
		}
	}
	row := count(g.points[last])
	return append(lines,
		line{row: row, figure: "resident memory", unit: bytesUnit, ours: []float64{resident}, oursName: g.srv.name,
			target: figureAtMost(600 << 20)},
		line{row: row, figure: "first reply after kill -9", unit: timeUnit, ours: replies, oursName: g.srv.name,
			target: figureAtMost(1)},
	)
}

// compared returns a line that sets the cost at a point beside that at the base.
func (g *growth) compared(s series, point int) line {
	return line{
		row: s.row + " " + count(g.points[point]), figure: "CPU per op", unit: timeUnit,
		ours: s.costs[point], oursName: g.srv.name,
		against: s.costs[s.base], againstName: count(g.points[s.base]),
	}
}

func count(n int) string { return thousands(n) + " sessions" }

// thousands writes a number with a comma at each thousand.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	var parts []string
	for ; len(digits) > 3; digits = digits[:len(digits)-3] {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}
