package compat_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// cli runs redis-cli to its end and returns what it printed on both outputs, and whether
// its exit code was 0.
func cli(t *testing.T, s *proc.Server, stdin string, args ...string) (output string, ok bool) {
	t.Helper()
	return tool(t, "redis-cli", stdin, append([]string{"-h", "127.0.0.1", "-p", s.Port}, args...)...)
}

// tool runs a program to its end, or until Patience is over.
func tool(t *testing.T, program, stdin string, args ...string) (output string, ok bool) {
	t.Helper()
	ctx, cancel := patient()
	defer cancel()
	cmd := exec.CommandContext(ctx, proc.Require(t, program), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s %q did not end; it printed:\n%s", program, args, out)
	}
	return string(out), err == nil
}

// Ensure that redis-cli's one-shot mode prints what it prints with Redis.
func TestRedisCLI_OneShot(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"PING"}, "PONG\n"},
		{[]string{"SET", "k", "v w", "EX", "100"}, "OK\n"},
		{[]string{"GET", "k"}, "v w\n"},
		{[]string{"GET", "absent"}, "\n"},
		{[]string{"--no-raw", "GET", "absent"}, "(nil)\n"},
		{[]string{"--no-raw", "SET", "e", ""}, "OK\n"},
		{[]string{"--no-raw", "GET", "e"}, "\"\"\n"},
		{[]string{"--no-raw", "EXISTS", "k", "e", "absent"}, "(integer) 2\n"},
		{[]string{"--no-raw", "MGET", "k", "absent", "e"}, "1) \"v w\"\n2) (nil)\n3) \"\"\n"},
		{[]string{"--json", "MGET", "k", "absent"}, "[\"v w\",null]\n"},
		{[]string{"-n", "3", "EXISTS", "k"}, "0\n"},
		{[]string{"-n", "3", "SET", "k", "three"}, "OK\n"},
		{[]string{"-n", "3", "GET", "k"}, "three\n"},
		{[]string{"GET", "k"}, "v w\n"},
		{[]string{"-3", "--no-raw", "GET", "absent"}, "(nil)\n"},
		{[]string{"-3", "-n", "3", "GET", "k"}, "three\n"},
		{[]string{"GET"}, "ERR wrong number of arguments for 'get' command\n\n"},
		{[]string{"NOSUCH", "a"}, "ERR unknown command 'NOSUCH', with args beginning with: 'a' \n\n"},
		{[]string{"-x", "SET", "k"}, "OK\n"}, // the value comes from standard input
		{[]string{"GET", "k"}, "piped\x00value\n"},
		{[]string{"-r", "3", "-i", "0.01", "INCR", "n"}, "1\n2\n3\n"},
	} {
		if got, _ := cli(t, s, "piped\x00value", tt.args...); got != tt.want {
			t.Errorf("redis-cli %q printed %q, want %q", tt.args, got, tt.want)
		}
	}
}

// Ensure that commands from standard input work, for which redis-cli asks COMMAND DOCS
// first, and that SELECT and MULTI carry over from line to line.
func TestRedisCLI_Stdin(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	script := "set k 'a b'\nget k\n\nselect 3\nget k\nmulti\nset k x\nincr n\nexec\nexpire k 100\nttl k\ndel k n\nquit\nget never-run\n"
	want := "OK\na b\nOK\n\nOK\nQUEUED\nQUEUED\nOK\n1\n1\n100\n2\n"
	for _, args := range [][]string{nil, {"-3"}} {
		got, ok := cli(t, s, script, args...)
		if !ok || strings.TrimPrefix(got, "OK\n") != strings.TrimPrefix(want, "OK\n") {
			t.Errorf("redis-cli %q printed %q, want %q", args, got, want)
		}
	}
}

// Ensure that the four ways redis-cli logs in work, and that a bad login is told apart.
func TestRedisCLI_Login(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, "--requirepass", "secret")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-a", "secret", "PING"}, "PONG\n"},
		{[]string{"--pass", "secret", "PING"}, "PONG\n"},
		{[]string{"--user", "default", "--pass", "secret", "PING"}, "PONG\n"},
		{[]string{"-3", "-n", "2", "--user", "default", "--pass", "secret", "PING"}, "PONG\n"},
		{[]string{"-u", "redis://default:secret@127.0.0.1:" + s.Port + "/2", "PING"}, "PONG\n"},
		{[]string{"PING"}, "NOAUTH Authentication required.\n\n"},
		{[]string{"--user", "bob", "--pass", "secret", "PING"}, "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\nNOAUTH Authentication required.\n\n"},
		{[]string{"-a", "wrong", "PING"}, "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\nNOAUTH Authentication required.\n\n"},
	} {
		if got, _ := cli(t, s, "", append([]string{"--no-auth-warning"}, tt.args...)...); got != tt.want {
			t.Errorf("redis-cli %q printed %q, want %q", tt.args, got, tt.want)
		}
	}
	if got, ok := cli(t, s, "auth secret\nset k v\n"); !ok || got != "OK\nOK\n" {
		t.Errorf("AUTH from standard input printed %q, want OK OK", got)
	}
}

// fill stores n sessions with keys of one prefix through redis-cli --pipe.
func fill(t *testing.T, s *proc.Server, prefix string, n int) {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		b.WriteString(proc.Command("SET", fmt.Sprintf("%s:%04d", prefix, i), strings.Repeat("x", i%100), "EX", "1000"))
	}
	out, ok := cli(t, s, b.String(), "--pipe")
	if want := fmt.Sprintf("errors: 0, replies: %d", n); !ok || !strings.Contains(out, want) {
		t.Fatalf("redis-cli --pipe printed %q, want %q", out, want)
	}
}

// Ensure that --scan lists exactly the live keys of a pattern.
func TestRedisCLI_Scan(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	fill(t, s, "sess", 500)
	fill(t, s, "other", 3)
	if reply := s.Do("SET", "sess:dead", "v", "PX", "1"); reply != "+OK\r\n" {
		t.Fatalf("SET PX 1 = %q", reply)
	}
	proc.Eventually(t, func() error {
		if reply := s.Do("EXISTS", "sess:dead"); reply != ":0\r\n" {
			return fmt.Errorf("EXISTS of a dead key = %q", reply)
		}
		return nil
	})
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"--pattern", "sess:*"}, 500},
		{[]string{"--pattern", "sess:01??"}, 100},
		{[]string{"--pattern", "[so]*:000[12]"}, 4},
		{[]string{"--pattern", "absent*"}, 0},
		{nil, 503},
	} {
		out, ok := cli(t, s, "", append([]string{"--scan"}, tt.args...)...)
		unique := map[string]bool{}
		for _, k := range strings.Fields(out) {
			unique[k] = true
		}
		if !ok || len(unique) != tt.want {
			t.Errorf("redis-cli --scan %q listed %d keys, want %d", tt.args, len(unique), tt.want)
		}
	}
}

// Ensure that the key samplers run to their end and find the biggest key.
func TestRedisCLI_Samplers(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	fill(t, s, "sess", 200)
	if reply := s.Do("SET", "the-big-one", strings.Repeat("x", 100_000)); reply != "+OK\r\n" {
		t.Fatalf("SET = %q", reply)
	}
	for _, tt := range []struct {
		flag string
		want string
	}{
		{"--bigkeys", `(?s)Sampled 201 keys.*Biggest string found '"the-big-one"' has 100000 bytes.*201 strings with`},
		{"--memkeys", `(?s)Sampled 201 keys.*Biggest string found '"the-big-one"' has 1\d{5} bytes`},
	} {
		out, ok := cli(t, s, "", tt.flag)
		if !ok || !regexp.MustCompile(tt.want).MatchString(out) {
			t.Errorf("redis-cli %s printed:\n%s\nwant a match of %s", tt.flag, out, tt.want)
		}
	}
}

// Ensure that --pipe carries inline commands, quotes and empty lines beside RESP, and that
// its closing ECHO of random bytes comes back.
func TestRedisCLI_Pipe(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	input := "SET a 1\r\n\r\nSET b \"two words\\r\\n\\x00\"\r\nset c 'single'\r\n\r\n" +
		proc.Command("SET", "d", "line\r\nend") + "INCR n\nINCR n\n\nNOSUCH\r\n"
	out, _ := cli(t, s, input, "--pipe")
	if !strings.Contains(out, "errors: 1, replies: 7") {
		t.Errorf("redis-cli --pipe printed %q, want errors: 1, replies: 7", out)
	}
	for key, want := range map[string]string{"a": "1", "b": "two words\r\n\x00", "c": "single", "d": "line\r\nend", "n": "2"} {
		if got := s.Do("GET", key); got != proc.Bulk(want) {
			t.Errorf("GET %s = %q, want %q", key, got, proc.Bulk(want))
		}
	}
}

// Ensure that --stat reads what it needs from INFO.
func TestRedisCLI_Stat(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	fill(t, s, "sess", 42)
	out := watch(t, s, regexp.MustCompile(`(?m)^42 +\d[\d.]*[BKMG] +\d+ +\d+ +\d+ \(\+\d+\) +\d+`), "--stat", "-i", "0.05")
	if !strings.Contains(out, "------- data ------") {
		t.Errorf("redis-cli --stat printed:\n%s", out)
	}
}

// watch runs redis-cli until its output matches, and ends it. It is for the modes that
// never end by themselves.
func watch(t *testing.T, s *proc.Server, want *regexp.Regexp, args ...string) string {
	t.Helper()
	p := proc.Program(t, proc.Require(t, "redis-cli"), append([]string{"-p", s.Port}, args...)...)
	p.Start()
	defer p.Kill()
	proc.Eventually(t, func() error {
		if !want.MatchString(p.Log()) {
			return fmt.Errorf("redis-cli %q printed:\n%s\nwant a match of %s", args, p.Log(), want)
		}
		return nil
	})
	return p.Log()
}

// Ensure that the latency modes measure, on a server with a password, too.
func TestRedisCLI_Latency(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, "--requirepass", "secret")
	// Without a terminal, --latency measures for -i seconds and prints one line.
	out, ok := cli(t, s, "", "--no-auth-warning", "-a", "secret", "-i", "0.1", "--raw", "--latency")
	if !ok || !regexp.MustCompile(`^\d+ \d+ \d+\.\d+ \d+\n$`).MatchString(out) {
		t.Errorf("redis-cli --latency printed %q, want min max avg count", out)
	}
}

// Ensure that --rdb, which wants to be a replica, ends with an error and leaves the server
// in service. redis-server itself sends its data here.
func TestRedisCLI_RDBRefused(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t)
	fill(t, s, "sess", 10)
	out, ok := cli(t, s, "", "--rdb", filepath.Join(t.TempDir(), "dump.rdb"))
	if ok || out == "" {
		t.Errorf("redis-cli --rdb ended well and printed %q, want an error", out)
	}
	if reply := s.Do("DBSIZE"); reply != ":10\r\n" {
		t.Errorf("DBSIZE = %q, want 10", reply)
	}
}

// Ensure that a Unix socket serves beside the port.
func TestRedisCLI_UnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(socketDir(t), "s.sock")
	s := proc.Start(t, "--unixsocket", path)
	if reply := s.Do("SET", "k", "v"); reply != "+OK\r\n" {
		t.Fatalf("SET = %q", reply)
	}
	pingSocket(t, path)
	if got, ok := tool(t, "redis-cli", "", "-s", path, "GET", "k"); !ok || got != "v\n" {
		t.Errorf("redis-cli -s printed %q, want v", got)
	}
}

// socketDir returns a folder with a path short enough for a Unix socket (108 bytes).
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a temporary folder
	return dir
}

// Ensure that redis-benchmark runs through, with and without pipelining and password.
func TestRedisBenchmark(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, "--requirepass", "secret")
	for _, args := range [][]string{
		{"-n", "2000", "-c", "10"},
		{"-n", "2000", "-c", "10", "-P", "16"},
		{"-n", "2000", "-c", "10", "-P", "16", "-r", "100", "-d", "500", "--dbnum", "2", "-3"},
	} {
		args = append([]string{"-h", "127.0.0.1", "-p", s.Port, "-a", "secret", "-t", "ping,set,get,incr,mset", "--csv"}, args...)
		out, ok := tool(t, "redis-benchmark", "", args...)
		for _, name := range []string{"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"} {
			if !ok || !regexp.MustCompile(`(?m)^"`+regexp.QuoteMeta(name)+`","\d+\.\d+"`).MatchString(out) {
				t.Errorf("redis-benchmark %q printed no figure for %s:\n%s", args, name, out)
			}
		}
	}
}

// Ensure that somebody who asks to be a replica gets an error instead of waiting forever.
func TestRedisCLI_ReplicationRefused(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t)
	for _, line := range []string{"SYNC\r\n", "PSYNC ? -1\r\n", "REPLCONF listening-port 1\r\n"} {
		c := s.Dial()
		c.Send(line)
		if reply, err := c.TryReply(); err != nil || !strings.HasPrefix(reply, "-ERR ") {
			t.Errorf("%q answered %q, %v, want an error reply", line, reply, err)
		}
	}
	if reply := s.Do("PING"); reply != "+PONG\r\n" {
		t.Errorf("PING = %q", reply)
	}
}
