package server

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

const (
	// sendTime is how long a client may take to accept sendSize bytes.
	sendTime = 60 * time.Second
	sendSize = 1 << 20
)

// outbox sends everything that a connection sends. It sends segments: whole replies or whole pushes,
// each with the barrier of the changes that it reports.
//
// Replies. The reading goroutine appends them to conn.out and adds their barrier to conn.owed.
// flush takes the turn and sends them as one segment. A plain connection has no other sender: it has
// one goroutine, and its queue is always empty.
//
// Pushes. A push is sent without a request, such as a message of a channel.
//
//  1. The first subscription calls startPushes on the reading goroutine, which starts a second
//     goroutine, pushLoop. From then on replies are flushed after every command.
//  2. The subscription flushes its confirmation before publishers can find the connection, so that
//     no message arrives before it.
//  3. Any goroutine calls push. It appends a segment to the queue, wakes pushLoop and returns.
//     It waits for neither the disk nor the client, so a slow subscriber delays no publisher.
//  4. pushLoop takes the turn and sends the queue. It passes the barrier of each segment first.
//  5. flush sends the queue before its own segment. So a push arrives after all replies that were
//     flushed before it was queued, before all replies that are flushed later, and never in the
//     middle of a reply.
//
// A queue larger than the hard limit of client-output-buffer-limit cuts the connection. Until there
// is a class pubsub this is the limit of class normal. The soft limit applies to each segment alone.
//
// Lock order: turn -> mu. Nothing waits while it holds mu.
type outbox struct {
	pushing bool // startPushes was called; for the reading goroutine only

	// turn is held while a segment is sent. It guards the three fields below. Only the reading
	// goroutine sets the first two, so it may read them without turn.
	turn    sync.Mutex
	output  outputBounds
	loginBy time.Time // when a client that has not logged in is cut; zero once it has
	writeBy time.Time // the present write deadline

	torn    atomic.Bool // a write failed: the client may have got a part of a reply
	waiting atomic.Bool // the queue is not empty

	mu    sync.Mutex
	queue []segment
	size  int           // bytes of pushes that are queued or being sent
	held  share         // taken for size
	wake  chan struct{} // nil if pushes are dropped
	loop  sync.WaitGroup
}

// segment is sent as a whole after its barrier was passed. Its bytes must not change until it was
// sent.
type segment struct {
	bytes   []byte
	barrier storage.Barrier
}

// pushFree is how many bytes of pushes of one client are not charged to a budget.
const pushFree = 64 << 10

// setOutput is called by the reading goroutine.
func (o *outbox) setOutput(b outputBounds) {
	if b == o.output {
		return
	}
	o.turn.Lock()
	defer o.turn.Unlock()
	o.output = b
}

// setLoginBy is called by the reading goroutine.
func (o *outbox) setLoginBy(by time.Time) {
	if by == o.loginBy {
		return // AUTH inside EXEC, which holds locks
	}
	o.turn.Lock()
	defer o.turn.Unlock()
	o.loginBy = by
}

// add queues a segment. If more than limit bytes would wait it drops the segment and ok is false.
func (o *outbox) add(s segment, limit int) (ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	size := o.size + len(s.bytes)
	switch {
	case o.wake == nil:
		return true // the connection is about to end
	case size > limit || !o.held.Hold(size-pushFree):
		return false
	}
	o.size = size
	o.queue = append(o.queue, s)
	o.waiting.Store(true)
	select {
	case o.wake <- struct{}{}:
	default: // pushLoop was woken already
	}
	return true
}

// take empties the queue.
func (o *outbox) take() []segment {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue := o.queue
	o.queue = nil
	o.waiting.Store(false)
	return queue
}

// sent subtracts n bytes of pushes that were sent.
func (o *outbox) sent(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.size -= n
	o.held.Hold(o.size - pushFree) // less is always granted
}

// close drops the queue and all later pushes, and ends pushLoop.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wake != nil {
		close(o.wake)
		o.wake = nil
	}
	o.queue, o.size = nil, 0
	o.held.Hold(0)
}

// startPushes lets other goroutines push. The reading goroutine calls it.
func (c *conn) startPushes() {
	if c.outbox.pushing {
		return
	}
	c.outbox.pushing = true
	wake := make(chan struct{}, 1)
	c.outbox.mu.Lock()
	defer c.outbox.mu.Unlock()
	c.outbox.wake = wake
	c.outbox.loop.Go(func() { c.pushLoop(wake) })
}

// endPushes ends pushLoop. The connection must be closed already, or a push that is being sent could
// wait for its client.
func (c *conn) endPushes() {
	c.outbox.close()
	c.outbox.loop.Wait()
}

// push queues a push, from any goroutine, without waiting. It cuts a client whose queue is too large.
func (c *conn) push(s segment) {
	if c.outbox.add(s, c.srv.settings.bounds().output.hard) {
		return
	}
	if c.isCut.Load() {
		return
	}
	c.srv.log.Warn("client closed: its pushes exceed client-output-buffer-limit, or what all clients may hold", "client", c.id)
	c.srv.stats.outputLimit.Add(1)
	c.cut()
}

// pushLoop sends pushes each time it is woken.
func (c *conn) pushLoop(wake <-chan struct{}) {
	for range wake {
		if c.sendPushes() != nil {
			c.cut() // the reading goroutine ends the connection
			return
		}
	}
}

func (c *conn) sendPushes() error {
	c.outbox.turn.Lock()
	defer c.outbox.turn.Unlock()
	return c.sendQueue()
}

// sendQueue sends the queued pushes. The caller holds turn.
func (c *conn) sendQueue() error {
	for c.outbox.waiting.Load() {
		for _, s := range c.outbox.take() {
			if err := c.sendSegment(s); err != nil {
				return err
			}
			c.outbox.sent(len(s.bytes))
		}
	}
	return nil
}

// flush waits until the changes that the replies report are safe, and sends the replies.
func (c *conn) flush() error {
	c.srv.stats.totals.take(&c.tally)
	if c.out.Len() == 0 {
		return nil
	}
	err := c.sendReplies(segment{c.out.Bytes(), c.owed})
	c.owed = 0
	c.srv.replies.give(c.lent, c.out.Release()) // an idle connection holds no buffer
	c.lent = nil
	return err
}

func (c *conn) sendReplies(s segment) error {
	c.outbox.turn.Lock()
	defer c.outbox.turn.Unlock()
	if err := c.sendQueue(); err != nil {
		return err
	}
	return c.sendSegment(s)
}

// sendSegment passes the barrier of a segment and sends it. Nothing is sent in any other way, so no
// reply is sent before the change that it reports is safe. The caller holds turn.
func (c *conn) sendSegment(s segment) error {
	if err := c.srv.keyspace.Sync(context.Background(), s.barrier); err != nil {
		return c.withhold(s, err)
	}
	return c.send(s.bytes)
}

// withhold sends one error in place of a segment that may report changes that are not safe, and
// returns the error that ends the connection. The client reads the error as the reply to the first
// command that it waits for, and loses the connection.
func (c *conn) withhold(s segment, err error) error {
	if s.barrier != 0 {
		c.srv.log.Error("replies withheld: changes could not be made durable", "client", c.id, "err", err)
	}
	if errors.Is(err, storage.ErrFailed) {
		_ = c.send([]byte("-" + string(errStoreFailed) + "\r\n")) // the connection is closed next
	}
	return err
}

// send writes b. It fails if the client does not read.
func (c *conn) send(b []byte) error {
	if over := len(b) - c.outbox.output.soft; over > 0 {
		if err := c.sendOver(b[:over]); err != nil {
			return err
		}
		b = b[over:]
	}
	return c.sendPieces(b)
}

// sendPieces writes b piece by piece.
func (c *conn) sendPieces(b []byte) error {
	for len(b) > 0 {
		size := sendSize
		if c.srv.stopping() {
			size = lastSendSize
		}
		if err := c.extendWriteDeadline(); err != nil {
			return err
		}
		n, err := c.socket.Write(b[:min(len(b), size)])
		c.srv.stats.totals.sent.Add(int64(n))
		if err != nil {
			if err = c.sendError(n, err); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	return nil
}

// extendWriteDeadline gives the client sendTime from now, or lastSendTime when the server stops. It
// adds a quarter to sendTime so that it need not set the deadline for every reply.
func (c *conn) extendWriteDeadline() error {
	now := ttl.System.Now()
	stopping, loggedIn := c.srv.stopping(), c.outbox.loginBy.IsZero()
	switch {
	case stopping:
		c.outbox.writeBy = now.Add(lastSendTime).Time()
	case loggedIn && c.outbox.writeBy.After(now.Add(sendTime).Time()):
		return nil
	default:
		c.outbox.writeBy = now.Add(sendTime + sendTime/4).Time()
	}
	if !loggedIn && c.outbox.loginBy.Before(c.outbox.writeBy) {
		c.outbox.writeBy = c.outbox.loginBy
	}
	if err := c.net.SetWriteDeadline(c.outbox.writeBy); err != nil {
		return err
	}
	// What came before would be forgotten by the new deadline.
	switch {
	case c.isCut.Load():
		return net.ErrClosed
	case !stopping && c.srv.stopping():
		return c.extendWriteDeadline()
	}
	return nil
}
