package sessiond_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
	"github.com/sessiond/sessiond/ttl"
)

// start is when the manual clocks of the tests begin.
const start ttl.Instant = 1_700_000_000_000

// open opens a store in a folder of its own with a clock that the test moves.
func open(t *testing.T, options sessiond.Options) (*sessiond.Store, *ttl.Manual) {
	t.Helper()
	clock := ttl.NewManual(start)
	options.Clock = clock
	options.Logger = slog.New(slog.DiscardHandler)
	s, err := sessiond.Open(t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, clock
}

// listen returns a listener on a free port of loopback.
func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() }) // closed already where it was served
	return ln
}

// ask sends commands, waits for what they are answered with, and checks it.
func ask(t *testing.T, ln net.Listener, commands, want string) {
	t.Helper()
	if got := answer(t, ln, commands); got != want {
		t.Errorf("%q = %q, want %q", commands, got, want)
	}
}

// answer sends commands and returns what they are answered with.
func answer(t *testing.T, ln net.Listener, commands string) string {
	t.Helper()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, commands+"QUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(got), "+OK\r\n")
}

// Ensure that a value, an empty value and the absence of one are three things.
func TestDB_Get(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{})
	ctx, db := t.Context(), s.DB(0)
	for _, value := range []string{"value", "", "\r\n\x00"} {
		if err := db.Set(ctx, "k", []byte(value), sessiond.Forever); err != nil {
			t.Fatal(err)
		}
		got, found, err := db.Get(ctx, "k")
		if err != nil || !found || string(got) != value {
			t.Errorf("Get = %q, %v, %v, want %q", got, found, err, value)
		}
	}
	got, found, err := db.Get(ctx, "nobody")
	if err != nil || found || got != nil {
		t.Errorf("Get of a missing key = %q, %v, %v, want nothing", got, found, err)
	}
}

// Ensure that neither side of Set and Get sees what the other does with its slice later.
func TestDB_Get_Copies(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{})
	ctx, db := t.Context(), s.DB(0)
	value := []byte("value")
	if err := db.Set(ctx, "k", value, sessiond.Forever); err != nil {
		t.Fatal(err)
	}
	copy(value, "XXXXX")
	for range 2 {
		got, _, err := db.Get(ctx, "k")
		if err != nil || !bytes.Equal(got, []byte("value")) {
			t.Errorf("Get = %q, %v", got, err)
		}
		copy(got, "YYYYY")
	}
}

// Ensure that AppendValue appends, and gives back what it was handed if there is no such key.
func TestDB_AppendValue(t *testing.T) {
	t.Parallel()
	store, _ := open(t, sessiond.Options{})
	db, ctx := store.DB(1), t.Context()
	if err := db.Set(ctx, "key", []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key, want string
		found     bool
	}{{"key", "a value", true}, {"none", "a ", false}} {
		got, found, err := db.AppendValue(ctx, []byte("a "), tt.key)
		if string(got) != tt.want || found != tt.found || err != nil {
			t.Errorf("AppendValue(%q) = %q, %v, %v", tt.key, got, found, err)
		}
	}
}

// Ensure that a key is there one millisecond before its deadline and gone at it, for every
// method.
func TestDB_Deadline(t *testing.T) {
	t.Parallel()
	tests := []struct {
		timeToLive, life time.Duration // life is 0 for ever
	}{
		{time.Minute, time.Minute},
		{1, time.Millisecond},
		{time.Second + 1, time.Second + time.Millisecond},
		{sessiond.Forever, 0},
		{sessiond.Forever - 1, 0}, // centuries
	}
	for _, tt := range tests {
		s, clock := open(t, sessiond.Options{})
		ctx, db := t.Context(), s.DB(0)
		if err := db.Set(ctx, "k", []byte("v"), tt.timeToLive); err != nil {
			t.Fatal(err)
		}
		life := tt.life
		if life == 0 {
			life = 24 * 365 * time.Hour
		}
		clock.Advance(life - time.Millisecond)
		if _, found, err := db.Get(ctx, "k"); err != nil || !found {
			t.Errorf("set for %v, Get 1 ms before the end = %v, %v", tt.timeToLive, found, err)
		}
		clock.Advance(time.Millisecond)
		_, got, err1 := db.Get(ctx, "k")
		_, lives, err2 := db.TTL(ctx, "k")
		touched, err3 := db.Touch(ctx, "k", time.Hour)
		deleted, err4 := db.Delete(ctx, "k")
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		if want := tt.life == 0; got != want || lives != want || touched != want || (deleted == 1) != want {
			t.Errorf("set for %v, at the end: Get %v, TTL %v, Touch %v, Delete %d, want %v",
				tt.timeToLive, got, lives, touched, deleted, want)
		}
	}
}

// Ensure that Touch moves the deadline both ways, takes it away, and keeps the value.
func TestDB_Touch(t *testing.T) {
	t.Parallel()
	s, clock := open(t, sessiond.Options{})
	ctx, db := t.Context(), s.DB(0)
	if err := db.Set(ctx, "k", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{time.Hour, time.Second, sessiond.Forever, time.Minute} {
		if found, err := db.Touch(ctx, "k", d); err != nil || !found {
			t.Errorf("Touch %v = %v, %v", d, found, err)
		}
		if left, found, err := db.TTL(ctx, "k"); err != nil || !found || left != d {
			t.Errorf("TTL = %v, %v, %v, want %v", left, found, err, d)
		}
	}
	clock.Advance(59 * time.Second)
	if left, _, _ := db.TTL(ctx, "k"); left != time.Second {
		t.Errorf("TTL after 59s of a minute = %v", left)
	}
	if got, found, err := db.Get(ctx, "k"); err != nil || !found || string(got) != "v" {
		t.Errorf("Get = %q, %v, %v", got, found, err)
	}
	if found, err := db.Touch(ctx, "nobody", time.Hour); err != nil || found {
		t.Errorf("Touch of a missing key = %v, %v", found, err)
	}
	if _, found, err := db.Get(ctx, "nobody"); err != nil || found {
		t.Errorf("Touch made a key: %v, %v", found, err)
	}
}

// Ensure that a time to live of nothing or less is refused, with the word for what an unset
// one might have meant, and changes nothing: neither a key that is there nor one that is not.
func TestDB_NoTimeToLive(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{})
	ctx, db := t.Context(), s.DB(0)
	if err := db.Set(ctx, "k", []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{0, -1, -time.Hour, math.MinInt64} {
		_, touchErr := db.Touch(ctx, "k", d)
		_, noneErr := db.Touch(ctx, "nobody", d)
		for _, err := range []error{db.Set(ctx, "k", []byte("w"), d), db.Set(ctx, "new", nil, d), touchErr, noneErr} {
			if err == nil || !strings.Contains(err.Error(), d.String()) || !strings.Contains(err.Error(), "sessiond.Forever") {
				t.Errorf("a time to live of %v: %v, want an error that has it and sessiond.Forever", d, err)
			}
		}
	}
	if value, _, err := db.Get(ctx, "k"); err != nil || string(value) != "v" {
		t.Errorf("Get = %q, %v, want what was there before", value, err)
	}
	if left, _, err := db.TTL(ctx, "k"); err != nil || left != time.Minute {
		t.Errorf("TTL = %v, %v, want a minute", left, err)
	}
	if _, found, err := db.Get(ctx, "new"); err != nil || found {
		t.Errorf("Get of what was refused = %v, %v, want nothing", found, err)
	}
}

// Ensure that Delete counts what was there, names twice included, and leaves other
// databases alone.
func TestDB_Delete(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{})
	ctx := t.Context()
	for i := range 2 {
		for _, key := range []string{"a", "b"} {
			if err := s.DB(i).Set(ctx, key, nil, sessiond.Forever); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, err := s.DB(1).Delete(ctx, "a", "nobody", "b", "a"); err != nil || n != 2 {
		t.Errorf("Delete = %d, %v, want 2", n, err)
	}
	if n, err := s.DB(1).Delete(ctx); err != nil || n != 0 {
		t.Errorf("Delete of nothing = %d, %v, want 0", n, err)
	}
	if _, found, err := s.DB(0).Get(ctx, "a"); err != nil || !found {
		t.Errorf("database 0 has lost its key: %v, %v", found, err)
	}
}

// Ensure that a context that has ended stops a call before it changes anything.
func TestDB_Context(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.DB(0).Set(ctx, "k", nil, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("Set = %v, want %v", err, context.Canceled)
	}
	if _, found, err := s.DB(0).Get(t.Context(), "k"); err != nil || found {
		t.Errorf("Get = %v, %v, want nothing", found, err)
	}
}

// Ensure that sessions survive Close with their deadlines, in every mode.
func TestOpen_Again(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clock := ttl.NewManual(start)
	for _, mode := range []sessiond.Durability{sessiond.Session, sessiond.Strict, sessiond.EverySec} {
		t.Run(mode.String(), func(t *testing.T) {
			options := sessiond.Options{Durability: mode, Clock: clock, Logger: slog.New(slog.DiscardHandler)}
			s, err := sessiond.Open(dir, options)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.DB(3).Set(t.Context(), "k", []byte(mode.String()), time.Minute); err != nil {
				t.Error(err)
			}
			if err := errors.Join(s.Close(), s.Close()); err != nil {
				t.Fatal(err)
			}
			clock.Advance(time.Second)
			if s, err = sessiond.Open(dir, options); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			got, _, err1 := s.DB(3).Get(t.Context(), "k")
			left, _, err2 := s.DB(3).TTL(t.Context(), "k")
			if string(got) != mode.String() || left != 59*time.Second || errors.Join(err1, err2) != nil {
				t.Errorf("after Open: %q, %v, %v", got, left, errors.Join(err1, err2))
			}
		})
	}
}

// Ensure that a folder belongs to one Store, and that what cannot be opened says why.
func TestOpen_Refused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := sessiond.Open(dir, sessiond.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := sessiond.Open(dir, sessiond.Options{}); !errors.Is(err, sessiond.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open of an open folder: %v, want ErrLocked with the folder", err)
	}
	if _, err := sessiond.Open(".", sessiond.Options{}); !errors.Is(err, sessiond.ErrForeign) {
		t.Errorf("Open of somebody else's folder: %v, want ErrForeign", err)
	}
	for _, options := range []sessiond.Options{
		{Databases: -1}, {Databases: sessiond.MaxDatabases + 1}, {MaxClients: -1}, {IdleTimeout: -1},
		{CacheBytes: -1}, {Durability: -1}, {Durability: 3},
	} {
		if _, err := sessiond.Open(t.TempDir(), options); err == nil {
			t.Errorf("Open took %+v", options)
		}
	}
}

// Ensure that there are as many databases as asked for.
func TestStore_DB_Panics(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{Databases: 2})
	for _, i := range []int{-1, 2} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("DB(%d) of 2 did not panic", i)
				}
			}()
			s.DB(i)
		}()
	}
	s.DB(1)
}

// Ensure that after Close every call says so, and that none is cut short by it.
func TestStore_Close(t *testing.T) {
	t.Parallel()
	s, _ := open(t, sessiond.Options{})
	db := s.DB(0)
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for {
				err := db.Set(t.Context(), "k", []byte("v"), time.Minute)
				if errors.Is(err, sessiond.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	calls.Wait()
	if _, _, err := db.Get(t.Context(), "k"); !errors.Is(err, sessiond.ErrClosed) {
		t.Errorf("Get after Close: %v, want ErrClosed", err)
	}
	if err := s.Serve(listen(t)); !errors.Is(err, sessiond.ErrServerClosed) {
		t.Errorf("Serve after Close: %v, want ErrServerClosed", err)
	}
}

// Ensure that Close leaves no goroutine behind. It is not parallel: it counts them.
func TestStore_Close_NothingRuns(t *testing.T) {
	before := runtime.NumGoroutine()
	s, err := sessiond.Open(t.TempDir(), sessiond.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	served := make(chan error)
	go func() { served <- s.Serve(ln) }()
	ask(t, ln, "SET k v\r\n", "+OK\r\n")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; !errors.Is(err, sessiond.ErrServerClosed) {
		t.Errorf("Serve = %v, want ErrServerClosed", err)
	}
	// A goroutine that has nothing left to do may still be counted for a moment.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
