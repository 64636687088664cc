package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// pauseTest is a server, and a client that looks at it and is never held by a pause of writes.
type pauseTest struct {
	*testing.T
	srv   *Server
	addr  string
	clock *ttl.Manual
	nc    net.Conn
	r     *bufio.Reader
}

func startPauseTest(t *testing.T) *pauseTest {
	t.Helper()
	p := &pauseTest{T: t, clock: ttl.NewManual(1_000_000)}
	p.srv, p.addr = startServer(t, p.clock, Config{})
	p.nc, p.r = dialServer(t, p.addr)
	return p
}

// want asks and compares.
func (p *pauseTest) want(line, want string) {
	p.Helper()
	if got := ask(p.T, p.nc, p.r, line).text; got != want {
		p.Errorf("%s = %q, want %q", line, got, want)
	}
}

// waitHeld waits until that many clients are held.
func (p *pauseTest) waitHeld(n int64) {
	p.Helper()
	for end := ttl.System.Now().Add(10 * time.Second); p.srv.pause.held.Load() != n; {
		if ttl.System.Now() > end {
			p.Fatalf("%d clients are held, want %d", p.srv.pause.held.Load(), n)
		}
		if err := ttl.System.Sleep(context.Background(), time.Millisecond); err != nil {
			p.Fatal(err)
		}
	}
}

// heldBy sends a command on a new connection and waits until a pause holds it.
func (p *pauseTest) heldBy(line string, before ...string) (net.Conn, *bufio.Reader) {
	p.Helper()
	nc, r := dialServer(p.T, p.addr)
	for _, first := range before {
		ask(p.T, nc, r, first)
	}
	held := p.srv.pause.held.Load()
	if _, err := io.WriteString(nc, encode(splitWords(p.T, line))); err != nil {
		p.Fatal(err)
	}
	p.waitHeld(held + 1)
	return nc, r
}

func (p *pauseTest) hears(r *bufio.Reader, want string) {
	p.Helper()
	if got := readValue(p.T, r).text; got != want {
		p.Errorf("the reply that was held = %q, want %q", got, want)
	}
}

// Ensure that a pause of writes holds them, and a transaction of them, until its last
// millisecond, and nothing else.
func TestPause_Writes(t *testing.T) {
	t.Parallel()
	p := startPauseTest(t)
	p.want("set k v", "OK")
	p.want("client pause 1000 write", "OK")
	_, set := p.heldBy("set k w")
	_, exec := p.heldBy("set k x", "multi", "get k")
	for _, line := range []string{"multi", "get k"} {
		ask(t, p.nc, p.r, line)
	}
	if got := ask(t, p.nc, p.r, "exec"); len(got.elements) != 1 || got.elements[0].text != "v" {
		t.Errorf("EXEC of a read = %+v, want v", got)
	}
	p.want("set k", "ERR wrong number of arguments for 'set' command")
	if got := ask(t, p.nc, p.r, "client list").text; strings.Count(got, " flags=b ") != 1 || strings.Count(got, " flags=xb ") != 1 {
		t.Errorf("CLIENT LIST = %s, want two with b in flags", got)
	}
	if got := ask(t, p.nc, p.r, "info clients").text; !strings.Contains(got, "blocked_clients:2\r\n") {
		t.Errorf("INFO = %q, want blocked_clients:2", got)
	}
	p.clock.Advance(999 * time.Millisecond)
	p.want("get k", "v")
	p.waitHeld(2)
	p.clock.Advance(time.Millisecond)
	p.hears(set, "OK")
	p.hears(exec, "QUEUED")
	p.waitHeld(0)
}

// Ensure that a pause gets neither shorter nor less strict by another, and that one that is over
// leaves nothing to the next.
func TestPause_Again(t *testing.T) {
	t.Parallel()
	p := startPauseTest(t)
	p.want("client pause 100", "OK")
	p.clock.Advance(100 * time.Millisecond)
	p.want("client pause 800 write", "OK")
	p.want("exists k", "0")
	_, set := p.heldBy("set k v")
	p.want("client pause 50 all", "OK")
	_, get := p.heldBy("get k")
	p.clock.Advance(799 * time.Millisecond)
	p.waitHeld(2)
	p.clock.Advance(time.Millisecond)
	p.hears(set, "OK")
	_ = readValue(t, get) // before the SET or after it
}

// Ensure that UNPAUSE, a kill, a stop of the server and the loss of a client's rights end the wait, and
// that the waiting client gets the right reply.
func TestPause_Ends(t *testing.T) {
	t.Parallel()
	p := startPauseTest(t)
	p.want("client pause 9223372036854775807 write", "OK")
	_, r := p.heldBy("set k v")
	p.want("client unpause", "OK")
	p.hears(r, "OK")

	p.want("client pause 1000 write", "OK")
	id := "2"
	nc, r := p.heldBy("set k w", "client setname victim")
	for _, line := range strings.Split(ask(t, p.nc, p.r, "client list").text, "\n") {
		if strings.Contains(line, " name=victim ") {
			id = strings.TrimPrefix(strings.Fields(line)[0], "id=")
		}
	}
	p.want("client unblock "+id, "0")
	p.want("client kill id "+id, "1")
	if rest, err := io.ReadAll(r); len(rest) > 0 || isTimeout(err) {
		t.Errorf("a killed connection heard %q, %v", rest, err)
	}
	_ = nc.Close()
	p.waitHeld(0)

	_, r = p.heldBy("set k x")
	if err := p.srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	p.hears(r, "OK")
}

// Ensure that replies to what came before in a pipeline do not wait, and that a whole pipeline
// is answered in order afterwards.
func TestPause_Pipeline(t *testing.T) {
	t.Parallel()
	p := startPauseTest(t)
	p.want("client pause 1000 write", "OK")
	nc, r := dialServer(t, p.addr)
	if _, err := io.WriteString(nc, encode([]string{"echo", "a"})+encode([]string{"set", "k", "b"})+encode([]string{"get", "k"})); err != nil {
		t.Fatal(err)
	}
	p.hears(r, "a")
	p.waitHeld(1)
	p.want("client unpause", "OK")
	p.hears(r, "OK")
	p.hears(r, "b")
}
