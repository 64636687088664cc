package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
	"github.com/sessiond/sessiond/ttl"
)

// pushConn returns a client of a server on one network and the connection that serves it, which
// other goroutines may push to. ECHO is what asks for it.
func pushConn(t *testing.T, network string, config Config) (*Server, *conn, net.Conn, *bufio.Reader) {
	t.Helper()
	srv, dial := startNetwork(t, network, config)
	found := make(chan *conn, 1)
	echo := srv.table.byName["echo"]
	run := echo.run
	echo.run = func(c *call) error {
		if c.arg(1) == "subscribe" {
			c.startPushes()
			found <- c.conn
		}
		return run(c)
	}
	nc, r := dial()
	say(t, nc, "ECHO subscribe\r\n")
	expectBulk(t, r, "subscribe")
	return srv, <-found, nc, r
}

func expectBulk(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	expectLine(t, r, fmt.Sprintf("$%d", len(want)))
	expectLine(t, r, want)
}

// Ensure that a push from another goroutine comes behind the replies that were sent before it
// and ahead of those that follow.
func TestOutbox_PushBetweenReplies(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			_, c, nc, r := pushConn(t, network, Config{})
			for i := range 100 {
				var other sync.WaitGroup
				other.Go(func() { c.push(segment{bytes: fmt.Appendf(nil, "+push %d\r\n", i)}) })
				other.Wait()
				say(t, nc, fmt.Sprintf("ECHO %d\r\n", i))
				expectLine(t, r, fmt.Sprintf("+push %d", i))
				expectBulk(t, r, fmt.Sprint(i))
			}
			c.push(segment{bytes: []byte("+the client has not asked\r\n")})
			expectLine(t, r, "+the client has not asked")
		})
	}
}

// Ensure that pushes and the replies of a pipeline that come at the same time keep their orders,
// and that none is torn.
func TestOutbox_PushBesidePipeline(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			_, c, nc, r := pushConn(t, network, Config{})
			const n = 500
			var others sync.WaitGroup
			defer others.Wait()
			others.Go(func() {
				for i := range n {
					c.push(segment{bytes: fmt.Appendf(nil, "+push %d\r\n", i)})
				}
			})
			others.Go(func() {
				for i := range n {
					_, _ = fmt.Fprintf(nc, "ECHO %d\r\n", i) // a failure shows as replies that lack
				}
			})
			for pushes, replies := 0, 0; pushes < n || replies < n; {
				line, err := r.ReadString('\n')
				if err != nil {
					t.Fatalf("after %d pushes and %d replies: %v", pushes, replies, err)
				}
				if strings.HasPrefix(line, "+push") {
					if want := fmt.Sprintf("+push %d\r\n", pushes); line != want {
						t.Fatalf("push = %q, want %q", line, want)
					}
					pushes++
					continue
				}
				expectLine(t, r, fmt.Sprint(replies))
				replies++
			}
		})
	}
}

// heldSync is an engine whose Sync says on asked for which barrier it waits, until goOn.
type heldSync struct {
	storage.Engine
	asked chan storage.Barrier
	goOn  chan struct{}
}

func (e heldSync) Sync(_ context.Context, b storage.Barrier) error {
	if b != 0 {
		e.asked <- b
		<-e.goOn
	}
	return nil
}

// Ensure that a push does not leave before the change it reports is safe, that one without a
// change waits for nothing, and that a connection that never asked for pushes has none.
func TestOutbox_PushBarrier(t *testing.T) {
	t.Parallel()
	engine := heldSync{enginetest.NewModel(), make(chan storage.Barrier, 1), make(chan struct{})}
	srv := New(Config{Keyspace: storage.NewKeyspace(engine, ttl.NewManual(1))})
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := newConn(srv, 1, ours)
	defer c.end()
	c.push(segment{bytes: []byte("+to nobody\r\n")})
	c.startPushes()
	r := bufio.NewReader(patientConn{theirs})
	c.push(segment{bytes: []byte("+at once\r\n")})
	expectLine(t, r, "+at once")
	c.push(segment{[]byte("+change\r\n"), 7})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = r.Peek(1)
	}()
	select {
	case <-sent:
		t.Error("the push was sent without its barrier")
	case b := <-engine.asked:
		if b != 7 {
			t.Errorf("the push waits for barrier %d, want 7", b)
		}
	}
	select {
	case <-sent:
		t.Error("the push was sent before its barrier")
	default:
	}
	close(engine.goOn)
	<-sent
	expectLine(t, r, "+change")
}

// Ensure that flush sends the pushes that were queued before it, should pushLoop not have come to
// them.
func TestOutbox_FlushSendsPushesFirst(t *testing.T) {
	t.Parallel()
	srv := New(Config{Keyspace: storage.NewKeyspace(enginetest.NewModel(), ttl.NewManual(1))})
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := newConn(srv, 1, ours)
	defer c.end()
	c.outbox.wake = make(chan struct{}, 1) // nobody listens
	c.push(segment{bytes: []byte("+first\r\n")})
	c.push(segment{bytes: []byte("+second\r\n")})
	c.out.Simple("reply")
	flushed := make(chan error, 1)
	go func() { flushed <- c.flush() }()
	r := bufio.NewReader(patientConn{theirs})
	for _, want := range []string{"+first", "+second", "+reply"} {
		expectLine(t, r, want)
	}
	if err := <-flushed; err != nil {
		t.Errorf("flush = %v", err)
	}
}

// Ensure that a client that does not read its pushes is cut at the limit, and that push does not wait
// for it.
func TestOutbox_PushLimit(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			srv, c, nc, _ := pushConn(t, network, Config{Settings: Settings{OutputLimits: mustLimit(t, "normal 1mb 0 0")}})
			push := segment{bytes: []byte("+" + strings.Repeat("x", 64<<10) + "\r\n")}
			for range 1000 { // more than the limit and what sockets hold
				c.push(push)
			}
			poll(t, "the client is cut", func() bool { return len(srv.clients(nil)) == 0 })
			if got := srv.stats.outputLimit.Load(); got != 1 {
				t.Errorf("%d clients were cut for their output, want 1", got)
			}
			c.push(push) // to nobody
			_, _ = io.Copy(io.Discard, nc)
		})
	}
}

// Ensure that the end of a connection ends its second goroutine, with pushes under way, and gives
// back what they took of the budget.
func TestOutbox_End(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			const memory = 64 << 20
			srv, c, nc, _ := pushConn(t, network, Config{clientMemory: memory})
			for range 256 { // 16 MiB
				c.push(segment{bytes: []byte("+" + strings.Repeat("x", 64<<10) + "\r\n")})
			}
			if err := nc.Close(); err != nil {
				t.Fatal(err)
			}
			poll(t, "the connection has ended", func() bool {
				srv.mu.Lock()
				defer srv.mu.Unlock()
				return len(srv.conns) == 0
			})
			if left := srv.authenticated.left.Load(); left != memory {
				t.Errorf("%d bytes are left of %d", left, memory)
			}
		})
	}
}
