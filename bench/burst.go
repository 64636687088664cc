package main

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// burst is many sessions that end at once beside others that are read.
type burst struct {
	*tableRun
	srv             *server
	resident, dying population
	load            load // on those that stay

	due         time.Time // when the first of the others ends
	empty, full int64     // bytes of the folder without the others, and with them
}

const (
	// Space counts as given back when at most a quarter is left of what the sessions took:
	// the log and the tables in memory have sizes of their own.
	spaceLeft = 0.25
	burstStep = 250 * time.Millisecond
	// burstMargin is time for the server to settle before the sessions end.
	burstMargin = 5 * time.Second
)

// runBurst measures how a million sessions end that are due within one second.
func runBurst(ctx context.Context, t *tableRun, name string) ([]line, error) {
	b := burst{
		tableRun: t,
		resident: t.population(t.sessions, sizes{512}),
		dying:    t.population(t.scaled(1_000_000), sizes{512}),
		load:     load{name: "GET while sessions end", connections: 20, mix: onlyGet, rate: 2000},
	}
	b.dying.first = 1 << 40
	var lines []line
	err := t.with(ctx, oursSession, population{}, func(srv *server) (err error) {
		b.srv = srv
		lines, err = b.run(ctx, name)
		return err
	})
	return lines, err
}

func (b *burst) run(ctx context.Context, name string) ([]line, error) {
	if err := b.store(ctx); err != nil {
		return nil, err
	}
	quiet, err := b.load.run(ctx, b.srv, b.resident, interval{warm: b.warm, long: 2 * b.long})
	if err != nil {
		return nil, err
	}
	left := time.Until(b.due)
	if left < 0 {
		return nil, errors.New("the sessions were due before all were there: something else slows the machine down")
	}
	b.progress.step("  %d sessions end in %v", b.dying.count, left.Round(time.Second))
	if err := pause(ctx, left); err != nil {
		return nil, err
	}
	gone, busy, err := b.awaitEnd(ctx)
	if err != nil {
		return nil, err
	}
	space, share, err := b.awaitSpace(ctx)
	if err != nil {
		return nil, err
	}
	b.progress.step("  %s before, %s with the sessions, %.0f %% of the difference left",
		bytesUnit(float64(b.empty)), bytesUnit(float64(b.full)), 100*share)
	took := func(figure string, d time.Duration) line {
		return line{row: name, figure: figure, unit: timeUnit, ours: []float64{d.Seconds()},
			oursName: b.srv.name, target: figureAtMost(b.burstLimit.Seconds())}
	}
	return []line{
		took("gone after", gone),
		took("space given back after", space),
		{row: name, figure: "GET p99", unit: timeUnit, ours: []float64{busy.quantile(0.99).Seconds()}, oursName: "meanwhile",
			against: []float64{quiet.p99()}, againstName: "quiet", target: ratioAtMost(2)},
	}, nil
}

// store stores the sessions that stay and those that end, and sees what room the latter
// take. They end late enough for all to be there before.
func (b *burst) store(ctx context.Context) (err error) {
	begun := time.Now()
	if err := b.fill(ctx, b.srv, b.resident, 0, time.Time{}); err != nil {
		return err
	}
	lead := time.Since(begun) * time.Duration(b.dying.count) / time.Duration(b.resident.count)
	if err := b.srv.settle(ctx); err != nil {
		return err
	}
	if b.empty, err = folderSize(b.srv.dir); err != nil {
		return err
	}
	b.due = time.Now().Add(3*lead/2 + b.burstLimit/2 + burstMargin)
	if err := b.fill(ctx, b.srv, b.dying, 0, b.due); err != nil {
		return err
	}
	if err := b.srv.settle(ctx); err != nil {
		return err
	}
	b.full, err = folderSize(b.srv.dir)
	return err
}

// awaitEnd reads sessions until those that are due have gone.
func (b *burst) awaitEnd(ctx context.Context) (gone time.Duration, busy histogram, err error) {
	for time.Since(b.due) < 2*b.burstLimit {
		r, err := b.load.run(ctx, b.srv, b.resident, interval{long: burstStep})
		if err != nil {
			return 0, busy, err
		}
		busy.merge(&r.latency)
		size, err := b.srv.ask("DBSIZE")
		if err != nil {
			return 0, busy, err
		}
		if n, err := strconv.Atoi(size); err != nil || n <= b.resident.count {
			return time.Since(b.due), busy, err
		}
	}
	return 0, busy, errors.New("the sessions do not go")
}

// awaitSpace waits until the folder has shrunk again. Share is what is left then.
func (b *burst) awaitSpace(ctx context.Context) (took time.Duration, share float64, err error) {
	for {
		size, err := folderSize(b.srv.dir)
		if err != nil {
			return 0, 0, err
		}
		took = time.Since(b.due)
		share = float64(size-b.empty) / float64(max(b.full-b.empty, 1))
		if share <= spaceLeft || took > 2*b.burstLimit {
			return took, share, nil
		}
		if err := pause(ctx, burstStep); err != nil {
			return 0, 0, err
		}
	}
}
