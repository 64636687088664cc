package compat_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

const (
	crashConnections = 50
	sideDatabase     = 1
)

// redisAfterlife is the afterlife of Redis' keys; see ledger.
const redisAfterlife = 1

// durabilities are the modes of sessiond, each with what redis-server has to be told to
// keep what it acknowledges. (Its everysec may reply while a write waits for an fsync.)
var durabilities = []struct {
	mode  string
	redis []string
}{
	{"session", []string{"--appendonly", "yes", "--appendfsync", "always"}},
	{"strict", []string{"--appendonly", "yes", "--appendfsync", "always"}},
	{"everysec", []string{"--appendonly", "yes", "--appendfsync", "always"}},
}

// smallCache makes tables in memory as small as they get, so that they are written out and
// compacted all the time.
const smallCache = "--cache-bytes=1048576"

// eachDurability runs a test in every mode. The modes take turns: each loads the machine.
func eachDurability(t *testing.T, test func(t *testing.T, h *crash)) {
	for _, d := range durabilities {
		t.Run(d.mode, func(t *testing.T) {
			t.Parallel()
			flags, afterlife := []string{"--durability", d.mode, smallCache}, int64(0)
			if proc.IsRedis() {
				flags, afterlife = d.redis, redisAfterlife
			}
			test(t, newCrash(t, proc.Start(t, flags...), afterlife))
		})
	}
}

// crash drives one server through ends and restarts, and remembers what it was told.
type crash struct {
	t       *testing.T
	server  *proc.Server
	rng     *rand.Rand
	ledgers []*ledger
	rounds  int // checks
	total   verdict
	counts  int // databases whose DBSIZE and SCAN were right
}

// newCrash takes its seed from SESSIOND_CRASH_SEED, or a new one, and prints it.
func newCrash(t *testing.T, s *proc.Server, afterlife int64) *crash {
	seed := rand.Uint64()
	if text := os.Getenv("SESSIOND_CRASH_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SESSIOND_CRASH_SEED: %v", err)
		}
	}
	t.Logf("SESSIOND_CRASH_SEED=%d", seed)
	c := &crash{t: t, server: s, rng: rand.New(rand.NewPCG(seed, 0))}
	for i := range crashConnections {
		c.ledgers = append(c.ledgers, newLedger(i, seed, afterlife))
	}
	c.ledgers[0].db = sideDatabase // which is its own, to flush
	t.Cleanup(c.report)
	return c
}

// load runs every ledger's connection in a mood. Once each was told something, and a random
// time below most later, it calls end, which ends the server.
func (c *crash) load(m mood, most time.Duration, end func()) {
	c.t.Helper()
	var wg sync.WaitGroup
	var busy atomic.Int64
	for _, l := range c.ledgers {
		l.mood = m
		wg.Go(func() {
			if err := l.work(c.server.Addr, &busy); err != nil {
				c.t.Errorf("connection %d: %v", l.owner, err)
			}
		})
	}
	proc.Eventually(c.t, func() error {
		if n := busy.Load(); n < crashConnections {
			return fmt.Errorf("%d of %d connections are at work", n, crashConnections)
		}
		return nil
	})
	c.pause(most)
	end()
	wg.Wait()
}

// pause lets a random time below most pass: whatever follows comes at a random moment.
func (c *crash) pause(most time.Duration) { time.Sleep(time.Duration(c.rng.Int64N(int64(most)))) }

// work sends steps, sometimes several at once, until the server is gone. It adds one to
// busy after its first reply.
func (l *ledger) work(addr string, busy *atomic.Int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * proc.Patience)); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, proc.Command("SELECT", strconv.Itoa(l.db))); err != nil {
		return err
	}
	if reply, err := proc.ReadReply(r); err != nil || reply != "+OK\r\n" {
		return fmt.Errorf("SELECT %d = %q: %v", l.db, reply, err)
	}
	for first := true; ; first = false {
		gone, err := l.exchange(conn, r)
		if gone || err != nil {
			return err
		}
		if first {
			busy.Add(1)
		}
	}
}

// exchange sends one to four steps in one write and settles their replies. gone says that
// the server went away meanwhile.
func (l *ledger) exchange(conn io.Writer, r *bufio.Reader) (gone bool, err error) {
	var steps []step
	var request strings.Builder
	under := l.since()
	for range 1 + max(0, l.rng.IntN(8)-4) {
		s := l.plan(under.from)
		steps = append(steps, s)
		request.WriteString(s.request())
	}
	_, err = io.WriteString(conn, request.String())
	for i := 0; i < len(steps) && err == nil; i++ {
		var reply string
		reply, err = readReplies(r, steps[i].replies())
		under = under.until()
		if err == nil {
			if err := l.settle(steps[i], under, reply); err != nil {
				return false, err
			}
			continue
		}
		steps = steps[i:]
		break
	}
	if err == nil {
		return false, nil
	}
	if !proc.ErrClosed(err) {
		return false, err
	}
	l.cut(steps, under.until())
	return true, nil
}

func readReplies(r *bufio.Reader, n int) (string, error) {
	var b strings.Builder
	for range n {
		reply, err := proc.ReadReply(r)
		if err != nil {
			return "", err
		}
		b.WriteString(reply)
	}
	return b.String(), nil
}

// check reads every key of every ledger and judges it, then counts the keys. It ends the
// test if anything is wrong.
func (c *crash) check() verdict {
	c.t.Helper()
	conn := c.server.Dial()
	defer conn.Close()
	var v verdict
	for _, l := range c.ledgers {
		shown, under := c.show(conn, l)
		v.add(l.judge(shown, under))
	}
	c.rounds++
	c.total.add(v)
	for _, fault := range [][]string{v.lost, v.back, v.moved} {
		for i, text := range fault {
			if i == 5 {
				c.t.Errorf("... and %d more of this kind", len(fault)-i)
				break
			}
			c.t.Error(text)
		}
	}
	if c.t.Failed() {
		c.t.Logf("%s\n%s", strings.Join(v.worlds, "\n"), c.server.Log())
		c.t.FailNow() // what follows would only repeat it
	}
	c.checkCount(conn, 0)
	c.checkCount(conn, sideDatabase)
	return v
}

// show reads value and deadline of the keys of a ledger, each key at one instant.
func (c *crash) show(conn *proc.Conn, l *ledger) (world, span) {
	c.t.Helper()
	if got := conn.Do("SELECT", strconv.Itoa(l.db)); got != "+OK\r\n" {
		c.t.Fatalf("SELECT %d = %q", l.db, got)
	}
	under, keys := l.since(), l.keys()
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(step{tx: true, commands: [][]string{{"GET", k}, {"PEXPIRETIME", k}}}.request())
	}
	conn.Send(b.String())
	shown := world{}
	for _, k := range keys {
		for range 3 {
			conn.Reply() // OK, QUEUED, QUEUED
		}
		value, deadline, found := parseShown(c.t, k, conn.Reply())
		if found {
			shown[k] = record{value, deadline, deadline}
		}
	}
	return shown, under.until()
}

var (
	shownAbsent = "*2\r\n$-1\r\n:-2\r\n"
	shownLive   = regexp.MustCompile(`(?s)^\*2\r\n\$(\d+)\r\n(.*)\r\n:(-1|\d+)\r\n$`)
)

func parseShown(t *testing.T, key, reply string) (value string, deadline int64, found bool) {
	t.Helper()
	if reply == shownAbsent {
		return "", 0, false
	}
	m := shownLive.FindStringSubmatch(reply)
	if m == nil || m[1] != strconv.Itoa(len(m[2])) {
		t.Fatalf("GET and PEXPIRETIME of %s = %s", key, short(reply))
	}
	deadline, _ = strconv.ParseInt(m[3], 10, 64) // digits
	return m[2], max(deadline, 0), true
}

// checkCount compares DBSIZE and SCAN of a database with the number of live keys. DBSIZE may
// count keys that are due and not yet swept, for a moment.
func (c *crash) checkCount(conn *proc.Conn, db int) {
	c.t.Helper()
	conn.Do("SELECT", strconv.Itoa(db))
	count := func(read func() int) func() error {
		return func() error {
			under := c.ledgers[0].since()
			got := read()
			under = under.until()
			var sure, maybe int
			for _, l := range c.ledgers {
				if l.db == db {
					s, m := l.live(under)
					sure, maybe = sure+s, maybe+m
				}
			}
			if got < sure || got > sure+maybe {
				return fmt.Errorf("the server counts %d keys in database %d, want %d", got, db, sure)
			}
			return nil
		}
	}
	if err := count(func() int { return len(scanAll(c.t, conn)) })(); err != nil {
		c.t.Errorf("SCAN: %v", err)
	}
	proc.Eventually(c.t, count(func() int {
		n, _ := strconv.Atoi(strings.Trim(conn.Do("DBSIZE"), ":\r\n")) // else 0
		return n
	}))
	c.counts++
}

// scanAll returns the keys a whole iteration meets.
func scanAll(t *testing.T, conn *proc.Conn) map[string]bool {
	t.Helper()
	page := regexp.MustCompile(`(?s)^\*2\r\n\$\d+\r\n(\d+)\r\n\*\d+\r\n(.*)$`)
	keys := map[string]bool{}
	for cursor := "0"; ; {
		m := page.FindStringSubmatch(conn.Do("SCAN", cursor, "COUNT", "500"))
		if m == nil {
			t.Fatal("SCAN answers no page")
		}
		for i, part := range strings.Split(m[2], "\r\n") {
			if i%2 == 1 {
				keys[part] = true // after its length
			}
		}
		if cursor = m[1]; cursor == "0" {
			return keys
		}
	}
}

// restart starts the server on the same folder and returns how long it took.
func (c *crash) restart() time.Duration {
	c.t.Helper()
	start := time.Now()
	c.server.Restart()
	return time.Since(start)
}

// report prints the totals of the test.
func (c *crash) report() { c.t.Log(c.summary()) }

func (c *crash) summary() string {
	acknowledged := 0
	for _, l := range c.ledgers {
		acknowledged += l.acknowledged
	}
	return fmt.Sprintf("%d rounds: %d changes acknowledged, %d keys checked, %d lost, %d resurrected, %d deadlines moved; "+
		"%d counts of DBSIZE and SCAN exact", c.rounds, acknowledged, c.total.checked,
		len(c.total.lost), len(c.total.back), len(c.total.moved), c.counts)
}

// Ensure that no end at any moment takes back anything that was acknowledged or brings back
// anything that had ended, with deadlines to the millisecond, round after round on the same
// folder: kill -9 under load, while it sweeps, writes tables, makes a copy, stops or starts;
// a crash; and a stop as it should be.
//
// SESSIOND_CRASH_ROUNDS is the number of rounds in each mode; unset, one of each kind of end.
func TestCrash_KillUnderLoad(t *testing.T) {
	eachDurability(t, func(t *testing.T, c *crash) {
		kinds := ends()
		n := int(number(t, "SESSIOND_CRASH_ROUNDS", int64(len(kinds))))
		for i := range n {
			if i%len(kinds) == 0 {
				c.rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
			}
			t.Log(c.round(kinds[i%len(kinds)], 300*time.Millisecond))
		}
	})
}

// Ensure that kill -9 during start-up leaves everything in place, again and again, and as
// soon as the port is open, with nothing written since.
func TestCrash_KillDuringStart(t *testing.T) {
	eachDurability(t, func(t *testing.T, c *crash) {
		c.load(calm, 500*time.Millisecond, c.server.Kill)
		for range 4 {
			c.killStarts(2)
			t.Logf("ready in %v", c.restart().Round(time.Millisecond))
			c.check()
			c.server.Kill()
			c.restart()
			c.check()
			c.server.Kill()
		}
	})
}

// Ensure that sessions which come due while the server is down stay ended, and that
// the others keep their deadline instead of starting over.
func TestCrash_DueWhileDown(t *testing.T) {
	eachDurability(t, func(t *testing.T, c *crash) {
		s := c.server
		conn := s.Dial()
		start := time.Now()
		for i := range 20 {
			conn.Do("SET", fmt.Sprintf("short:%d", i), "v", "PX", "200")
			conn.Do("SET", fmt.Sprintf("long:%d", i), "v", "PXAT", strconv.FormatInt(start.Add(time.Hour).UnixMilli()+int64(i), 10))
		}
		due := time.Now().Add(200 * time.Millisecond)
		s.Kill()
		time.Sleep(time.Until(due)) // the server's clock is the machine's
		s.Restart()
		for i := range 20 {
			if got := s.Do("GET", fmt.Sprintf("short:%d", i)); got != "$-1\r\n" {
				t.Errorf("GET short:%d = %q after its deadline passed, want nil", i, got)
			}
			want := fmt.Sprintf(":%d\r\n", start.Add(time.Hour).UnixMilli()+int64(i))
			if got := s.Do("PEXPIRETIME", fmt.Sprintf("long:%d", i)); got != want {
				t.Errorf("PEXPIRETIME long:%d = %q, want %q", i, got, want)
			}
		}
	})
}

// Ensure that these tests can fail: a server that forgets everything at kill -9 is found
// out.
func TestCrash_NoticesForgetting(t *testing.T) {
	t.Parallel()
	c := newCrash(t, proc.StartRedis(t), redisAfterlife) // without an append-only file
	c.load(calm, 500*time.Millisecond, c.server.Kill)
	c.restart()
	conn := c.server.Dial()
	var v verdict
	for _, l := range c.ledgers {
		shown, under := c.show(conn, l)
		v.add(l.judge(shown, under))
		if len(shown) != 0 {
			t.Fatalf("redis-server without persistence kept %d keys", len(shown))
		}
	}
	if len(v.lost) == 0 {
		t.Error("no loss was noticed")
	}
}
