package compat_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/diff"
	"github.com/sessiond/sessiond/compat_test/proc"
)

// variant is one way to run the same history: nothing in it may show in a reply.
type variant struct {
	name     string
	flags    []string
	unix     bool // over a Unix socket
	resp3    bool
	single   bool                 // one line at a time, never a pipeline
	restarts func(s *proc.Server) // how the server ends between some blocks; nil means not at all
}

func variants() []variant {
	kill := func(s *proc.Server) { s.Kill() }
	terminate := func(s *proc.Server) { s.Stop() }
	return []variant{
		{name: "as it comes"},
		{name: "strict", flags: []string{"--durability", "strict"}},
		{name: "everysec, line by line", flags: []string{"--durability", "everysec"}, single: true},
		{name: "tiny cache", flags: []string{"--cache-bytes", "1"}},
		{name: "large cache", flags: []string{"--cache-bytes", "1073741824"}},
		{name: "Unix socket", unix: true},
		{name: "RESP3", resp3: true},
		{name: "RESP3, restarts", resp3: true, restarts: terminate},
		{name: "kill -9, session", restarts: kill},
		{name: "kill -9, strict, tiny cache", flags: []string{"--durability", "strict", "--cache-bytes", "1"}, restarts: kill},
		{name: "kill -9, everysec, line by line", flags: []string{"--durability", "everysec"}, single: true, restarts: kill},
		{name: "SIGTERM, everysec", flags: []string{"--durability", "everysec"}, restarts: terminate},
		{name: "many databases", flags: []string{"--databases", "1000"}},
	}
}

const (
	// blockLines is how many lines share one state of a connection. Each block begins with
	// RESET, so that a restart before it changes nothing.
	blockLines = 40
	blocks     = 50
)

// Ensure that a history of commands of all kinds gets the same replies whatever does not
// matter: mode of durability, cache, protocol, transport, pipelining, and the end of the
// server now and then.
//
// SESSIOND_METAMORPHIC_SEED repeats a run.
func TestMetamorphic_Histories(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	seed := uint64(number(t, "SESSIOND_METAMORPHIC_SEED", time.Now().UnixNano()))
	t.Logf("SESSIOND_METAMORPHIC_SEED=%d", seed)
	lines, err := diff.Lines(commands(t), seed, blocks*blockLines)
	if err != nil {
		t.Fatal(err)
	}
	lines = append(lines, everything()...)
	first := variant{name: "first"}.replies(t, seed, lines)
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			if d := diff.Compare(lines, first, v.replies(t, seed, lines)); d != nil {
				d.Where = v.name
				t.Errorf("%v", d)
			}
		})
	}
}

// everything reads what the generator may have written.
func everything() []diff.Line {
	var lines []diff.Line
	add := func(words ...string) { lines = append(lines, diff.Line{Conn: 1, Args: words}) }
	for _, db := range []int{0, 1, 2, 15} {
		add("SELECT", strconv.Itoa(db))
		add("DBSIZE")
		add("SCAN", "0", "COUNT", "100000")
		for k := range 8 {
			key := "k" + strconv.Itoa(k)
			add("GET", key)
			add("PEXPIRETIME", key)
		}
	}
	return lines
}

// replies runs the lines on a server of its own.
func (v variant) replies(t *testing.T, seed uint64, lines []diff.Line) []string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	socket := filepath.Join(t.TempDir(), "s")
	s := proc.Start(t, append([]string{"--unixsocket", socket}, v.flags...)...)
	dial := func() *proc.Conn {
		if v.unix {
			proc.Eventually(t, func() error { // it opens after the port
				_, err := os.Stat(socket)
				return err
			})
			return proc.Dial(t, "unix", socket)
		}
		return s.Dial()
	}
	conn := dial()
	var replies []string
	for begin := 0; begin < len(lines); begin += blockLines {
		if v.restarts != nil && rng.IntN(3) == 0 {
			conn.Close()
			v.restarts(s)
			s.Restart()
			conn = dial()
		}
		v.prepare(t, conn)
		replies = append(replies, v.ask(conn, lines[begin:min(begin+blockLines, len(lines))], rng)...)
	}
	conn.Close()
	return replies
}

// prepare brings a connection into the state in which each block begins.
func (v variant) prepare(t *testing.T, conn *proc.Conn) {
	t.Helper()
	if got := conn.Do("RESET"); got != "+RESET\r\n" {
		t.Fatalf("RESET = %q", got)
	}
	if v.resp3 {
		if got := conn.Do("HELLO", "3"); !strings.HasPrefix(got, "%") {
			t.Fatalf("HELLO 3 = %q", got)
		}
	}
}

// ask sends lines one at a time or in packets of random size.
func (v variant) ask(conn *proc.Conn, lines []diff.Line, rng *rand.Rand) []string {
	var replies []string
	for len(lines) > 0 {
		n := 1
		if !v.single {
			n = 1 + rng.IntN(len(lines))
		}
		var packet strings.Builder
		for _, l := range lines[:n] {
			packet.WriteString(proc.Command(l.Args...))
		}
		conn.Send(packet.String())
		for range n {
			replies = append(replies, asRESP2(conn.Reply()))
		}
		lines = lines[n:]
	}
	return replies
}

// asRESP2 writes the null of RESP3 and both nulls of RESP2 in one way; the lines get nothing
// else that differs between the two.
func asRESP2(reply string) string {
	return strings.NewReplacer("_\r\n", "$-1\r\n", "*-1\r\n", "$-1\r\n").Replace(reply)
}
