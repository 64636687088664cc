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

// pause is the state of CLIENT PAUSE. Until an instant, all commands of clients wait, or only those
// that write. It is safe for concurrent use.
type pause struct {
	on   atomic.Bool  // a pause may be under way; the fast path reads only this
	held atomic.Int64 // number of clients that wait

	mu      sync.Mutex
	until   ttl.Instant
	all     bool
	changed context.Context // ends when until or all changes, and when the server stops
	change  context.CancelFunc
}

// maxPauseSleep is how long a waiting client sleeps at most before it reads the clock again.
const maxPauseSleep = time.Hour

// begin pauses clients. As in Redis, it makes a pause that is under way neither shorter nor less
// strict.
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

// end ends the pause.
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

// holds reports whether a command has to wait at now; writes says whether the command writes. The
// command waits until that instant, or until changed ends.
func (p *pause) holds(writes bool, now ttl.Instant) (changed context.Context, until ttl.Instant, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until <= now {
		p.endLocked()
		return nil, 0, false
	}
	return p.changed, p.until, p.all || writes
}

// waitPaused returns when no pause holds the command. Without a pause it costs one load. Before it
// waits it sends the replies to earlier commands. A stop of the server ends a pause. It returns
// net.ErrClosed if the connection was cut meanwhile. It does not notice a client that disconnects; the
// next read after the pause does.
func (c *conn) waitPaused(args [][]byte) error {
	if !c.srv.pause.on.Load() {
		return nil
	}
	waiting := false
	defer func() { c.publishHeld(&waiting, false) }()
	for c.srv.pause.on.Load() && !c.srv.stopping() {
		cmd, ok := c.mayRun(args) // again after each wait: rules may change
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
			c.publishHeld(&waiting, true)
		}
		ctx, wake := context.WithCancel(changed)
		c.unpause.Store(&wake)
		if !c.isCut.Load() {
			_ = c.srv.keyspace.Sleep(ctx, min(until.Sub(now), maxPauseSleep)) // the loop finds out what ended it
		}
		c.unpause.Store(nil)
		wake()
		if c.isCut.Load() {
			return net.ErrClosed
		}
	}
	return nil
}

// mayRun returns the row of a command line if no gate will refuse it. A command that will be refused
// does not wait for a pause: dispatch refuses it at once.
func (c *conn) mayRun(args [][]byte) (*command, bool) {
	cmd, err := c.lookup(args)
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

// writes reports whether a pause of writes applies to a command. For EXEC the queued commands decide.
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

// publishHeld copies to info whether the client waits.
func (c *conn) publishHeld(was *bool, held bool) {
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
	c.info.held = held
}

// parsePause reads how many milliseconds a CLIENT PAUSE lasts and whether it is for all commands. A
// pause beyond ttl.Latest lasts until then.
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

// runClientUnblock never unblocks a client: no command here waits for data, and a client that waits
// for a pause does not count as blocked. (Redis 7.0 crashes if it is asked to unblock such a client;
// Redis 7.2 replies 0.)
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
