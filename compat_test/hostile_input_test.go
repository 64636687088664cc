package compat_test

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// inputAttacks are bytes that brought down, pinned or bloated servers of this kind. Each is
// tried by a stranger and, where knows is set, by a client that has logged in.
var inputAttacks = []struct {
	name  string
	knows bool  // needs the password
	cut   bool  // the server must close the connection
	peak  int64 // bytes it may take; zero means 100 MiB
	run   func(*testing.T, *enemy)
}{
	{name: "packet of 31 bytes", cut: true, run: sends("*1\r\n$9223372036854775807\r\n\r\n")},
	{name: "packet of 31 bytes", knows: true, cut: true, run: sends("*1\r\n$9223372036854775807\r\n\r\n")},
	{name: "huge count", cut: true, run: sends("*9000000000000000000\r\n")},
	{name: "huge count", knows: true, cut: true, run: sends("*9000000000000000000\r\n")},
	{name: "largest count", knows: true, run: sends("*1048576\r\n$3\r\nDEL\r\n")},
	{name: "bulk of 100 MB", cut: true, run: sends("*2\r\n$4\r\nAUTH\r\n$100000000\r\n")},
	{name: "bulk of 1 GB", knows: true, cut: true, run: sends("*2\r\n$4\r\nECHO\r\n$1073741824\r\n")},
	{name: "no elements", knows: true, run: func(t *testing.T, e *enemy) {
		_ = e.say(strings.Repeat("*0\r\n*-1\r\n", 10_000))
		if got := e.ask("PING"); got != "+PONG\r\n" {
			t.Errorf("PING after arrays without elements = %q", got)
		}
	}},
	{name: "line without end", cut: true, run: sends(strings.Repeat(hostileSecret, 100_000))},
	{name: "line without end", knows: true, cut: true, run: sends(strings.Repeat(hostileSecret, 100_000))},
	{name: "count without end", knows: true, cut: true, run: sends("*" + strings.Repeat("1", mib))},
	{name: "bulk byte by byte", run: dribbles("*2\r\n$4\r\nAUTH\r\n$16384\r\n", 16384)},
	{name: "bulk byte by byte", knows: true, peak: 16 * mib, run: dribbles("*2\r\n$4\r\nECHO\r\n$100000000\r\n", 200_000)},
	// Whoever moves or scans what has arrived at every byte is busy for minutes here.
	{name: "end of a large bulk byte by byte", knows: true, peak: 300 * mib, run: func(t *testing.T, e *enemy) {
		_ = e.say("*2\r\n$4\r\nECHO\r\n$100000000\r\n", strings.Repeat("x", 70*mib))
		dribbles("", 20_000)(t, e)
	}},
	{name: "quotes", knows: true, cut: true, run: sends(strings.Repeat(`"\x41`, 10_000) + "\n")},
	{name: "HTTP", cut: true, run: sends("POST / HTTP/1.1\r\nHost: " + hostileSecret + "\r\n\r\nSET " + hostileSecret + " 1\r\n")},
	{name: "HTTP", knows: true, cut: true, run: sends("GET / HTTP/1.1\r\nHost: " + hostileSecret + "\r\n\r\nFLUSHALL\r\n")},
	{name: "TLS", cut: true, run: func(_ *testing.T, e *enemy) {
		_ = tls.Client(e.Conn, &tls.Config{ServerName: hostileSecret}).Handshake() // nobody answers it
	}},
	{name: "types of RESP3", knows: true, run: sends("~1\r\n%1\r\n+a\r\n:1\r\n_\r\n#t\r\n,1.5\r\n(1\r\n>1\r\n|1\r\n=5\r\ntxt:a\r\n!1\r\na\r\n")},
	{name: "types of RESP3 in an array", knows: true, cut: true, run: sends("*2\r\n~1\r\n$1\r\na\r\n")},
	{name: "noise", run: noise}, {name: "noise", knows: true, run: noise},
	{name: "commands with faults", knows: true, run: faults}, {name: "commands with faults", run: faults},
}

func sends(raw string) func(*testing.T, *enemy) {
	return func(_ *testing.T, e *enemy) { _ = e.say(raw) } // it may close before the end
}

// dribbles sends the head in one piece and then n single bytes.
func dribbles(head string, n int) func(*testing.T, *enemy) {
	return func(t *testing.T, e *enemy) {
		must(t, e.say(head))
		for range n {
			if _, err := e.Write([]byte("x")); err != nil {
				t.Fatalf("the server closed the connection of a client that is merely slow: %v", err)
			}
		}
	}
}

// noise is random bytes, on many connections.
func noise(t *testing.T, e *enemy) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b := make([]byte, 1+random.IntN(4096))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		raw(t, e, b)
	}
}

// faults is well-formed commands with some bytes changed, lost or doubled.
func faults(t *testing.T, e *enemy) {
	random := rand.New(rand.NewPCG(3, 4))
	good := proc.Command("SET", hostileSecret, hostileSecret, "EX", "100") + proc.Command("GET", hostileSecret) +
		proc.Command("MULTI") + proc.Command("INCR", "n") + proc.Command("EXEC") + "SET a \"b c\"\r\n"
	for range 300 {
		b := []byte(good)
		for range 1 + random.IntN(4) {
			at := random.IntN(len(b))
			switch random.IntN(3) {
			case 0:
				b[at] = byte(random.Uint32())
			case 1:
				b = append(b[:at], b[at+1:]...)
			default:
				b = append(b[:at], append([]byte{b[at]}, b[at:]...)...)
			}
		}
		raw(t, e, b)
	}
}

// raw sends bytes on a connection of their own, to the server e is connected to.
func raw(t *testing.T, e *enemy, b []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", e.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write(append([]byte(e.greeting), b...)) // it may close before the end
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(proc.Patience))
	if !ended(conn) {
		t.Fatalf("the server does not close after the end of %q", b)
	}
}

// Ensure that no bytes, before login or after it, bring the server down, pin a processor
// or fill its memory.
func TestHostile_Input(t *testing.T) {
	v := startVictim(t, "--requirepass", hostileSecret)
	admin := v.login()
	if got := admin.ask("CONFIG", "SET", "proto-max-bulk-len", "100mb"); got != "+OK\r\n" {
		t.Fatal(got)
	}
	v.settle()
	begin := v.usage()
	for _, tt := range inputAttacks {
		name := tt.name + ", stranger"
		if tt.knows {
			name = tt.name + ", logged in"
		}
		t.Run(name, func(t *testing.T) {
			v.settle()
			e := v.enemy()
			if tt.knows {
				e = v.login()
			}
			tt.run(t, e)
			if tt.cut && !e.cut() {
				t.Error("the server did not close the connection")
			}
			_ = e.Close()
			v.greet()
			now := v.usage()
			used, took := now.cpu-v.rest.cpu, now.peak-v.rest.resident
			if used > 5*time.Second {
				t.Errorf("it cost %v of processor time", used)
			}
			if took > cmp.Or(tt.peak, 100*mib) {
				t.Errorf("it took %d MiB", took/mib)
			}
			t.Logf("processor %v, at its height %d MiB", used, max(took, 0)/mib)
		})
	}
	v.rest = begin
	v.aftermath(300 * mib)
}

// Ensure that an honest stream of commands, however long, takes no more memory than a
// short one.
func TestHostile_LongPipeline(t *testing.T) {
	v := startVictim(t, "--durability", "everysec")
	e := v.enemy()
	var reader sync.WaitGroup
	reader.Go(func() { e.drain() })
	packet := strings.Repeat(proc.Command("SET", hostileSecret, strings.Repeat("v", 8000)), 125)
	for range 400 {
		must(t, e.say(packet))
	}
	must(t, e.say(proc.Command("QUIT")))
	reader.Wait()
	v.aftermath(300 * mib) // four tables in memory of 64 MiB each
}

// Ensure that a client that sends and does not read stops being served, and takes little.
func TestHostile_NeverReads(t *testing.T) {
	v := startVictim(t)
	e := v.enemy()
	if got := e.ask("SET", "big", strings.Repeat("v", mib)); got != "+OK\r\n" {
		t.Fatal(got)
	}
	v.settle()
	for range 50 {
		e := v.enemy()
		_ = e.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for e.say(strings.Repeat(proc.Command("GET", "big"), 1000)) == nil {
		}
		defer e.Close()
	}
	v.greet()
	height := v.usage().peak - v.rest.resident
	if height > 300*mib {
		t.Errorf("50 clients that do not read take %d MiB", height/mib)
	}
	t.Logf("50 clients that do not read take %d MiB", height/mib)
}

// Ensure that nothing behind QUIT is run, and that SHUTDOWN answers what has arrived.
func TestHostile_LastWords(t *testing.T) {
	v := startVictim(t)
	e := v.enemy()
	_ = e.say(strings.Repeat(proc.Command("INCR", "n"), 100), proc.Command("QUIT"), strings.Repeat(proc.Command("INCR", "n"), 100))
	if !e.cut() {
		t.Fatal("QUIT did not close the connection")
	}
	if got := v.Do("GET", "n"); got != "$3\r\n100\r\n" {
		t.Errorf("after QUIT behind 100 INCR, n = %q", got)
	}
	e = v.enemy()
	_ = e.say(strings.Repeat(proc.Command("INCR", "n"), 1000), proc.Command("SHUTDOWN"))
	for i := range 1000 {
		if got, want := e.hear(), fmt.Sprintf(":%d\r\n", 101+i); got != want {
			t.Fatalf("reply %d before SHUTDOWN = %q, want %q", i, got, want)
		}
	}
	v.WaitClean()
}

// ended reports whether the connection ended before its read deadline.
func ended(conn net.Conn) bool {
	b := make([]byte, 4096)
	for {
		if _, err := conn.Read(b); err != nil {
			return !os.IsTimeout(err)
		}
	}
}
