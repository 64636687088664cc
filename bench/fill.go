package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	fillConnections = 8
	fillBytes       = 256 << 10 // of values in one pipeline
	fillRequests    = 512       // at most, in one pipeline
)

// fill stores the sessions of p from number from on. They have a day to live, or end in
// the second after deadline if it is not zero.
func (b *bench) fill(ctx context.Context, srv *server, p population, from int, deadline time.Time) error {
	chunk := min(max(fillBytes/p.size(0), 1), fillRequests)
	bar := b.progress.bar(int64(p.count-from), "store sessions in "+srv.name)
	c := newCrew(ctx)
	var next atomic.Int64
	next.Store(int64(from))
	for range fillConnections {
		cl, err := c.hire(srv.addr, load{}, p, 0)
		if err != nil {
			return c.dismiss(err)
		}
		c.work(func() error {
			for {
				end := int(next.Add(int64(chunk)))
				i := end - chunk
				end = min(end, p.count)
				if i >= end {
					return nil
				}
				cl.store(i, end, deadline)
				if err := cl.exchange(); err != nil {
					return err
				}
				if err := bar.Add(end - i); err != nil {
					return err
				}
			}
		})
	}
	if err := c.dismiss(nil); err != nil {
		return fmt.Errorf("store sessions in %s: %w", srv.name, err)
	}
	return bar.Finish()
}

// store composes requests that store the sessions from i on, before end.
func (c *client) store(i, end int, deadline time.Time) {
	c.out, c.want = c.out[:0], c.want[:0]
	for ; i < end; i++ {
		if deadline.IsZero() {
			c.out = appendSet(c.out, c.sessions, i)
		} else {
			within := time.Duration(i%1000) * time.Millisecond
			c.out = appendSetUntil(c.out, c.sessions, i, deadline.Add(within))
		}
		c.want = append(c.want, replyOK)
	}
}
