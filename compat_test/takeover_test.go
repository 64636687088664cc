package compat_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// Ensure that a second sessiond on the same folder and port takes over when the first one
// ends, however it does: clients that connect again see no error reply, and miss nothing
// that was acknowledged.
func TestTakeover(t *testing.T) {
	proc.OnlySessiond(t)
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(end.String(), func(t *testing.T) {
			t.Parallel()
			first := proc.Start(t)
			second := proc.Sessiond(t, "--port", first.Port, "--dir", first.Dir, "--wait")
			second.Start()
			proc.Eventually(t, func() error {
				if !strings.Contains(second.Log(), "waiting until it is free") {
					return fmt.Errorf("the second sessiond does not wait:\n%s", second.Log())
				}
				return nil
			})
			clients := startLoyal(t, first.Addr)
			clients.progress()
			first.Signal(end)
			if end == syscall.SIGTERM {
				first.WaitClean()
			}
			first.Kill() // or wait for its end
			clients.progress()
			clients.stop()
			t.Logf("longest time without a reply: %v", clients.gap())
			if n := strings.Count(second.Log(), "waiting"); n != 1 || !strings.Contains(second.Log(), "listening on") {
				t.Errorf("the second sessiond says %d times that it waits:\n%s", n, second.Log())
			}
			second.Signal(syscall.SIGTERM)
			if code := second.ExitCode(); code != 0 {
				t.Errorf("exit code %d, want 0\n%s", code, second.Log())
			}
		})
	}
}

// Ensure that a sessiond that waits can be stopped, and leaves the other one alone.
func TestTakeover_GivesUp(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	first := proc.Start(t)
	second := proc.Sessiond(t, "--port", first.Port, "--dir", first.Dir, "--wait")
	second.Start()
	proc.Eventually(t, func() error {
		if !strings.Contains(second.Log(), "waiting until it is free") {
			return fmt.Errorf("the second sessiond does not wait:\n%s", second.Log())
		}
		return nil
	})
	second.Signal(syscall.SIGTERM)
	if code := second.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, second.Log())
	}
	if got := first.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("PING of the first = %q", got)
	}
}

// Ensure that a client who does not read its replies holds up the end of sessiond for ten
// seconds and no longer, and that the next one then serves.
func TestTakeover_ClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	const bound, slack = 10 * time.Second, 5 * time.Second
	first := proc.Start(t)
	if got := first.Do("SET", "big", strings.Repeat("x", 1<<20)); got != "+OK\r\n" {
		t.Fatalf("SET = %q", got)
	}
	deaf := first.Dial()
	deaf.Send(strings.Repeat(proc.Command("GET", "big"), 200))
	proc.Eventually(t, func() error {
		if stats := first.Do("INFO", "commandstats"); !strings.Contains(stats, "cmdstat_get:") {
			return fmt.Errorf("no GET in %q", stats)
		}
		return nil
	})
	second := proc.Sessiond(t, "--port", first.Port, "--dir", first.Dir, "--wait")
	second.Start()
	signalled := time.Now()
	first.Signal(syscall.SIGTERM)
	first.WaitClean()
	took := time.Since(signalled)
	t.Logf("the first one ended after %v", took)
	if took > bound+slack {
		t.Errorf("that is more than %v", bound)
	}
	if took < bound/2 {
		t.Error("the client did not have the time it has to take its replies")
	}
	proc.Eventually(t, func() error {
		conn, err := net.Dial("tcp", first.Addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if got := first.Do("STRLEN", "big"); got != ":1048576\r\n" {
		t.Errorf("STRLEN = %q", got)
	}
}

// loyalClients is how many clients stay through a takeover.
const loyalClients = 20

// crowd are clients that come back when their connection is closed.
type crowd struct {
	t       *testing.T
	clients [loyalClients]*loyal
	running sync.WaitGroup
	done    chan struct{}
}

// loyal is one client: it counts up a session of its own.
type loyal struct {
	name    string
	addr    string
	done    chan struct{}
	count   int          // the last that was sent
	kept    int          // the last that was acknowledged or read
	replies atomic.Int64 // of SET
	last    time.Time    // of the last reply
	gap     time.Duration
}

func startLoyal(t *testing.T, addr string) *crowd {
	c := &crowd{t: t, done: make(chan struct{})}
	for i := range c.clients {
		l := &loyal{name: fmt.Sprintf("session %d", i), addr: addr, done: c.done, last: time.Now()}
		c.clients[i] = l
		c.running.Go(func() {
			if err := l.work(); err != nil {
				t.Errorf("%s: %v", l.name, err)
			}
		})
	}
	return c
}

// progress waits until each client has had some more replies.
func (c *crowd) progress() {
	c.t.Helper()
	var before [loyalClients]int64
	for i, l := range c.clients {
		before[i] = l.replies.Load()
	}
	proc.Eventually(c.t, func() error {
		for i, l := range c.clients {
			if n := l.replies.Load() - before[i]; n < 20 {
				return fmt.Errorf("%s had %d replies", l.name, n)
			}
		}
		return nil
	})
}

func (c *crowd) stop() {
	close(c.done)
	c.running.Wait()
}

// gap is the longest time that a client was without a reply.
func (c *crowd) gap() (longest time.Duration) {
	for _, l := range c.clients {
		longest = max(longest, l.gap)
	}
	return longest
}

// work connects and counts, again and again, until done is closed. Only what a client must
// not see is an error.
func (l *loyal) work() error {
	for !l.isDone() {
		conn, err := net.DialTimeout("tcp", l.addr, proc.Patience)
		if err != nil {
			time.Sleep(time.Millisecond) // as a client library does between two attempts
			continue
		}
		err = l.talk(conn)
		_ = conn.Close() // it may be closed already
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *loyal) isDone() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// talk counts until the connection ends, and checks each time what is there.
func (l *loyal) talk(conn net.Conn) error {
	r := bufio.NewReader(conn)
	do := func(args ...string) (reply string, ok bool, err error) {
		if _, err := io.WriteString(conn, proc.Command(args...)); err != nil {
			return "", false, nil
		}
		reply, err = proc.ReadReply(r)
		if err != nil {
			return "", false, nil
		}
		if strings.HasPrefix(reply, "-") {
			return reply, false, fmt.Errorf("%q = %q", args, reply)
		}
		l.gap = max(l.gap, time.Since(l.last))
		l.last = time.Now()
		return reply, true, nil
	}
	for !l.isDone() {
		reply, ok, err := do("GET", l.name)
		if !ok {
			return err
		}
		sent, kept := proc.Bulk(strconv.Itoa(l.count)), proc.Bulk(strconv.Itoa(l.kept))
		if l.kept == 0 {
			kept = "$-1\r\n"
		}
		if reply != kept && reply != sent {
			return fmt.Errorf("GET = %q, want %q, which is there, or %q, which was sent", reply, kept, sent)
		}
		if reply == kept {
			l.count = l.kept
		}
		l.kept = l.count
		l.count++
		reply, ok, err = do("SET", l.name, strconv.Itoa(l.count), "EX", "3600")
		if !ok {
			return err
		}
		if reply != "+OK\r\n" {
			return fmt.Errorf("SET = %q", reply)
		}
		l.kept = l.count
		l.replies.Add(1)
	}
	return nil
}
