package main

import (
	"context"
	"time"
)

// touchRow returns a row that counts what a touch writes to the disk: the log, and what
// becomes of it later.
func touchRow(size int) func(context.Context, *tableRun, string) ([]line, error) {
	return func(ctx context.Context, t *tableRun, name string) ([]line, error) {
		sessions := t.population(t.sessions, sizes{size})
		if size > 1<<16 {
			sessions.count = t.scaled(200)
		}
		touch := load{name: "EXPIRE", connections: 50, pipeline: 16, mix: onlyExpire}
		l := line{row: name, figure: "bytes per EXPIRE", unit: bytesUnit, target: figureAtMost(130)}
		for _, s := range []setting{oursSession, redisEverySec} {
			t.progress.step("  %s", s.name)
			err := t.with(ctx, s, sessions, func(srv *server) error {
				perTouch, err := writtenPerOp(ctx, srv, sessions, touch, interval{long: 4 * t.long})
				if s.redis {
					l.against, l.againstName = []float64{perTouch}, s.name
				} else {
					l.ours, l.oursName = []float64{perTouch}, s.name
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		return []line{l}, nil
	}
}

// writtenPerOp returns what the load wrote to the disk, from rest to rest.
func writtenPerOp(ctx context.Context, srv *server, p population, l load, when interval) (float64, error) {
	if err := srv.settle(ctx); err != nil {
		return 0, err
	}
	before, err := srv.written()
	if err != nil {
		return 0, err
	}
	r, err := l.run(ctx, srv, p, when)
	if err != nil {
		return 0, err
	}
	if err := srv.settle(ctx); err != nil {
		return 0, err
	}
	after, err := srv.written()
	return float64(after-before) / float64(r.all), err
}

// runIdle measures the memory of connections that have asked once and then are silent.
func runIdle(ctx context.Context, t *tableRun, name string) ([]line, error) {
	n := t.scaled(10_000)
	l := line{row: name, figure: "memory of each", unit: bytesUnit, target: figureAtMost(12 << 10)}
	for _, s := range []setting{oursSession, redisEverySec} {
		t.progress.step("  %s", s.name)
		sessions := t.population(t.scaled(1000), sizes{512})
		err := t.with(ctx, s, sessions, func(srv *server) error {
			each, err := idleMemory(ctx, srv, sessions, n)
			if s.redis {
				l.against, l.againstName = []float64{each}, s.name
			} else {
				l.ours, l.oursName = []float64{each}, s.name
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return []line{l}, nil
}

// idleRest is how long the server may take to give back what it needed for a moment.
const idleRest = 5 * time.Second

func idleMemory(ctx context.Context, srv *server, p population, n int) (float64, error) {
	if err := pause(ctx, idleRest); err != nil {
		return 0, err
	}
	before, err := srv.resident()
	if err != nil {
		return 0, err
	}
	c := newCrew(ctx)
	for i := range n {
		cl, err := c.hire(srv.addr, load{mix: onlyGet}, p, uint64(i))
		if err != nil {
			return 0, c.dismiss(err)
		}
		cl.compose()
		if err := cl.exchange(); err != nil {
			return 0, c.dismiss(err)
		}
	}
	if err := pause(ctx, idleRest); err != nil {
		return 0, c.dismiss(err)
	}
	after, err := srv.resident()
	return float64(after-before) / float64(n), c.dismiss(err)
}
