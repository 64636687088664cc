package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

func TestParseShutdown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line  string
		abort bool
		err   error
	}{
		{"", false, nil},
		{"nosave NOW Force", false, nil},
		{"save save", false, nil},
		{"abort", true, nil},
		{"save nosave", false, errSyntax},
		{"abort now", false, errSyntax},
		{"force abort", false, errSyntax},
		{"soon", false, errSyntax},
	}
	for _, test := range tests {
		abort, err := parseShutdown(words(test.line))
		if abort != test.abort || !errors.Is(err, test.err) {
			t.Errorf("parseShutdown(%q) = %v, %v, want %v, %v", test.line, abort, err, test.abort, test.err)
		}
	}
}

// Ensure that SHUTDOWN calls Stop once, sends the replies to earlier commands of the pipeline, and
// closes without a reply of its own.
func TestShutdown_Command(t *testing.T) {
	t.Parallel()
	var stops atomic.Int64
	_, addr := startServer(t, ttl.NewManual(1), Config{Stop: func() { stops.Add(1) }})
	for range 2 {
		nc, r := dialServer(t, addr)
		if _, err := io.WriteString(nc, "SET k v\r\nSHUTDOWN NOSAVE\r\nPING\r\n"); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r)
		if isTimeout(err) || string(rest) != "+OK\r\n" {
			t.Errorf("SET, SHUTDOWN and PING answer %q, %v, want only the OK of SET", rest, err)
		}
	}
	if n := stops.Load(); n != 1 {
		t.Errorf("Stop was called %d times, want 1", n)
	}
}

// Ensure that BGSAVE comes to an end and moves LASTSAVE.
func TestBGSave_MovesLastSave(t *testing.T) {
	t.Parallel()
	clock := ttl.NewManual(1_000_000)
	srv, addr := startServer(t, clock, Config{})
	nc, r := dialServer(t, addr)
	clock.Set(5_000_000)
	if got := ask(t, nc, r, "bgsave schedule").text; got != "Background saving started" {
		t.Fatalf("BGSAVE = %q", got)
	}
	if err := srv.Shutdown(context.Background()); err != nil { // it waits for the save
		t.Fatal(err)
	}
	if got := srv.lastSave.Load(); got != 5000 {
		t.Errorf("LASTSAVE = %d, want 5000", got)
	}
}

// Ensure that a save does not begin beside another.
func TestSave_OneAtATime(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(1), Config{})
	nc, r := dialServer(t, addr)
	srv.stats.saving.Store(true)
	for _, line := range []string{"save", "bgsave"} {
		if got := ask(t, nc, r, line).text; got != string(errSaving) {
			t.Errorf("%s = %q, want %q", line, got, errSaving)
		}
	}
	if got := ask(t, nc, r, "info persistence").text; !strings.Contains(got, "rdb_bgsave_in_progress:1\r\n") {
		t.Errorf("INFO persistence = %q", got)
	}
}

// infoFields returns the fields of a reply to INFO, and checks its form.
func infoFields(t *testing.T, text string) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if _, twice := fields[name]; !ok || twice || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line of INFO: %q", line)
		}
		fields[name] = value
	}
	return fields
}

// Ensure that INFO holds what clients parse, in the form they parse it.
func TestInfo_Fields(t *testing.T) {
	t.Parallel()
	clock := ttl.NewManual(1_000_000)
	srv, addr := startServer(t, clock, Config{
		Version:  "1.2.3",
		Settings: Settings{Port: 6379, Durability: "strict", ConfigFile: "sessiond.conf"},
	})
	nc, r := dialServer(t, addr)
	clock.Advance(25 * time.Hour)
	ask(t, nc, r, "set k v ex 100")
	fields := infoFields(t, ask(t, nc, r, "info").text)
	want := map[string]string{
		"redis_version": redisVersion, "sessiond_version": "1.2.3", "redis_mode": "standalone",
		"tcp_port": "6379", "uptime_in_seconds": "90000", "uptime_in_days": "1",
		"run_id": srv.runID, "config_file": "sessiond.conf", "loading": "0",
		"sessiond_durability": "strict", "role": "master", "connected_slaves": "0",
		"connected_clients": "1", "total_connections_received": "1", "cluster_enabled": "0",
		"maxmemory_policy": "noeviction", "db0": "keys=1,expires=1,avg_ttl=100000",
	}
	for name, value := range want {
		if fields[name] != value {
			t.Errorf("INFO %s = %q, want %q", name, fields[name], value)
		}
	}
	for _, name := range []string{"os", "process_id", "used_memory", "used_memory_human", "used_memory_peak_human", "used_cpu_user"} {
		if fields[name] == "" {
			t.Errorf("INFO has no %s", name)
		}
	}
	if got := fields["cmdstat_set"]; got != "" {
		t.Errorf("INFO without arguments has commandstats: %q", got)
	}
	for _, line := range []string{"info all", "info everything", "info default commandstats"} {
		if got := infoFields(t, ask(t, nc, r, line).text); got["cmdstat_set"] == "" || got["run_id"] == "" {
			t.Errorf("%s = %v", line, got)
		}
	}
}

func TestHumanBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1.00K", 1175552: "1.12M", 1 << 31: "2.00G", 3 << 40: "3.00T",
		1 << 63: "9223372036854775808B",
	} {
		if got := humanBytes(n); got != want {
			t.Errorf("humanBytes(%d) = %q, want %q", n, got, want)
		}
	}
}

// Ensure that a public server cannot lose its password while it runs.
func TestConfigSet_PublicNeedsPassword(t *testing.T) {
	t.Parallel()
	tests := []struct {
		bind   []string
		public bool
	}{
		{nil, false},
		{[]string{"127.0.0.1", "::1", "-::1", "localhost"}, false},
		{[]string{"127.0.0.1", "192.168.1.1"}, true},
		{[]string{"0.0.0.0"}, true},
		{[]string{"*"}, true},
		{[]string{""}, true},
		{[]string{"example.org"}, true},
	}
	for _, test := range tests {
		s := Settings{Bind: test.bind, Password: "secret"}
		err := setPassword(&s, nil)
		if (err != nil) != test.public || (s.Password != "") != test.public {
			t.Errorf("bound to %q, the password can be taken away: %v", test.bind, err)
		}
	}
}

// Ensure that a reply cannot be made arbitrarily long by repeating a name.
func TestCommand_BoundsNames(t *testing.T) {
	t.Parallel()
	_, addr := startServer(t, ttl.NewManual(1), Config{})
	nc, r := dialServer(t, addr)
	for _, sub := range []string{"info", "docs"} {
		got := ask(t, nc, r, "command "+sub+strings.Repeat(" get", maxCommandNames+1))
		if got.text != string(errCommandNames) {
			t.Errorf("COMMAND %s with too many names = %q", sub, got.text)
		}
	}
}

// Ensure that avg_ttl is the mean of what has a deadline, of few keys exactly and of many by a
// sample.
func TestInfo_AverageTTL(t *testing.T) {
	t.Parallel()
	clock := ttl.NewManual(1_000_000)
	_, addr := startServer(t, clock, Config{})
	nc, r := dialServer(t, addr)
	ask(t, nc, r, "set a v px 1000")
	ask(t, nc, r, "set b v px 4000")
	ask(t, nc, r, "set c v")
	expect := func(want string) {
		t.Helper()
		if got := infoFields(t, ask(t, nc, r, "info keyspace").text)["db0"]; got != want {
			t.Errorf("INFO keyspace: db0:%s, want %s", got, want)
		}
	}
	expect("keys=3,expires=2,avg_ttl=2500")
	clock.Advance(500 * time.Millisecond)
	expect("keys=3,expires=2,avg_ttl=2000")
	clock.Advance(500 * time.Millisecond) // a is over and not swept
	expect("keys=3,expires=2,avg_ttl=3000")
	ask(t, nc, r, "flushall")
	for i := range 10 * lifeSample {
		ask(t, nc, r, fmt.Sprintf("set %d v px 7000", i))
	}
	expect(fmt.Sprintf("keys=%d,expires=%d,avg_ttl=7000", 10*lifeSample, 10*lifeSample))
}
