package compat_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// backupWriter is one connection of the load. Step i logs a session in and the one of
// backupWindow steps before out, and counts, all in one transaction. So a copy shows up to
// which step it goes, and the steps of all writers add up to the count if it is of one
// instant.
type backupWriter struct {
	id          int
	deadline    int64         // of its first session, Unix ms; each later one has a millisecond more
	asked, told atomic.Uint64 // steps
}

const backupWindow = 5

func (w *backupWriter) session(step uint64) string { return fmt.Sprintf("sess:%d:%d", w.id, step) }

// work goes on until the server is gone or stop is closed.
func (w *backupWriter) work(c *proc.Conn, stop chan struct{}) error {
	for step := w.asked.Load() + 1; ; step++ {
		select {
		case <-stop:
			return nil
		default:
		}
		w.asked.Store(step)
		padding := strings.Repeat("x", 200+int(step%7)*100)
		err := c.TrySend(proc.Command("MULTI") +
			proc.Command("SET", w.session(step), padding, "PXAT", strconv.FormatInt(w.deadline+int64(step), 10)) +
			proc.Command("DEL", w.session(step-backupWindow)) +
			proc.Command("SET", fmt.Sprint("steps:", w.id), strconv.FormatUint(step, 10)) +
			proc.Command("INCR", "total") + proc.Command("EXEC"))
		for range 6 {
			if err == nil {
				_, err = c.TryReply()
			}
		}
		if err != nil {
			return err
		}
		w.told.Store(step)
	}
}

// backupLoad is many writers on one server.
type backupLoad struct {
	writers []*backupWriter
	stop    chan struct{}
	running sync.WaitGroup
}

func startBackupLoad(t *testing.T, s *proc.Server) *backupLoad {
	l := &backupLoad{stop: make(chan struct{})}
	for i := range 20 {
		w := &backupWriter{id: i, deadline: time.Now().Add(time.Hour).UnixMilli() + int64(i)*1_000_000}
		l.writers = append(l.writers, w)
		conn := s.Dial()
		l.running.Go(func() {
			if err := w.work(conn, l.stop); err != nil && !proc.ErrClosed(err) {
				t.Errorf("writer %d: %v", w.id, err)
			}
		})
	}
	return l
}

// told returns which step of each writer was acknowledged.
func (l *backupLoad) told() (steps []uint64) {
	for _, w := range l.writers {
		steps = append(steps, w.told.Load())
	}
	return steps
}

// waitFor waits until each writer has done some more.
func (l *backupLoad) waitFor(t *testing.T) {
	t.Helper()
	begin := l.told()
	proc.Eventually(t, func() error {
		for i, step := range l.told() {
			if step < begin[i]+backupWindow+1 {
				return fmt.Errorf("writer %d is at step %d", i, step)
			}
		}
		return nil
	})
}

// check holds what a server has to being one instant of the load, with the steps least at
// least.
func (l *backupLoad) check(t *testing.T, s *proc.Server, least []uint64) {
	t.Helper()
	c := s.Dial()
	number := func(key string) (n uint64) {
		// $LENGTH, NUMBER
		if _, err := fmt.Sscanf(strings.ReplaceAll(c.Do("GET", key), "\r\n", " "), "$%d %d", new(int), &n); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		return n
	}
	var sum uint64
	for i, w := range l.writers {
		last := number(fmt.Sprint("steps:", w.id))
		sum += last
		if last < least[i] || last > w.asked.Load() {
			t.Errorf("writer %d is at step %d, %d was acknowledged before and %d ever asked for", i, last, least[i], w.asked.Load())
		}
		for step := max(last, backupWindow+1) - backupWindow; step <= last+1; step++ {
			want := ":-2\r\n"
			if step > last-backupWindow && step <= last {
				want = fmt.Sprintf(":%d\r\n", w.deadline+int64(step))
			}
			if got := c.Do("PEXPIRETIME", w.session(step)); got != want {
				t.Errorf("writer %d at step %d: PEXPIRETIME of session %d = %q, want %q", i, last, step, got, want)
			}
		}
	}
	if total := number("total"); total != sum {
		t.Errorf("the writers are at %d steps and %d were counted: it is not one instant", sum, total)
	}
	if got, want := c.Do("DBSIZE"), fmt.Sprintf(":%d\r\n", 1+len(l.writers)*(1+backupWindow)); got != want {
		t.Errorf("DBSIZE = %q, want %q", got, want)
	}
}

// runTool runs a tool of sessiond that must succeed.
func runTool(t *testing.T, args ...string) {
	t.Helper()
	p := proc.Sessiond(t, args...)
	if code := p.Run(); code != 0 {
		t.Fatalf("sessiond %v: exit code %d\n%s", args, code, p.Log())
	}
}

// serveRestored restores a backup and runs a server on what comes of it.
func serveRestored(t *testing.T, backup string) *proc.Server {
	t.Helper()
	s := proc.Start(t)
	s.Stop()
	if err := os.RemoveAll(s.Dir); err != nil {
		t.Fatal(err)
	}
	runTool(t, "restore", "--from", backup, "--dir", s.Dir)
	s.Restart()
	return s
}

// Ensure that each backup of a busy server is one instant, with everything acknowledged
// before it began and with exact deadlines, also if the server is killed while the next one
// is made; that the server lost nothing either; and that a backup of a restored server is
// as good.
func TestBackup_UnderLoad(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	for _, mode := range []string{"session", "everysec"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			// A small cache: tables are written and merged all the time.
			s := proc.Start(t, "--durability", mode, "--cache-bytes", "4000000")
			backup := filepath.Join(t.TempDir(), "copy")
			load := startBackupLoad(t, s)
			load.waitFor(t)
			var told []uint64
			for range 5 {
				told = load.told()
				runTool(t, "backup", "--dir", s.Dir, "--to", backup)
				load.check(t, serveRestored(t, backup), told)
				load.waitFor(t)
			}
			sixth := proc.Sessiond(t, "backup", "--dir", s.Dir, "--to", backup)
			sixth.Start()
			killInBackup(t, s, sixth)
			load.running.Wait()
			end := load.told()
			restored := serveRestored(t, backup)
			load.check(t, restored, told)
			s.Restart()
			load.check(t, s, end)
			runTool(t, "backup", "--dir", s.Dir, "--to", backup) // over what the killed one left
			load.check(t, serveRestored(t, backup), end)

			again := filepath.Join(t.TempDir(), "again")
			runTool(t, "backup", "--dir", restored.Dir, "--to", again)
			load.check(t, serveRestored(t, again), told)
		})
	}
}

// killInBackup kills the server while it makes a backup, or soon after if it is too quick.
func killInBackup(t *testing.T, s *proc.Server, tool *proc.Process) {
	t.Helper()
	proc.Eventually(t, func() error {
		if _, err := os.Stat(filepath.Join(s.Dir, "backup.stage")); err == nil || tool.Ended() {
			return nil
		}
		return fmt.Errorf("the backup does not begin:\n%s", tool.Log())
	})
	time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // the random moment
	s.Kill()
}

// Ensure that SIGTERM ends a server that is making a backup, and leaves a whole one.
func TestBackup_Stop(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t)
	backup := filepath.Join(t.TempDir(), "copy")
	load := startBackupLoad(t, s)
	load.waitFor(t)
	told := load.told()
	runTool(t, "backup", "--dir", s.Dir, "--to", backup)
	second := proc.Sessiond(t, "backup", "--dir", s.Dir, "--to", backup)
	second.Start()
	proc.Eventually(t, func() error {
		if names, err := os.ReadDir(backup); len(names) > 2 || second.Ended() {
			return err
		}
		return fmt.Errorf("the backup does not begin:\n%s", second.Log())
	})
	s.Stop()
	load.running.Wait()
	if code := second.ExitCode(); code != 0 && second.Stderr.Lines() != 1 {
		t.Errorf("exit code %d, stderr %q, want one line", code, second.Stderr)
	}
	load.check(t, serveRestored(t, backup), told)
}

// Ensure that BGSAVE and SAVE make a copy where --backup-dir says, and that LASTSAVE tells
// of it.
func TestBackup_RedisCLI(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	cli := proc.Require(t, "redis-cli")
	backup := filepath.Join(t.TempDir(), "copy")
	s := proc.Start(t, "--backup-dir", backup)
	ask := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(cli, append([]string{"-p", s.Port}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("redis-cli %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	ask("SET", "k", "first", "PX", "3600000")
	want := ask("PEXPIRETIME", "k")
	before := ask("LASTSAVE")
	proc.Eventually(t, func() error {
		if got := ask("BGSAVE"); got != "Background saving started" && got != "ERR Background save already in progress" {
			t.Fatalf("BGSAVE = %q", got)
		}
		if ask("LASTSAVE") == before {
			return fmt.Errorf("LASTSAVE is still %s\n%s", before, s.Log())
		}
		return nil
	})
	proc.Eventually(t, func() error {
		if info := ask("INFO", "persistence"); !strings.Contains(info, "rdb_bgsave_in_progress:0") {
			return fmt.Errorf("INFO persistence = %q", info)
		}
		return nil
	})
	if info := ask("INFO", "persistence"); !strings.Contains(info, "rdb_last_bgsave_status:ok") {
		t.Errorf("INFO persistence = %q", info)
	}
	ask("SET", "k", "second", "KEEPTTL")
	if got := ask("SAVE"); got != "OK" {
		t.Errorf("SAVE = %q", got)
	}
	ask("DEL", "k")
	s.Signal(syscall.SIGKILL)

	restored := serveRestored(t, backup)
	if got := restored.Do("GET", "k"); got != proc.Bulk("second") {
		t.Errorf("GET = %q", got)
	}
	if got := restored.Do("PEXPIRETIME", "k"); got != ":"+want+"\r\n" {
		t.Errorf("PEXPIRETIME = %q, want %s", got, want)
	}
}
