package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// A paced load sends each request when it is due, whether the replies to those before have
// come or not, and counts latency from then on. A client that waits for its reply first
// would be as slow as the server and see little of a stall.

const (
	// queued is how many requests of a connection may wait for their replies before the
	// sender waits, too, which then is late for those that follow. It counts as latency.
	queued = 1 << 14
	// grace is how long the last replies may take.
	grace = 10 * time.Second
)

// pacedClient is a client whose requests and replies have a goroutine each.
type pacedClient struct {
	*client
	due chan dueReply
}

type dueReply struct {
	at   time.Time
	want reply
}

// runPaced is run with a rate. Requests come at random moments, as those of many users do.
func (l load) runPaced(ctx context.Context, srv *server, p population, when interval) (result, error) {
	c := newCrew(ctx)
	clients := make([]pacedClient, l.connections)
	for i := range clients {
		hired, err := c.hire(srv.addr, l, p, uint64(i))
		if err != nil {
			return result{}, c.dismiss(err)
		}
		clients[i] = pacedClient{hired, make(chan dueReply, queued)}
	}
	for _, cl := range clients {
		c.work(func() error { return cl.receive(&c.measuring) })
	}
	c.work(func() error { return send(c.ctx, clients, l.rate, &c.stop) })
	r, err := c.measure(srv, when, func() (ops int64) {
		for _, cl := range clients {
			ops += cl.ops.Load()
		}
		return ops
	})
	slow := time.AfterFunc(grace, func() {
		c.cancel(fmt.Errorf("%.0f requests a second are more than the server answers", l.rate))
	})
	defer slow.Stop()
	if err := c.dismiss(err); err != nil {
		return result{}, fmt.Errorf("%s: %w", l.name, err)
	}
	for _, cl := range clients {
		r.all += cl.ops.Load()
		r.latency.merge(&cl.latency)
	}
	return r, nil
}

// send sends what is due, until stop is set. The moments are the same in each run.
func send(ctx context.Context, clients []pacedClient, rate float64, stop *atomic.Bool) error {
	defer func() {
		for _, cl := range clients {
			close(cl.due)
		}
	}()
	random := rand.New(rand.NewPCG(0, 0))
	next := time.Now()
	for !stop.Load() {
		wait := time.Until(next)
		if wait > 0 {
			preciseSleep(wait)
			continue
		}
		if err := clients[random.IntN(len(clients))].sendOne(ctx, next); err != nil {
			return err
		}
		next = next.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
	}
	return nil
}

func (c pacedClient) sendOne(ctx context.Context, due time.Time) error {
	c.out, c.want = c.out[:0], c.want[:0]
	c.compose()
	select {
	case c.due <- dueReply{due, c.want[0]}:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := c.Write(c.out)
	return err
}

// receive reads replies until the sender has no more.
func (c pacedClient) receive(measuring *atomic.Bool) error {
	for d := range c.due {
		if err := expect(c.in, d.want); err != nil {
			return err
		}
		if measuring.Load() {
			c.latency.add(time.Since(d.at))
		}
		c.ops.Add(1)
	}
	return nil
}
