package sessiond_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
	"github.com/sessiond/sessiond/ttl"
)

// settable is a wall clock as a machine has one: somebody may set it, and those who sleep
// sleep on.
type settable struct {
	*ttl.Manual // only passes
	shift       atomic.Int64
}

func newSettable() *settable { return &settable{Manual: ttl.NewManual(start)} }

func (c *settable) Now() ttl.Instant { return c.Manual.Now() + ttl.Instant(c.shift.Load()) }

// step sets the clock by d.
func (c *settable) step(d time.Duration) { c.shift.Add(int64(d / time.Millisecond)) }

// journal is where a Store logs to.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// logger returns a logger whose lines have no time.
func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// wants compares the lines about the clock with how each should begin.
func (j *journal) wants(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	var got []string
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, "clock") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("the log tells\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const (
	setBack = `level=WARN msg="the clock was set back; it stands still until all that has ended is removed, and then goes on from there" `
	setOn   = `level=WARN msg="the clock was set forward, or the machine slept; what would have ended meanwhile has ended" `
)

// openOn opens the store in dir, to be closed by the test.
func openOn(t *testing.T, dir string, clock ttl.Clock, j *journal) (*sessiond.Store, *sessiond.DB) {
	t.Helper()
	s, err := sessiond.Open(dir, sessiond.Options{Clock: clock, Logger: j.logger(), Durability: sessiond.EverySec})
	if err != nil {
		t.Fatal(err)
	}
	return s, s.DB(0)
}

func closeStore(t *testing.T, s *sessiond.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, db *sessiond.DB, key string, timeToLive time.Duration) {
	t.Helper()
	if err := db.Set(t.Context(), key, []byte(key), timeToLive); err != nil {
		t.Fatal(err)
	}
}

// wantTTL checks how long a key has to live; zero means that it has ended.
func wantTTL(t *testing.T, db *sessiond.DB, key string, want time.Duration) {
	t.Helper()
	got, found, err := db.TTL(t.Context(), key)
	if err != nil || found != (want > 0) || got != want {
		t.Errorf("TTL %q = %v, %v, %v; want %v", key, got, found, err, want)
	}
}

// eventually polls a Store whose sweeper is at work.
func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !check() {
		if ctx.Err() != nil {
			t.Fatalf("not in 20 s: %s", what)
		}
		time.Sleep(time.Millisecond) // polling goroutines that do not belong to the test
	}
}

// Ensure that a session which ended stays so when the clock is set back, that the others
// live as long as their deadlines say, and that both steps are logged, once.
func TestStore_ClockSetBack(t *testing.T) {
	t.Parallel()
	clock, log := newSettable(), &journal{}
	s, db := openOn(t, t.TempDir(), clock, log)
	defer closeStore(t, s)
	set(t, db, "short", 30*time.Minute)
	set(t, db, "long", 3*time.Hour)

	clock.step(time.Hour)
	wantTTL(t, db, "short", 0)
	wantTTL(t, db, "long", 2*time.Hour)
	clock.step(-time.Hour)
	wantTTL(t, db, "short", 0)
	wantTTL(t, db, "long", 2*time.Hour) // until the sweeper has been there

	eventually(t, "time goes back", func() bool {
		clock.Advance(time.Millisecond)
		left, _, _ := db.TTL(t.Context(), "long")
		return left > 2*time.Hour+59*time.Minute
	})
	wantTTL(t, db, "short", 0)
	set(t, db, "new", time.Minute)
	wantTTL(t, db, "new", time.Minute)
	log.wants(t, setBack+"from=2023-11-14T23:13:20.000Z to=2023-11-14T22:13:2")

	eventually(t, "the sweeper notices the clock set forward", func() bool {
		clock.step(time.Hour) // not noticed while the sweeper is at work
		clock.Advance(time.Second)
		log.mu.Lock()
		defer log.mu.Unlock()
		return strings.Contains(log.text.String(), setOn)
	})
	wantTTL(t, db, "new", 0)
}

// Ensure that a clock which was set back between two runs brings no ended session back and
// ends none, and that it is logged.
func TestStore_ClockSetBackBetweenRuns(t *testing.T) {
	t.Parallel()
	dir, clock, log := t.TempDir(), newSettable(), &journal{}
	s, db := openOn(t, dir, clock, log)
	for i := range 600 { // more than one sweep removes
		set(t, db, fmt.Sprint("short", i), 30*time.Minute)
	}
	set(t, db, "long", 3*time.Hour)
	clock.step(time.Hour)
	wantTTL(t, db, "short599", 0)
	closeStore(t, s)

	clock.step(-50 * time.Minute)
	s, db = openOn(t, dir, clock, log)
	for i := range 600 {
		wantTTL(t, db, fmt.Sprint("short", i), 0)
	}
	eventually(t, "time goes back", func() bool {
		clock.Advance(time.Millisecond)
		left, _, _ := db.TTL(t.Context(), "long")
		return left > 2*time.Hour+49*time.Minute
	})
	for i := range 600 {
		wantTTL(t, db, fmt.Sprint("short", i), 0)
	}
	set(t, db, "new", 20*time.Minute) // ends before the clock was set back to
	closeStore(t, s)
	log.wants(t, setBack+"from=2023-11-14T23:13:20.000Z to=2023-11-14T22:23:2")

	s, db = openOn(t, dir, clock, log)
	defer closeStore(t, s)
	wantTTL(t, db, "new", 20*time.Minute)
	for i := range 600 {
		wantTTL(t, db, fmt.Sprint("short", i), 0)
	}
}

// Ensure that TIME and the commands with absolute times use the clock that judges sessions: a deadline
// that is past by that clock ends the session.
func TestStore_ClockSetBack_Wire(t *testing.T) {
	t.Parallel()
	clock := newSettable()
	s, db := openOn(t, t.TempDir(), clock, &journal{})
	defer closeStore(t, s)
	ln := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }() // ends with the Store
	ask(t, ln, "PING\r\n", "+PONG\r\n")   // it serves
	set(t, db, "k", 3*time.Hour)
	clock.step(time.Hour)
	wantTTL(t, db, "k", 2*time.Hour)
	clock.step(-time.Hour)

	second := int64(start) / 1000
	now := fmt.Sprint(second + 3600)
	ask(t, ln, "TIME\r\n", fmt.Sprintf("*2\r\n$%d\r\n%s\r\n$1\r\n0\r\n", len(now), now))
	ask(t, ln, "TTL k\r\nEXPIRETIME k\r\nLASTSAVE\r\n", fmt.Sprintf(":7200\r\n:%d\r\n:%d\r\n", second+3*3600, second))
	ask(t, ln, fmt.Sprintf("SET a v EXAT %d\r\nGET a\r\n", second+3600), "+OK\r\n$-1\r\n")
	ask(t, ln, fmt.Sprintf("SET a v EXAT %d\r\nTTL a\r\n", second+3601), "+OK\r\n:1\r\n")
	ask(t, ln, fmt.Sprintf("EXPIREAT k %d\r\nEXISTS k\r\n", second+1800), ":1\r\n:0\r\n")

	eventually(t, "time goes back", func() bool {
		clock.Advance(time.Millisecond)
		left, _, _ := db.TTL(t.Context(), "a")
		return left > 59*time.Minute
	})
	ask(t, ln, fmt.Sprintf("EXPIREAT a %d\r\nEXPIRETIME a\r\nGET a\r\nGET k\r\n", second+1800),
		fmt.Sprintf(":1\r\n:%d\r\n$1\r\nv\r\n$-1\r\n", second+1800))
}
