//go:build unix

package sessiond_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
)

// Ensure that a program with a store inside lives on when the disk fails under it: every call,
// those under way included, returns ErrFailed, OnFailure is called once, Redis clients get the error,
// Close ends, and the same program can open the folder again when the disk is in order, with all
// that was acknowledged. The program is this test in a process of its own, and its disk fails by a
// limit on the size of its files.
func TestStore_Failure(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("SESSIOND_TEST_FAILURE"); dir != "" {
		liveOnFailingDisk(t, dir)
		return
	}
	program := exec.Command(os.Args[0], "-test.run=^TestStore_Failure$", "-test.timeout=2m")
	program.Env = append(os.Environ(), "SESSIOND_TEST_FAILURE="+filepath.Join(t.TempDir(), "data"))
	if out, err := program.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func liveOnFailingDisk(t *testing.T, dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	var log bytes.Buffer // slog writes one line at a time
	var told []error
	options := sessiond.Options{
		Logger:    slog.New(slog.NewTextHandler(&log, nil)),
		OnFailure: func(err error) { told = append(told, err) },
	}
	s, err := sessiond.Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, db, ln := t.Context(), s.DB(0), listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	if err := db.Set(ctx, "before", []byte("kept"), time.Hour); err != nil {
		t.Fatal(err)
	}
	conn := dialPing(t, ln)

	repair := failDisk(t)
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for {
				if err := db.Set(ctx, "during", make([]byte, 1000), time.Hour); err != nil {
					wantFailed(t, "Set", err)
					return
				}
			}
		})
	}
	within(t, "the calls under way", writers.Wait)
	within(t, "the later calls", func() { wantAllFailed(t, s) })
	within(t, "the Redis clients", func() {
		wantFailedReply(t, conn)
		late, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		wantFailedReply(t, late)
	})
	within(t, "Close", func() {
		wantFailed(t, "Close", s.Close())
		wantFailed(t, "a second Close", s.Close())
	})
	if err := <-served; !errors.Is(err, sessiond.ErrServerClosed) {
		t.Errorf("Serve = %v, want %v", err, sessiond.ErrServerClosed)
	}
	if len(told) != 1 || !errors.Is(told[0], sessiond.ErrFailed) || !errors.Is(told[0], syscall.EFBIG) {
		t.Errorf("OnFailure was told %v, want %v and why, once", told, sessiond.ErrFailed)
	}
	if n := strings.Count(log.String(), "the store cannot go on"); n != 1 {
		t.Errorf("the log tells %d times of the failure:\n%s", n, &log)
	}

	repair()
	if s, err = sessiond.Open(dir, options); err != nil {
		t.Fatal(err)
	}
	if value, found, err := s.DB(0).Get(ctx, "before"); err != nil || !found || string(value) != "kept" {
		t.Errorf("after the repair: Get = %q, %v, %v", value, found, err)
	}
	if err := errors.Join(s.DB(0).Set(ctx, "after", nil, time.Hour), s.Close()); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

// failDisk keeps files of this process from growing until repair is called.
func failDisk(t *testing.T) (repair func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	set := func(cur uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: cur, Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
	}
	set(64 << 10)
	return func() { set(limit.Cur) }
}

func wantAllFailed(t *testing.T, s *sessiond.Store) {
	t.Helper()
	ctx, db := t.Context(), s.DB(0)
	_, _, get := db.Get(ctx, "before")
	_, _, left := db.TTL(ctx, "before")
	_, touch := db.Touch(ctx, "before", time.Hour)
	_, del := db.Delete(ctx, "before")
	_, backup := s.Backup(ctx, filepath.Join(t.TempDir(), "copy"), sessiond.BackupOptions{})
	for call, err := range map[string]error{
		"Get": get, "TTL": left, "Touch": touch, "Delete": del, "Backup": backup,
		"Set": db.Set(ctx, "late", nil, time.Hour),
	} {
		wantFailed(t, call, err)
	}
}

func wantFailed(t *testing.T, call string, err error) {
	t.Helper()
	if !errors.Is(err, sessiond.ErrFailed) || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("%s = %v, want %v and why", call, err, sessiond.ErrFailed)
	}
}

// dialPing returns a connection that has been answered.
func dialPing(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	pong := make([]byte, len("+PONG\r\n"))
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, pong); err != nil {
		t.Fatal(err)
	}
	return conn
}

// wantFailedReply sends some commands. They are answered with one error and the end.
func wantFailedReply(t *testing.T, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET before\r\nPING\r\n"); err != nil {
		t.Error(err)
	}
	got, err := io.ReadAll(conn)
	if text := string(got); err != nil || !strings.HasPrefix(text, "-MISCONF the store has failed") || strings.Count(text, "\n") != 1 {
		t.Errorf("a client of a failed store is told %q, %v", got, err)
	}
}

// within fails the test at once if fn does not return.
func within(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("hangs: %s", what)
	}
}
