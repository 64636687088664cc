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

// outbox is the only way out of a connection. What leaves is in segments: whole replies or
// whole pushes, and the barrier of the changes they report.
//
// Replies. The reading goroutine appends them to conn.out and notes their barrier in conn.owed.
// flush takes the turn and sends them as one segment. A plain connection has no other sender:
// it keeps one goroutine and nothing in the queue.
//
// Pushes. They are what a client hears without having asked, such as a message of a channel.
//
//  1. The first subscription calls startPushes on the reading goroutine, which starts a second
//     goroutine, pushLoop. From then on every command is flushed when it has run.
//  2. The subscription flushes its confirmation before it shows the connection to publishers,
//     so that no message arrives ahead of it.
//  3. Any goroutine calls push. It appends a segment to the queue, wakes pushLoop and returns.
//     It waits for neither the disk nor the client, so a slow subscriber delays no publisher.
//  4. pushLoop takes the turn and sends the queue, each segment behind its barrier.
//  5. flush sends the queue before its own segment. So a push arrives behind all replies that
//     were flushed before it was queued and ahead of all that are flushed later, and never in
//     the middle of one.
//
// A queue larger than the hard limit of client-output-buffer-limit cuts the connection. So far
// that is the limit of class normal; the soft limit holds for each segment alone.
//
// Lock order: turn -> mu. Nothing waits while it holds mu.
type outbox struct {
	pushing bool // startPushes was called; for the reading goroutine

	// turn is held while a segment is sent. The fields below are for whoever holds it. The
	// reading goroutine alone sets the first two, so it may read them without.
	turn    sync.Mutex
	output  outputBounds
	loginBy time.Time // when a client that has not logged in is cut; zero once it has
	writeBy time.Time // the write deadline that is set

	torn    atomic.Bool // the client got a part of what was sent, or nothing
	waiting atomic.Bool // the queue is not empty

	mu    sync.Mutex
	queue []segment
	size  int           // bytes of pushes that were not sent, those that are being sent included
	held  share         // for them
	wake  chan struct{} // nil if pushes are dropped
	loop  sync.WaitGroup
}

// segment is what leaves as a whole, once its barrier was passed. Nobody changes its bytes
// until then.
type segment struct {
	bytes   []byte
	barrier storage.Barrier
}

// pushFree is how many bytes of pushes may wait for one client without a charge to its budget.
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

// add queues a segment. ok is false, and the segment is dropped, if more than limit would wait.
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
	default: // pushLoop is to look already
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

// sent forgets n bytes of pushes.
func (o *outbox) sent(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.size -= n
	o.held.Hold(o.size - pushFree) // less is always granted
}

// close drops the queue and whatever is pushed from now on, and ends pushLoop.
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

// endPushes ends what startPushes has started. The connection must be closed already, or a
// push that is being sent could wait for its client.
func (c *conn) endPushes() {
	c.outbox.close()
	c.outbox.loop.Wait()
}

// push queues a message for the client, from any goroutine, and waits for nothing. A client
// that lets too much wait is cut.
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

// pushLoop sends pushes when there are any.
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

// sendQueue sends the pushes that wait. The caller has the turn.
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

// flush makes what the replies report safe, and sends them.
func (c *conn) flush() error {
	c.srv.stats.totals.take(&c.tally)
	if c.out.Len() == 0 {
		return nil
	}
	err := c.sendReplies(segment{c.out.Bytes(), c.owed})
	c.owed = 0
	c.srv.replies.give(c.lent, c.out.Release()) // an idle connection needs none
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

// sendSegment passes the barrier of a segment and sends it. Nothing else sends anything, so
// no reply passes the barrier of the change it reports. The caller has the turn.
func (c *conn) sendSegment(s segment) error {
	if err := c.srv.keyspace.Sync(context.Background(), s.barrier); err != nil {
		return c.withhold(s, err)
	}
	return c.send(s.bytes)
}

// withhold sends one error in place of a segment, since that may report what is not safe, and
// returns the error that ends the connection. The client takes it for the reply to its first
// command, as it does when the connection ends without a word.
func (c *conn) withhold(s segment, err error) error {
	if s.barrier != 0 {
		c.srv.log.Error("replies withheld: changes could not be made durable", "client", c.id, "err", err)
	}
	if errors.Is(err, storage.ErrFailed) {
		_ = c.send([]byte("-" + string(errStoreFailed) + "\r\n")) // the connection is closed next
	}
	return err
}

// send writes b. A client that does not read is cut.
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

// extendWriteDeadline gives the client sendTime from now, and a quarter more, so that it need
// not be done for every reply; or lastSendTime when the server stops.
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
