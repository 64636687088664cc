package compat_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// many returns a command with n arguments behind the given ones.
func many(n int, arg func(i int) string, args ...string) string {
	for i := range n {
		args = append(args, arg(i))
	}
	return proc.Command(args...)
}

func numbered(i int) string { return fmt.Sprint(hostileSecret, i) }

const million = 1_000_000

// commandAttacks are valid commands that ask for more work or memory than they look like.
var commandAttacks = []struct {
	name string
	args []string
	peak int64 // bytes it may take; zero means 100 MiB
	slow time.Duration
	run  func(*testing.T, *victim, *enemy)
}{
	{name: "DEL of a million keys", peak: 600 * mib, run: func(t *testing.T, _ *victim, e *enemy) {
		_ = e.say(many(million, numbered, "DEL"))
		expect(t, e, ":0\r\n")
	}},
	{name: "MSET of half a million keys", peak: 900 * mib, run: func(t *testing.T, _ *victim, e *enemy) {
		_ = e.say(many(million, numbered, "MSET"))
		expect(t, e, "+OK\r\n")
	}},
	{name: "MULTI with a million commands", peak: 900 * mib, run: func(t *testing.T, _ *victim, e *enemy) {
		go func() {
			_ = e.say(proc.Command("MULTI"))
			for range million / 1000 {
				_ = e.say(strings.Repeat(proc.Command("INCR", "n"), 1000))
			}
			_ = e.say(proc.Command("EXEC"))
		}()
		expect(t, e, "+OK\r\n")
		for range million {
			expect(t, e, "+QUEUED\r\n")
		}
		if got := e.hear(); !strings.HasSuffix(got, fmt.Sprintf("\r\n:%d\r\n", million)) {
			t.Errorf("EXEC of a million INCR ends with %q", got[max(0, len(got)-40):])
		}
	}},
	{name: "MULTI without end", args: []string{"client-query-buffer-limit", "16mb"}, run: func(t *testing.T, _ *victim, e *enemy) {
		go func() {
			_ = e.say(proc.Command("MULTI"))
			for e.say(strings.Repeat(proc.Command("INCR", "n"), 1000)) == nil {
			}
		}()
		if !e.cut() {
			t.Error("a transaction without end was not cut")
		}
	}},
	{name: "WATCH of 300000 keys", peak: 300 * mib, run: func(t *testing.T, _ *victim, e *enemy) {
		for range 2 {
			_ = e.say(many(300_000, numbered, "WATCH"))
			expect(t, e, "+OK\r\n")
		}
		_ = e.say(proc.Command("MULTI"), proc.Command("PING"), proc.Command("EXEC"))
		expect(t, e, "+OK\r\n")
		expect(t, e, "+QUEUED\r\n")
		expect(t, e, "*1\r\n+PONG\r\n")
	}},
	{name: "WATCH without end", args: []string{"client-query-buffer-limit", "16mb"}, run: func(t *testing.T, _ *victim, e *enemy) {
		go func() {
			for i := 0; ; i++ {
				name := func(j int) string { return numbered(1000*i + j) }
				if e.say(many(1000, name, "WATCH")) != nil {
					return
				}
			}
		}()
		if !e.cut() {
			t.Error("WATCH without end was not cut")
		}
	}},
	{name: "stars", peak: 100 * mib, run: func(t *testing.T, _ *victim, e *enemy) {
		for i := range 100 {
			if got := e.ask("SET", strings.Repeat("a", 60_000)+numbered(i), "v"); got != "+OK\r\n" {
				t.Fatalf("SET = %q", got)
			}
		}
		if got := e.ask("KEYS", strings.Repeat("a*", 100)+"b"); got != "*0\r\n" {
			t.Errorf("KEYS = %.80q", got)
		}
		if got := e.ask("KEYS", strings.Repeat("*a", 30_000)+"b"); got != "*0\r\n" {
			t.Errorf("KEYS = %.80q", got)
		}
	}},
	{name: "walks", peak: 200 * mib, slow: 20 * time.Second, run: func(t *testing.T, _ *victim, e *enemy) {
		_ = e.say(many(200_000, numbered, "MSET"))
		expect(t, e, "+OK\r\n")
		for range 3 {
			if got := e.ask("KEYS", "*"); !strings.HasPrefix(got, "*100000\r\n") {
				t.Errorf("KEYS = %.20q", got)
			}
		}
		if got := e.ask("SCAN", "0", "COUNT", "9223372036854775807"); !strings.HasPrefix(got, "*2\r\n") {
			t.Errorf("SCAN = %.80q", got)
		}
	}},
	{name: "names", peak: 200 * mib, run: func(t *testing.T, _ *victim, e *enemy) {
		long := strings.Repeat(hostileSecret, million)
		for _, args := range [][]string{
			{"CLIENT", "SETNAME", long}, {"HELLO", "3", "SETNAME", long}, {"CLIENT", "SETINFO", "LIB-NAME", long}, {long},
			{"COMMAND", "INFO", long}, {"CONFIG", "GET", long}, {"CONFIG", "SET", "dir", long}, {"CLIENT", "KILL", "ADDR", long},
		} {
			if e.ask(args...) == "" {
				t.Errorf("%s with a name of 9 MB: the connection was closed", args[0])
			}
		}
	}},
	{name: "a packet of 100000 commands", run: func(t *testing.T, _ *victim, e *enemy) {
		for range 5 {
			go func() { _ = e.say(strings.Repeat("PING\r\n", 100_000)) }()
			for range 100_000 {
				expect(t, e, "+PONG\r\n")
			}
		}
	}},
	{name: "ranges", peak: 1200 * mib, slow: 30 * time.Second, run: func(t *testing.T, _ *victim, e *enemy) {
		for range 10 * hostileScale(t) {
			if got := e.ask("SETRANGE", "k", "67108863", "x"); got != ":67108864\r\n" {
				t.Fatalf("SETRANGE = %q", got)
			}
		}
		for _, args := range [][]string{
			{"SETRANGE", "k", "67108864", "x"}, {"SETRANGE", "k", "9223372036854775807", "x"}, {"SETRANGE", "k", "-1", "x"}, {"APPEND", "k", "x"},
		} {
			if got := e.ask(args...); !strings.HasPrefix(got, "-ERR ") {
				t.Errorf("%q = %.80q, want an error", args, got)
			}
		}
		for _, bounds := range [][2]string{
			{"67108864", "9223372036854775807"}, {"-9223372036854775808", "-9223372036854775808"}, {"9223372036854775807", "-9223372036854775808"},
		} {
			if got := e.ask("GETRANGE", "k", bounds[0], bounds[1]); len(got) > 20 {
				t.Errorf("GETRANGE %q = %.80q", bounds, got)
			}
		}
	}},
	{name: "MGET of one large value", peak: 1000 * mib, run: func(t *testing.T, _ *victim, e *enemy) {
		enlarge(t, e, "big", 10*mib)
		_ = e.say(many(1000, func(int) string { return "big" }, "MGET"))
		if !e.cut() {
			t.Error("a reply of 10 GB was not refused")
		}
	}},
	{name: "a million GET in EXEC", peak: 1000 * mib, run: func(t *testing.T, _ *victim, e *enemy) {
		enlarge(t, e, "big", 10*mib)
		_ = e.say(proc.Command("MULTI"), strings.Repeat(proc.Command("GET", "big"), 1000), proc.Command("EXEC"))
		if !e.cut() {
			t.Error("a reply of 10 GB was not refused")
		}
	}},
	{name: "COMMAND and INFO in EXEC", peak: 900 * mib, slow: 20 * time.Second, run: func(t *testing.T, _ *victim, e *enemy) {
		_ = e.say(proc.Command("HELLO", "3"), proc.Command("MULTI"))
		_ = e.say(strings.Repeat(proc.Command("COMMAND")+proc.Command("INFO")+proc.Command("COMMAND", "DOCS"), 20_000), proc.Command("EXEC"))
		if !e.cut() {
			t.Error("a reply without bound was not refused")
		}
	}},
	{name: "large values in EXEC", peak: 600 * mib, run: func(t *testing.T, _ *victim, e *enemy) {
		_ = e.say(proc.Command("MULTI"))
		for i := range 1000 {
			_ = e.say(proc.Command("SETRANGE", numbered(i), "60000000", "x"))
		}
		expect(t, e, "+OK\r\n")
		for range 1000 {
			expect(t, e, "+QUEUED\r\n")
		}
		got := e.ask("EXEC")
		if want := "-ERR transaction discarded: it writes more than four times proto-max-bulk-len\r\n"; got != want {
			t.Errorf("EXEC that writes 60 GB = %.80q, want %q", got, want)
		}
		if got := e.ask("DBSIZE"); got != ":0\r\n" {
			t.Errorf("after it DBSIZE = %q", got)
		}
	}},
}

func expect(t *testing.T, e *enemy, want string) {
	t.Helper()
	if got := e.hear(); got != want {
		t.Fatalf("reply = %.80q, want %q", got, want)
	}
}

// enlarge makes a value of that size without sending it.
func enlarge(t *testing.T, e *enemy, key string, size int) {
	t.Helper()
	if got, want := e.ask("SETRANGE", key, fmt.Sprint(size-1), "x"), fmt.Sprintf(":%d\r\n", size); got != want {
		t.Fatalf("SETRANGE = %q, want %q", got, want)
	}
}

// Ensure that no command, however it is put, takes more than its limits allow, and that
// the server is as before when it is over.
func TestHostile_Command(t *testing.T) {
	for _, tt := range commandAttacks {
		t.Run(tt.name, func(t *testing.T) {
			v := startVictim(t, "--durability", "everysec")
			if tt.args != nil {
				if got := v.Do(append([]string{"CONFIG", "SET"}, tt.args...)...); got != "+OK\r\n" {
					t.Fatal(got)
				}
			}
			e := v.enemy()
			tt.run(t, v, e)
			_ = e.Close()
			v.greetSoon()
			if used, most := v.usage().cpu-v.rest.cpu, max(tt.slow, 10*time.Second)+memoryCost(); used > most {
				t.Errorf("it cost %v of processor time, want at most %v", used, most)
			}
			v.aftermath(max(tt.peak, 100*mib))
		})
	}
}
