package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

const (
	rateInterval = 100 * time.Millisecond
	rateSamples  = 16
)

// rates are INFO's figures per second. As in Redis each one is the mean of 16 samples, one every
// 100 ms. There is no timer: a connection takes the samples that are due after it has read from its
// client, and before INFO. A period without samples is filled with its mean, which is exact if the
// server was idle. The zero value is ready to use. It is safe for concurrent use.
type rates struct {
	last atomic.Int64 // ttl.Instant of the newest sample

	mu      sync.Mutex
	before  flow // the totals at the newest sample
	samples [rateSamples]flow
	next    int // index of the oldest sample
}

// flow counts what went through the server, in total or in a second.
type flow struct{ commands, received, sent int64 }

// perSecond returns the difference to before, which was measured d earlier, per second.
func (f flow) perSecond(before flow, d time.Duration) flow {
	rate := func(n int64) int64 { return n * 1000 / d.Milliseconds() }
	return flow{rate(f.commands - before.commands), rate(f.received - before.received), rate(f.sent - before.sent)}
}

func (t *totals) flow() flow { return flow{t.commands.Load(), t.received.Load(), t.sent.Load()} }

// due reports whether a sample is due at now. If the clock was set back, one is due.
func (r *rates) due(now ttl.Instant) bool {
	since := now.Sub(ttl.Instant(r.last.Load()))
	return since < 0 || since >= rateInterval
}

// sample takes the samples that are due at now and reports whether any were due.
func (r *rates) sample(now ttl.Instant, t *totals) bool {
	if !r.due(now) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.due(now) {
		return false // another connection was faster
	}
	since := now.Sub(ttl.Instant(r.last.Load()))
	sum := t.flow()
	if since > 0 {
		rate := sum.perSecond(r.before, since)
		for range min(since/rateInterval, rateSamples) {
			r.samples[r.next] = rate
			r.next = (r.next + 1) % rateSamples
		}
	}
	r.before = sum
	r.last.Store(int64(now))
	return true
}

// mean returns the mean of the samples.
func (r *rates) mean() flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sum flow
	for _, s := range r.samples {
		sum.commands += s.commands
		sum.received += s.received
		sum.sent += s.sent
	}
	return flow{sum.commands / rateSamples, sum.received / rateSamples, sum.sent / rateSamples}
}

// reset removes the samples, after the totals were reset.
func (r *rates) reset(now ttl.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.samples = flow{}, [rateSamples]flow{}
	r.last.Store(int64(now))
}
