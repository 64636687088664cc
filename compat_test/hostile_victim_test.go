package compat_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// victim is a sessiond that a hostile client is let loose on. What it uses is read from
// /proc, so these tests need Linux.
type victim struct {
	*proc.Server
	t        *testing.T
	password string
	rest     usage // before the attack
}

// usage is what the process holds and has used.
type usage struct {
	resident, peak int64 // bytes
	files          int
	cpu            time.Duration
}

const (
	mib = 1 << 20
	// hostileCache is small, so that it cannot hide what an attack costs.
	hostileCache = 8 * mib
	// hostileSecret is in every login, key and value of the attacks: it must not be in the log.
	hostileSecret = "Tr0ub4dor"
)

// hostileScale multiplies the sizes of the attacks: SESSIOND_HOSTILE_SCALE, 1 if not set.
func hostileScale(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SESSIOND_HOSTILE_SCALE")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SESSIOND_HOSTILE_SCALE %q: not a positive number", text)
	}
	return n
}

// startVictim starts a server and lets it come to rest.
func startVictim(t *testing.T, args ...string) *victim {
	t.Helper()
	proc.OnlySessiond(t)
	if _, err := os.Stat("/proc/self/status"); err != nil {
		proc.Missing(t, "/proc")
	}
	v := &victim{Server: proc.Start(t, append([]string{"--cache-bytes", strconv.Itoa(hostileCache)}, args...)...), t: t}
	if i := slices.Index(args, "--requirepass"); i >= 0 {
		v.password = args[i+1]
	}
	v.greet()
	v.settle()
	return v
}

// settle takes the present usage as that at rest, and begins a new peak.
func (v *victim) settle() {
	v.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", v.Pid()), []byte("5"), 0); err != nil {
		v.t.Fatal(err)
	}
	v.rest = v.usage()
}

func (v *victim) usage() (u usage) {
	v.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.Pid()))
	if err != nil {
		v.t.Fatalf("the server is gone: %v\n%s", err, v.Log())
	}
	u.resident, u.peak = statusBytes(status, "VmRSS:"), statusBytes(status, "VmHWM:")
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", v.Pid()))
	if err != nil {
		v.t.Fatalf("the server is gone: %v\n%s", err, v.Log())
	}
	u.files = len(files)
	u.cpu, err = processorTime(v.Pid())
	if err != nil {
		v.t.Fatal(err)
	}
	return u
}

// processorTime returns what a process has used of the processors.
func processorTime(pid int) (used time.Duration, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// Behind the name in brackets: state is field 3, utime 14 and stime 15, in hundredths.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, field := range fields[11:13] {
		ticks, _ := strconv.ParseInt(field, 10, 64) // the kernel wrote a number
		used += time.Duration(ticks) * 10 * time.Millisecond
	}
	return used, nil
}

// Memory that the system hands out costs a machine of one's own a quarter of a second of
// processor time for a GiB, and some virtual ones more than ten times that. An attack may make
// the server ask for freshMemory, so what that costs above cheapMemory is no fault of it.
const (
	freshMemory = 8 << 30
	cheapMemory = 300 * time.Millisecond // for a GiB
)

// memoryCost returns what the machine takes for freshMemory above what it should.
var memoryCost = sync.OnceValue(func() time.Duration {
	const size = 256 * mib
	debug.FreeOSMemory()
	before, err := processorTime(os.Getpid())
	b := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	after, err2 := processorTime(os.Getpid())
	runtime.KeepAlive(b)
	if err != nil || err2 != nil {
		return 0
	}
	return max(0, (after-before)*(freshMemory/size)-cheapMemory*(freshMemory>>30))
})

func statusBytes(status []byte, name string) int64 {
	_, rest, _ := bytes.Cut(status, []byte(name))
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	kib, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64) // the kernel wrote a number
	return kib << 10
}

// greet is an ordinary client, who must be served within a second.
func (v *victim) greet() {
	v.t.Helper()
	v.clean()
	begin := time.Now()
	conn, err := net.DialTimeout("tcp", v.Addr, proc.Patience)
	if err != nil {
		v.t.Fatalf("an ordinary client cannot connect: %v\n%s", err, v.Log())
	}
	defer conn.Close()
	must(v.t, conn.SetDeadline(begin.Add(proc.Patience)))
	say, want := "", ""
	if v.password != "" {
		say, want = proc.Command("AUTH", v.password), "+OK\r\n"
	}
	say += proc.Command("SET", "ordinary", "v", "EX", "60") + proc.Command("GET", "ordinary") + proc.Command("DEL", "ordinary")
	want += "+OK\r\n$1\r\nv\r\n:1\r\n"
	if _, err := io.WriteString(conn, say); err != nil {
		v.t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		v.t.Fatalf("an ordinary client hears %q, %v, want %q\n%s", got[:n], err, want, v.Log())
	}
	if took := time.Since(begin); took > time.Second {
		v.t.Errorf("an ordinary client waited %v", took.Round(time.Millisecond))
	}
}

// aftermath checks that the attack, which has ended, left nothing behind, and that at its
// height it took no more than extra bytes.
func (v *victim) aftermath(extra int64) {
	v.t.Helper()
	v.greet()
	height := v.usage().peak - v.rest.resident
	if height > extra {
		v.t.Errorf("at its height the attack took %d MiB, want at most %d", height/mib, extra/mib)
	}
	proc.Eventually(v.t, func() error {
		before := v.usage().cpu
		time.Sleep(time.Second) // the time over which the processor is watched
		if used := v.usage().cpu - before; used > 50*time.Millisecond {
			return fmt.Errorf("the server still works: %v of processor time in a second", used)
		}
		return nil
	})
	proc.Eventually(v.t, func() error {
		if now := v.usage(); now.files > v.rest.files+fewFiles {
			return fmt.Errorf("%d files are open, %d before", now.files, v.rest.files)
		}
		return nil
	})
	var left int64
	proc.Eventually(v.t, func() error {
		if left = v.usage().resident - v.rest.resident; left > leftover {
			return fmt.Errorf("%d MiB stay resident after the attack, want at most %d", left/mib, int64(leftover)/mib)
		}
		return nil
	})
	v.t.Logf("at its height %d MiB, left %d MiB, processor %v", max(height, 0)/mib, max(left, 0)/mib, v.usage().cpu-v.rest.cpu)
	v.clean()
}

// clean checks that the log tells neither of a panic nor what is nobody's business.
func (v *victim) clean() {
	v.t.Helper()
	for _, word := range []string{"panic", "goroutine ", hostileSecret} {
		if log := v.Log(); strings.Contains(log, word) {
			v.t.Fatalf("the log contains %q:\n%s", word, log)
		}
	}
}

const (
	fewFiles = 32        // what the store may open in the meantime
	leftover = 150 * mib // two of the largest values may be on their way, and what Go keeps
)

// enemy is one connection of the attacker. Errors are the server's good right.
type enemy struct {
	net.Conn
	r        *bufio.Reader
	greeting string // what a connection of its kind says first
}

func (v *victim) enemy() *enemy {
	v.t.Helper()
	conn, err := net.DialTimeout("tcp", v.Addr, proc.Patience)
	if err != nil {
		v.t.Fatalf("connect: %v\n%s", err, v.Log())
	}
	v.t.Cleanup(func() { _ = conn.Close() })
	must(v.t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	return &enemy{Conn: conn, r: bufio.NewReader(conn)}
}

// login returns a connection that has logged in.
func (v *victim) login() *enemy {
	v.t.Helper()
	e := v.enemy()
	if v.password == "" {
		return e
	}
	e.greeting = proc.Command("AUTH", v.password)
	_ = e.say(e.greeting)
	if got := e.hear(); got != "+OK\r\n" {
		v.t.Fatalf("AUTH = %q", got)
	}
	return e
}

// ask sends a command and returns the reply, "" if the connection was closed.
func (e *enemy) ask(args ...string) string {
	_ = e.say(proc.Command(args...))
	return e.hear()
}

// say sends what it can.
func (e *enemy) say(parts ...string) error {
	for _, part := range parts {
		if _, err := io.WriteString(e.Conn, part); err != nil {
			return err
		}
	}
	return nil
}

// hear returns the next reply, or "" if the connection was closed.
func (e *enemy) hear() string {
	reply, err := proc.ReadReply(e.r)
	if err != nil {
		return ""
	}
	return reply
}

// drain reads until the connection ends and returns how many bytes came.
func (e *enemy) drain() int64 {
	n, _ := io.Copy(io.Discard, e.r) // a reset is an end, too
	return n
}

// cut reports whether the server closes the connection within Patience.
func (e *enemy) cut() bool {
	_ = e.SetReadDeadline(time.Now().Add(proc.Patience))
	return ended(e.Conn)
}

// greetSoon is greet for a server that may need a moment to come round.
func (v *victim) greetSoon() {
	v.t.Helper()
	conn, err := net.Dial("tcp", v.Addr)
	if err != nil {
		v.t.Fatal(err)
	}
	defer conn.Close()
	must(v.t, conn.SetDeadline(time.Now().Add(proc.Patience)))
	_, _ = io.WriteString(conn, "PING\r\n") // the answer tells
	_, _ = proc.ReadReply(bufio.NewReader(conn))
	v.greet()
}
