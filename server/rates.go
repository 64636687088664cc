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

// rates are INFO's figures per second. As in Redis each is the mean of 16 samples, one for
// 100 ms. Nobody wakes up to take them: whoever has read from a client or is asked by one takes
// what is due, and a time in which nobody did is filled with its mean, which is exact for a
// server that was idle. The zero value is ready to use, also concurrently.
type rates struct {
	last atomic.Int64 // ttl.Instant of the newest sample

	mu      sync.Mutex
	before  flow // the totals at last
	samples [rateSamples]flow
	next    int // index of the oldest sample
}

// flow is how much went through the server: in all, or in a second.
type flow struct{ commands, received, sent int64 }

// perSecond returns what came in d, by the second.
func (f flow) perSecond(before flow, d time.Duration) flow {
	rate := func(n int64) int64 { return n * 1000 / d.Milliseconds() }
	return flow{rate(f.commands - before.commands), rate(f.received - before.received), rate(f.sent - before.sent)}
}

func (t *totals) flow() flow { return flow{t.commands.Load(), t.received.Load(), t.sent.Load()} }

// due reports whether a sample is due at now. After a clock was set back one always is.
func (r *rates) due(now ttl.Instant) bool {
	since := now.Sub(ttl.Instant(r.last.Load()))
	return since < 0 || since >= rateInterval
}

// sample takes the samples that are due at now and reports whether there were any.
func (r *rates) sample(now ttl.Instant, t *totals) bool {
	if !r.due(now) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.due(now) {
		return false // another one was faster
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

// mean returns what went through the server in a second of late.
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

// reset forgets the samples, after the totals were reset.
func (r *rates) reset(now ttl.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.samples = flow{}, [rateSamples]flow{}
	r.last.Store(int64(now))
}
