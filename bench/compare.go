package main

import (
	"context"
	"errors"
	"slices"
	"time"
)

// experiment puts the same loads on several servers, each of which holds the same sessions.
type experiment struct {
	settings []setting
	sessions population
	loads    []load
}

// outcome holds what an experiment has measured, round by round.
type outcome map[place][]result

// place names a setting and a load.
type place struct{ setting, load string }

// pick returns one figure of each round.
func (o outcome) pick(setting, load string, figure func(result) float64) []float64 {
	var figures []float64
	for _, r := range o[place{setting, load}] {
		figures = append(figures, figure(r))
	}
	return figures
}

// measure runs an experiment, rounds times. The servers run one after the other, in turn
// forwards and backwards, and each begins with an empty folder.
func (t *tableRun) measure(ctx context.Context, e experiment, rounds int) (outcome, error) {
	out := outcome{}
	settings := slices.Clone(e.settings)
	for round := range rounds {
		for _, s := range settings {
			t.progress.step("  round %d of %d, %s", round+1, rounds, s.name)
			err := t.with(ctx, s, e.sessions, func(srv *server) error {
				for _, l := range e.loads {
					r, err := l.run(ctx, srv, e.sessions, t.interval)
					if err != nil {
						return err
					}
					out[place{s.name, l.name}] = append(out[place{s.name, l.name}], r)
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		slices.Reverse(settings)
	}
	return out, nil
}

// with calls fn with a server that holds the sessions of p and is at rest, and removes it
// afterwards.
func (t *tableRun) with(ctx context.Context, s setting, p population, fn func(*server) error) (err error) {
	srv, err := t.prepare(s, t.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.discard()) }()
	if err := srv.start(ctx); err != nil {
		return err
	}
	if p.count > 0 {
		if err := t.fill(ctx, srv, p, 0, time.Time{}); err != nil {
			return err
		}
		if err := srv.rest(ctx); err != nil {
			return err
		}
	}
	return fn(srv)
}

// rest waits until the server has done what storing sessions has left to do, such as a
// checkpoint or merges of tables, which may begin a second or two later: what is measured
// afterwards pays for itself alone. A server that is busy for longer than restLimit is
// measured as it is.
func (s *server) rest(ctx context.Context) error {
	quiet := 0
	for begun := time.Now(); quiet < quietSeconds && time.Since(begun) < restLimit; {
		before, err := s.cpu()
		if err != nil {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		after, err := s.cpu()
		if err != nil {
			return err
		}
		if quiet++; after-before > 2*tick {
			quiet = 0
		}
	}
	return nil
}

const (
	quietSeconds = 3
	restLimit    = 30 * time.Second
)

// comparison makes lines that set one place of an outcome beside another.
type comparison struct {
	row           string
	outcome       outcome
	ours, against place
}

func (c comparison) line(figure string, u unit, of func(result) float64, t target) line {
	return line{
		row: c.row, figure: figure, unit: u,
		ours: c.outcome.pick(c.ours.setting, c.ours.load, of), oursName: c.ours.setting,
		against: c.outcome.pick(c.against.setting, c.against.load, of), againstName: c.against.setting,
		target: t,
	}
}

func (c comparison) cpu(t target) line { return c.line("CPU per op", timeUnit, result.cpuPerOp, t) }

func (c comparison) rate(t target) line { return c.line("ops/s", opsUnit, result.rate, t) }

// client tells what the load generator took: if it is much, the rates say little.
func (c comparison) client() line {
	return c.line("client CPU per op", timeUnit, result.clientPerOp, target{})
}
