package main

import (
	"context"
	"fmt"
)

// row is one entry of the table, which may take several lines.
type row struct {
	name string
	run  func(ctx context.Context, t *tableRun, name string) ([]line, error)
}

func tableRows() []row {
	return []row{
		{"mix 512 B", mixRow(sizes{512}, 1.1)},
		{"mix 200 B to 4 KB", mixRow(mixedSizes, 1.5)},
		{"durable SET", runDurable},
		{"latency of the mix at half load", runLatency},
		{"1 MB values", runLargeValues},
		{"bytes written per touch, 512 B", touchRow(512)},
		{"bytes written per touch, 1 MB", touchRow(1 << 20)},
		{"1 million sessions due in one second", runBurst},
		{"10,000 idle connections", runIdle},
		{"one core and two", runCores},
	}
}

// The settings that rows compare.
var (
	oursEverySec  = sessiond("everysec")
	oursSession   = sessiond("session")
	oursStrict    = sessiond("strict")
	redisEverySec = redis("everysec", neverRewrite, never)
	redisAlways   = redis("always", neverRewrite, never)
)

// The loads that several rows have.
var (
	plainMix     = load{name: "no pipeline", connections: 50, mix: sessionMix}
	pipelinedMix = load{name: "pipeline 16", connections: 50, pipeline: 16, mix: sessionMix}
)

// mixRow returns a row that measures 60 % GET, 35 % EXPIRE and 5 % SET. piped is how much
// more of the processor than Redis everysec may be taken with a pipeline.
func mixRow(values sizes, piped float64) func(context.Context, *tableRun, string) ([]line, error) {
	return func(ctx context.Context, t *tableRun, name string) ([]line, error) {
		out, err := t.measure(ctx, experiment{
			settings: []setting{oursEverySec, redisEverySec, oursSession, redisAlways},
			sessions: t.population(t.sessions, values),
			loads:    []load{plainMix, pipelinedMix},
		}, t.rounds)
		if err != nil {
			return nil, err
		}
		versus := func(l load, ours, against setting) comparison {
			return comparison{name + ", " + l.name, out, place{ours.name, l.name}, place{against.name, l.name}}
		}
		lax := versus(plainMix, oursEverySec, redisEverySec)
		safe := versus(plainMix, oursSession, redisEverySec)
		safest := versus(plainMix, oursSession, redisAlways)
		pipedLax := versus(pipelinedMix, oursEverySec, redisEverySec)
		pipedSafe := versus(pipelinedMix, oursSession, redisEverySec)
		pipedSafest := versus(pipelinedMix, oursSession, redisAlways)
		return []line{
			lax.cpu(ratioAtMost(1.25)), lax.rate(ratioAtLeast(0.9)), lax.client(),
			safe.cpu(ratioAtMost(1.45)), safe.rate(target{}),
			safest.cpu(target{}), safest.rate(target{}),
			pipedLax.cpu(ratioAtMost(piped)), pipedLax.rate(ratioAtLeast(1)), pipedLax.client(),
			pipedSafe.cpu(ratioAtMost(1.4)), pipedSafe.rate(target{}),
			pipedSafest.cpu(target{}), pipedSafest.rate(target{}),
		}, nil
	}
}

// runDurable measures writes that are on the disk before their reply.
func runDurable(ctx context.Context, t *tableRun, name string) ([]line, error) {
	var loads []load
	asked := map[int]float64{1: 1.2, 50: 1, 200: 1}
	for _, n := range []int{1, 50, 200} {
		loads = append(loads, load{name: fmt.Sprintf("%d connections", n), connections: n, mix: onlySet})
	}
	out, err := t.measure(ctx, experiment{
		settings: []setting{oursStrict, redisAlways},
		sessions: t.population(t.sessions, sizes{512}),
		loads:    loads,
	}, t.rounds)
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, l := range loads {
		c := comparison{name + ", " + l.name, out, place{oursStrict.name, l.name}, place{redisAlways.name, l.name}}
		lines = append(lines, c.rate(ratioAtLeast(asked[l.connections])), c.cpu(target{}))
	}
	return lines, nil
}

// runLatency measures both servers at half of what the slower one can do.
func runLatency(ctx context.Context, t *tableRun, name string) ([]line, error) {
	e := experiment{
		settings: []setting{oursEverySec, oursSession, redisEverySec},
		sessions: t.population(t.sessions, sizes{512}),
		loads:    []load{plainMix},
	}
	out, err := t.measure(ctx, e, 1)
	if err != nil {
		return nil, err
	}
	half := plainMix
	for _, s := range e.settings {
		if rate := median(out.pick(s.name, half.name, result.rate)) / 2; half.rate == 0 || rate < half.rate {
			half.rate = rate
		}
	}
	e.loads = []load{half}
	if out, err = t.measure(ctx, e, t.rounds); err != nil {
		return nil, err
	}
	name = fmt.Sprintf("%s, %.0f ops/s", name, half.rate)
	var lines []line
	for _, s := range []setting{oursEverySec, oursSession} {
		c := comparison{name, out, place{s.name, half.name}, place{redisEverySec.name, half.name}}
		p50 := func(r result) float64 { return r.latency.quantile(0.5).Seconds() }
		p999 := func(r result) float64 { return r.latency.quantile(0.999).Seconds() }
		lines = append(lines,
			c.line("p50", timeUnit, p50, target{}),
			c.line("p99", timeUnit, result.p99, ratioAtMost(1.5)),
			c.line("p99.9", timeUnit, p999, target{}))
	}
	return lines, nil
}

// runLargeValues measures sessions of 1 MB.
func runLargeValues(ctx context.Context, t *tableRun, name string) ([]line, error) {
	const size = 1 << 20
	get := load{name: "GET", connections: 10, mix: onlyGet}
	set := load{name: "SET", connections: 10, mix: onlySet}
	out, err := t.measure(ctx, experiment{
		settings: []setting{oursEverySec, redisEverySec},
		sessions: t.population(t.scaled(200), sizes{size}),
		loads:    []load{get, set},
	}, t.rounds)
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, l := range []load{get, set} {
		c := comparison{name + ", " + l.name, out, place{oursEverySec.name, l.name}, place{redisEverySec.name, l.name}}
		speed := func(r result) float64 { return r.rate() * size }
		lines = append(lines, c.line("throughput", bytesPerSecondUnit, speed, ratioAtLeast(0.8)), c.cpu(target{}))
	}
	return lines, nil
}

// runCores measures sessiond on one core and on two. The load generator takes what is left.
func runCores(ctx context.Context, t *tableRun, name string) ([]line, error) {
	one, two := oursEverySec, oursEverySec
	one.name, one.cores, one.env = "sessiond on core 0", "0", []string{"GOMAXPROCS=1"}
	two.name, two.cores, two.env = "sessiond on cores 0 and 1", "0,1", []string{"GOMAXPROCS=2"}
	out, err := t.measure(ctx, experiment{
		settings: []setting{two, one},
		sessions: t.population(t.sessions, sizes{512}),
		loads:    []load{pipelinedMix},
	}, t.rounds)
	if err != nil {
		return nil, err
	}
	l := pipelinedMix.name
	c := comparison{name + ", mix, " + l, out, place{two.name, l}, place{one.name, l}}
	return []line{c.rate(ratioAtLeast(1)), c.cpu(target{})}, nil
}
