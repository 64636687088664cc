package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
	"github.com/sessiond/sessiond/ttl"
)

func mustLimit(t *testing.T, text string) OutputLimits {
	t.Helper()
	limits, err := OutputLimits{}.With(text)
	if err != nil {
		t.Fatal(err)
	}
	return limits
}

// Ensure that limits are read in both forms and shown in one, that classes that are not named keep
// their limits, and that an error names the word that is wrong.
func TestOutputLimits_With(t *testing.T) {
	t.Parallel()
	const replica, pubsub = " slave 268435456 67108864 60", " pubsub 33554432 8388608 60"
	tests := []struct{ text, want, err string }{
		{"512mb", "normal 536870912 0 0" + replica + pubsub, ""},
		{" 65536\n", "normal 65536 0 0" + replica + pubsub, ""},
		{"normal 256mb 64mb 60", "normal 268435456 67108864 60" + replica + pubsub, ""},
		{"normal 0 0 0 replica 1k 2KB 3 pubsub 0 1 +2", "normal 0 0 0 slave 1000 2048 3 pubsub 0 1 2", ""},
		{"slave 1 1 1\nREPLICA  1g 1gb 007", "normal 268435456 0 0 slave 1000000000 1073741824 7" + pubsub, ""},
		{"normal 18446744073709551615 0 2147483647", "normal 18446744073709551615 0 2147483647" + replica + pubsub, ""},
		{"", "", `0 words: a class needs four, such as "normal 256mb 64mb 60"`},
		{"normal 1mb 0 0 pubsub", "", `5 words: a class needs four, such as "normal 256mb 64mb 60"`},
		{"1tb", "", `not a number of bytes such as 512mb, nor a class with its limits such as "normal 256mb 64mb 60"`},
		{"normal", "", `not a number of bytes such as 512mb, nor a class with its limits such as "normal 256mb 64mb 60"`},
		{"65535", "", "from 65536 to 2147483647"},
		{"2gb", "", "from 65536 to 2147483647"},
		{"normal 0 0 0 master 0 0 0", "", `"master" is none of the classes normal, replica (or slave), pubsub`},
		{"normal 1.5mb 0 0", "", `class normal: the hard limit "1.5mb" is not a number of bytes such as 1048576 or 512mb`},
		{"normal 17179869184gb 0 0", "", `class normal: the hard limit "17179869184gb" is not a number of bytes such as 1048576 or 512mb`},
		{"replica 1 mb 0", "", `class slave: the soft limit "mb" is not a number of bytes such as 1048576 or 512mb`},
		{"pubsub 1 1 1m", "", `class pubsub: the soft limit's seconds "1m" are not a whole number from 0 to 2147483647`},
		{"normal 1 1 2147483648", "", `class normal: the soft limit's seconds "2147483648" are not a whole number from 0 to 2147483647`},
	}
	for _, tt := range tests {
		limits, err := OutputLimits{}.With(tt.text)
		switch {
		case tt.err != "" && (err == nil || err.Error() != tt.err || limits != OutputLimits{}):
			t.Errorf("%q: %v, %v, want the error %q", tt.text, limits, err, tt.err)
		case tt.err == "" && (err != nil || limits.String() != tt.want):
			t.Errorf("%q: %v, %v, want %s", tt.text, limits, err, tt.want)
		}
	}
}

// Ensure that no limit that is applied cuts a client for what is gathered before it is sent.
func TestOutputLimits_Bounds(t *testing.T) {
	t.Parallel()
	const none = math.MaxInt
	for text, want := range map[string]outputBounds{
		"65536":                    {leastOutput, none, 0},
		"normal 0 0 9":             {none, none, 9 * time.Second},
		"normal 1 1 2147483647":    {leastOutput, leastOutput, math.MaxInt32 * time.Second},
		"normal 256mb 64mb 60":     {256 << 20, 64 << 20, time.Minute},
		"pubsub 0 0 0":             {256 << 20, none, 0},
		"normal 10000000000gb 0 0": {none, none, 0},
	} {
		if got := mustLimit(t, text).bounds(); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

// slowClient is a client that reads a reply only when the test asks for it, in the portions that the
// test chooses. There is no buffer between it and the server: what it has not read the server has not
// sent. It belongs to a bubble of synctest.
type slowClient struct {
	*testing.T
	srv   *Server
	clock *ttl.Manual
	net.Conn
}

const slowValue = 1 << 20 // bytes of the value that a slowClient reads

func startSlowClient(t *testing.T, limits string) *slowClient {
	t.Helper()
	c := &slowClient{T: t, clock: ttl.NewManual(transcriptStart)}
	c.srv = New(Config{
		Keyspace: storage.NewKeyspace(enginetest.NewModel(), c.clock),
		Settings: Settings{OutputLimits: mustLimit(t, limits)},
		Logger:   slog.New(slog.DiscardHandler),
	})
	ours, theirs := net.Pipe()
	c.Conn = theirs
	c.srv.accept(ours)
	c.send("set", "k", strings.Repeat("x", slowValue))
	c.take(len("+OK\r\n"))
	return c
}

func (c *slowClient) send(words ...string) {
	c.Helper()
	if _, err := io.WriteString(c, encode(words)); err != nil {
		c.Fatal(err)
	}
}

// ask asks for n values in one reply and waits until the server waits for the client. It returns
// how long the reply is.
func (c *slowClient) ask(n int) int {
	c.Helper()
	c.send(append([]string{"mget"}, strings.Fields(strings.Repeat("k ", n))...)...)
	synctest.Wait()
	return len(fmt.Sprintf("*%d\r\n", n)) + n*len(fmt.Sprintf("$%d\r\n\r\n", slowValue)) + n*slowValue
}

// take reads n bytes and waits until the server has noticed.
func (c *slowClient) take(n int) {
	c.Helper()
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		c.Fatalf("reading %d bytes: %v", n, err)
	}
	synctest.Wait()
}

// pass moves the clock and waits for what becomes of it.
func (c *slowClient) pass(d time.Duration) {
	c.clock.Advance(d)
	synctest.Wait()
}

func (c *slowClient) wantCut(after string, want int64) {
	c.Helper()
	if got := c.srv.stats.outputLimit.Load(); got != want {
		c.Errorf("after %s %d clients were cut for their replies, want %d", after, got, want)
	}
}

// end stops the server and reports whether it had cut the client before.
func (c *slowClient) end() {
	c.Helper()
	_ = c.Close()
	_ = c.srv.Close() // neither returns an error
}

// Ensure that the soft limit cuts a client after more than its seconds, and not with the last
// of them.
func TestSoftLimit_Cuts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := startSlowClient(t, "normal 0 2mb 10")
		defer c.end()
		n := c.ask(3)
		c.pass(10 * time.Second)
		c.wantCut("10s", 0)
		c.take(n / 10) // still over it
		c.pass(time.Millisecond)
		c.wantCut("10.001s", 1)
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("what is left to read ends with %v, want the end", err)
		}
		if left := len(c.srv.clients(nil)); left != 0 {
			t.Errorf("%d clients are left, want none", left)
		}
	})
}

// Ensure that a client that catches up in time is not cut, that the seconds are counted from the start
// for each reply, and that they end when the waiting bytes are within the limit, to the byte.
func TestSoftLimit_CatchesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := startSlowClient(t, "normal 0 2mb 10")
		defer c.end()
		for range 3 {
			n := c.ask(3)
			c.pass(6 * time.Second)
			c.take(n)
		}
		n := c.ask(3)
		c.take(n - 2<<20)
		c.pass(time.Hour)
		c.wantCut("a reply that is at the limit", 0)
		c.take(2 << 20)
		n = c.ask(3)
		c.take(n - 2<<20 - 1)
		c.pass(time.Hour)
		c.wantCut("a reply that is a byte over the limit", 1)
	})
}

// Ensure that no seconds are no time, and that a reply within the limit may wait.
func TestSoftLimit_NoTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := startSlowClient(t, "normal 0 2mb 0")
		defer c.end()
		n := c.ask(1)
		c.pass(time.Hour)
		c.take(n)
		c.ask(2)
		c.wantCut("no time", 0)
		c.pass(time.Millisecond)
		c.wantCut("1ms", 1)
	})
}

// Ensure that CONFIG SET gives a client that is there a soft limit and takes it away.
func TestSoftLimit_ConfigSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := startSlowClient(t, "256mb")
		defer c.end()
		for _, limits := range []string{"normal 0 1mb 1", "normal 0 0 1"} {
			c.send("config", "set", "client-output-buffer-limit", limits)
			c.take(len("+OK\r\n"))
		}
		n := c.ask(3)
		c.pass(time.Hour)
		c.take(n)
		c.send("config", "set", "client-output-buffer-limit", "pubsub 0 0 0 normal 0 1mb 1")
		c.take(len("+OK\r\n"))
		c.ask(3)
		c.pass(1001 * time.Millisecond)
		c.wantCut("1.001s", 1)
	})
}

// Ensure that the hard limit cuts at once, whatever the soft one, that a limit of zero is none,
// and that what all clients may hold together is a limit then, too.
func TestHardLimit(t *testing.T) {
	t.Parallel()
	for limits, most := range map[string]int{
		"normal 3mb 2mb 60":  2,
		"normal 3mb 0 0":     2,
		"normal 1 0 0":       0,
		"normal 0 0 0":       14, // with what is taken ahead and the buffer's growth
		"normal 100gb 1 100": 14,
	} {
		t.Run(limits, func(t *testing.T) {
			t.Parallel()
			srv, addr := startServer(t, ttl.NewManual(1), Config{
				Settings: Settings{OutputLimits: mustLimit(t, limits)}, clientMemory: 16 << 20,
			})
			ask := func(n int) error {
				nc, r := dialServer(t, addr)
				defer nc.Close()
				for _, words := range [][]string{{"set", "k", strings.Repeat("x", slowValue)}, append([]string{"mget"}, strings.Fields(strings.Repeat("k ", n))...)} {
					if _, err := io.WriteString(nc, encode(words)); err != nil {
						t.Fatal(err)
					}
				}
				_, err := r.Discard(n * slowValue)
				return err
			}
			if err := ask(most); err != nil {
				t.Errorf("%d MiB: %v", most, err)
			}
			if cut := srv.stats.outputLimit.Load(); cut != 0 {
				t.Errorf("%d clients were cut, want none", cut)
			}
			if err := ask(most + 2); !errors.Is(err, io.EOF) {
				t.Errorf("%d MiB: %v, want the end", most+2, err)
			}
			poll(t, "one client was cut", func() bool { return srv.stats.outputLimit.Load() == 1 })
		})
	}
}

// Ensure that a client of a real network which does not read is cut by the soft limit, in the
// middle of what it has not taken, over TLS, too, and one that reads is not.
func TestSoftLimit_TCP(t *testing.T) {
	t.Parallel()
	const n = 64 // MiB, more than the kernel takes for a client
	request := encode(append([]string{"mget"}, strings.Fields(strings.Repeat("k ", n))...))
	for name, as := range map[string]func(net.Conn) net.Conn{
		"plain": func(nc net.Conn) net.Conn { return nc },
		"TLS":   func(nc net.Conn) net.Conn { return encrypt(nc) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := ttl.NewManual(1)
			srv, addr := startServer(t, clock, Config{Settings: Settings{OutputLimits: mustLimit(t, "normal 0 1mb 10")}})
			if name == "TLS" {
				addr = serveTLS(t, srv)
			}
			ask := func(request string) net.Conn {
				nc, _ := dialServer(t, addr)
				nc = as(nc)
				if _, err := io.WriteString(nc, request); err != nil {
					t.Fatal(err)
				}
				return nc
			}
			reader := ask(encode([]string{"set", "k", strings.Repeat("x", slowValue)}) + request)
			if _, err := io.CopyN(io.Discard, reader, n*slowValue); err != nil {
				t.Fatalf("a client that reads: %v", err)
			}
			slow := ask(request)
			poll(t, "the client is cut", func() bool {
				clock.Advance(time.Second)
				return srv.stats.outputLimit.Load() == 1
			})
			if got, err := io.CopyN(io.Discard, slow, n*slowValue); err == nil {
				t.Errorf("the client could read all %d bytes", got)
			}
			poll(t, "one client is left", func() bool { return len(srv.clients(nil)) == 1 })
		})
	}
}
