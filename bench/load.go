package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// load is what clients do to a server.
type load struct {
	name        string
	connections int
	pipeline    int // requests sent before the first reply is read; zero means one
	mix         mix
	// rate is how many requests a second are due, whatever the server does. Zero means as
	// many as it answers.
	rate float64
}

// mix is how many of a hundred requests are what. The rest are SET with EX.
type mix struct{ get, expire int }

var (
	sessionMix = mix{get: 60, expire: 35}
	onlyGet    = mix{get: 100}
	onlyExpire = mix{expire: 100}
	onlySet    = mix{}
)

// result is what a load has measured.
type result struct {
	ops       int64 // in the interval
	all       int64 // with those before and after it
	elapsed   time.Duration
	serverCPU time.Duration
	clientCPU time.Duration
	latency   histogram // of each round trip: one request, or one pipeline
}

func (r result) rate() float64        { return float64(r.ops) / r.elapsed.Seconds() }
func (r result) cpuPerOp() float64    { return r.serverCPU.Seconds() / float64(r.ops) }
func (r result) clientPerOp() float64 { return r.clientCPU.Seconds() / float64(r.ops) }
func (r result) p99() float64         { return r.latency.quantile(0.99).Seconds() }

// interval is when a load is measured: for long, after it went on for warm.
type interval struct{ warm, long time.Duration }

// run puts the load on the server and measures it.
func (l load) run(ctx context.Context, srv *server, p population, when interval) (result, error) {
	if l.rate > 0 {
		return l.runPaced(ctx, srv, p, when)
	}
	c := newCrew(ctx)
	clients := make([]*client, l.connections)
	for i := range clients {
		var err error
		if clients[i], err = c.hire(srv.addr, l, p, uint64(i)); err != nil {
			return result{}, c.dismiss(err)
		}
	}
	for _, cl := range clients {
		c.work(func() error { return cl.loop(&c.stop, &c.measuring) })
	}
	r, err := c.measure(srv, when, func() (ops int64) {
		for _, cl := range clients {
			ops += cl.ops.Load()
		}
		return ops
	})
	if err := c.dismiss(err); err != nil {
		return result{}, fmt.Errorf("%s: %w", l.name, err)
	}
	for _, cl := range clients {
		r.all += cl.ops.Load()
		r.latency.merge(&cl.latency)
	}
	return r, nil
}

// crew runs the goroutines of a load. The first error, or the end of ctx, closes every
// connection and so ends them all.
type crew struct {
	ctx       context.Context
	cancel    context.CancelCauseFunc
	unhook    func() bool
	stop      atomic.Bool // no new requests
	measuring atomic.Bool
	workers   sync.WaitGroup

	mu    sync.Mutex
	conns []*conn
}

func newCrew(ctx context.Context) *crew {
	c := &crew{}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.unhook = context.AfterFunc(c.ctx, c.hangUp)
	return c
}

func (c *crew) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
}

// hire makes a client with a connection and random numbers of its own.
func (c *crew) hire(addr string, l load, p population, seed uint64) (*client, error) {
	conn, err := dial(addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.conns = append(c.conns, conn)
	c.mu.Unlock()
	return &client{conn: conn, load: l, sessions: p, random: rand.New(rand.NewPCG(seed, 1))}, nil
}

func (c *crew) work(fn func() error) {
	c.workers.Go(func() {
		if err := fn(); err != nil {
			c.cancel(err)
		}
	})
}

// dismiss ends the work, closes the connections, and returns the first error of the work, or
// the one given.
func (c *crew) dismiss(err error) error {
	if err != nil {
		c.cancel(err)
	}
	c.stop.Store(true)
	c.workers.Wait()
	if c.unhook() {
		c.hangUp()
	}
	err = context.Cause(c.ctx)
	c.cancel(nil)
	return err
}

// measure lets the work go on for an interval and says what it did meanwhile.
func (c *crew) measure(srv *server, when interval, ops func() int64) (r result, err error) {
	if err := pause(c.ctx, when.warm); err != nil {
		return r, err
	}
	c.measuring.Store(true)
	defer c.measuring.Store(false)
	before, err := takeReading(srv, ops)
	if err != nil {
		return r, err
	}
	if err := pause(c.ctx, when.long); err != nil {
		return r, err
	}
	after, err := takeReading(srv, ops)
	return result{
		ops:       after.ops - before.ops,
		elapsed:   after.at.Sub(before.at),
		serverCPU: after.server - before.server,
		clientCPU: after.client - before.client,
	}, err
}

// reading is how far everything has come at one moment.
type reading struct {
	at             time.Time
	ops            int64
	server, client time.Duration
}

func takeReading(srv *server, ops func() int64) (reading, error) {
	r := reading{at: time.Now(), ops: ops()}
	var err, err2 error
	r.server, err = srv.cpu()
	r.client, err2 = self().cpu()
	return r, errors.Join(err, err2)
}

// client is one connection at work.
type client struct {
	*conn
	load     load
	sessions population
	random   *rand.Rand

	out     []byte
	want    []reply // to what is in out
	ops     atomic.Int64
	latency histogram
}

// loop sends requests and reads the replies until stop is set.
func (c *client) loop(stop, measuring *atomic.Bool) error {
	last := time.Now()
	for !stop.Load() {
		c.out, c.want = c.out[:0], c.want[:0]
		for range max(c.load.pipeline, 1) {
			c.compose()
		}
		if err := c.exchange(); err != nil {
			return err
		}
		now := time.Now()
		if measuring.Load() {
			c.latency.add(now.Sub(last))
		}
		last = now
		c.ops.Add(int64(len(c.want)))
	}
	return nil
}

// compose appends a request for a random session.
func (c *client) compose() {
	i := c.random.IntN(c.sessions.count)
	switch kind := c.random.IntN(100); {
	case kind < c.load.mix.get:
		c.out = appendGet(c.out, c.sessions, i)
		c.want = append(c.want, reply{'$', c.sessions.size(i)})
	case kind < c.load.mix.get+c.load.mix.expire:
		c.out = appendExpire(c.out, c.sessions, i)
		c.want = append(c.want, replyOne)
	default:
		c.out = appendSet(c.out, c.sessions, i)
		c.want = append(c.want, replyOK)
	}
}

// exchange sends what is in out and reads the replies to it.
func (c *client) exchange() error {
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	for _, want := range c.want {
		if err := expect(c.in, want); err != nil {
			return err
		}
	}
	return nil
}
