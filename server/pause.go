package server

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/ttl"
)

// pause is the state of CLIENT PAUSE: until when the commands of clients wait, all or those
// that write. It is safe for concurrent use.
type pause struct {
	on   atomic.Bool  // all that is looked at while nothing is paused
	held atomic.Int64 // clients that wait

	mu      sync.Mutex
	until   ttl.Instant
	all     bool
	changed context.Context // ends when until or all changes, and when the server stops
	change  context.CancelFunc
}

// maxPauseSleep is after how long a client that waits looks at the clock again.
const maxPauseSleep = time.Hour

// begin pauses clients. As in Redis, a pause under way gets no shorter by it, nor less strict.
func (p *pause) begin(stopped context.Context, now, until ttl.Instant, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until > now {
		until, all = max(until, p.until), all || p.all
	}
	p.endLocked()
	p.until, p.all = until, all
	p.changed, p.change = context.WithCancel(stopped)
	p.on.Store(true)
}

// end lets all clients go on.
func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked()
}

func (p *pause) endLocked() {
	p.on.Store(false)
	p.until = 0
	if p.change != nil {
		p.change()
	}
}

// holds reports whether a command that writes, or does not, has to wait at now, and how: until
// when, unless changed ends first.
func (p *pause) holds(writes bool, now ttl.Instant) (changed context.Context, until ttl.Instant, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until <= now {
		p.endLocked()
		return nil, 0, false
	}
	return p.changed, p.until, p.all || writes
}

// waitPaused returns when a pause no longer holds the command, and costs one load if there is
// none. Replies to commands before it are sent first. The stop of the server ends a pause. It
// returns net.ErrClosed if the connection was cut meanwhile; that its client has gone by itself
// shows when the pause is over.
func (c *conn) waitPaused(args [][]byte) error {
	if !c.srv.pause.on.Load() {
		return nil
	}
	waiting := false
	defer func() { c.noteHeld(&waiting, false) }()
	for c.srv.pause.on.Load() && !c.srv.stopping() {
		cmd, ok := c.mayRun(args) // asked again and again: rules may change
		if !ok {
			return nil
		}
		now := c.srv.keyspace.Now()
		changed, until, yes := c.srv.pause.holds(c.writes(cmd), now)
		if !yes {
			return nil
		}
		if !waiting {
			if err := c.flush(); err != nil {
				return err
			}
			c.lastCommand.Store(cmd)
			c.noteHeld(&waiting, true)
		}
		ctx, wake := context.WithCancel(changed)
		c.unpause.Store(&wake)
		if !c.isCut.Load() {
			_ = c.srv.keyspace.Sleep(ctx, min(until.Sub(now), maxPauseSleep)) // the loop asks what ended it
		}
		c.unpause.Store(nil)
		wake()
		if c.isCut.Load() {
			return net.ErrClosed
		}
	}
	return nil
}

// mayRun finds the row of a command line that no gate will refuse. Refusals are for dispatch to
// tell, and are not held up by a pause.
func (c *conn) mayRun(args [][]byte) (*command, bool) {
	cmd, err := c.admit(args)
	if err != nil {
		return nil, false
	}
	rules := c.user.Rules()
	if rules.Unlimited() {
		return cmd, true
	}
	why, _ := rules.Check(&cmd.rights, args)
	return cmd, why == acl.Allowed && !rules.Deleted()
}

// writes reports whether a pause of writes concerns a command. What is queued by MULTI counts
// as much as what runs now.
func (c *conn) writes(cmd *command) bool {
	if cmd.is(runsQueue) {
		for _, q := range c.transaction.queued {
			if q.cmd.is(write) {
				return true
			}
		}
	}
	return cmd.is(write)
}

// noteHeld shows others that the client waits, or waits no more.
func (c *conn) noteHeld(was *bool, held bool) {
	if *was == held {
		return
	}
	*was = held
	if held {
		c.srv.pause.held.Add(1)
	} else {
		c.srv.pause.held.Add(-1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.held = held
}

// parsePause reads the milliseconds of a CLIENT PAUSE and whether it is for all commands. A
// pause that ends after the last instant there is has no end.
func parsePause(args [][]byte, now ttl.Instant) (until ttl.Instant, all bool, err error) {
	all = true
	if len(args) == 2 {
		switch {
		case equalFold(args[1], "WRITE"):
			all = false
		case !equalFold(args[1], "ALL"):
			return 0, false, errPauseMode
		}
	}
	ms, ok := resp.ParseInt(args[0])
	switch {
	case !ok:
		return 0, false, errPauseTimeout
	case ms < 0:
		return 0, false, errPauseNegative
	case ttl.Instant(ms) > ttl.Latest-now:
		return ttl.Latest, all, nil
	}
	return now + ttl.Instant(ms), all, nil
}

func runClientPause(c *call) error {
	if len(c.args) > 4 {
		return errSubcommandUse(c.args[1], "CLIENT")
	}
	now := c.srv.keyspace.Now()
	until, all, err := parsePause(c.args[2:], now)
	if err != nil {
		return err
	}
	c.srv.pause.begin(c.srv.stopped, now, until, all)
	c.out.OK()
	return nil
}

func runClientUnpause(c *call) error {
	c.srv.pause.end()
	c.out.OK()
	return nil
}

// runClientUnblock finds nobody to unblock: no command here waits for data, and whoever a pause
// holds is not blocked in that sense. (Redis 7.0 crashes when it is asked to unblock one; 7.2
// answers 0.)
func runClientUnblock(c *call) error {
	switch {
	case len(c.args) > 4:
		return errSubcommandUse(c.args[1], "CLIENT")
	case len(c.args) == 4 && !c.is(3, "TIMEOUT") && !c.is(3, "ERROR"):
		return errUnblockReason
	}
	if _, ok := resp.ParseInt(c.args[2]); !ok {
		return errNotInteger
	}
	c.out.Int(0)
	return nil
}
