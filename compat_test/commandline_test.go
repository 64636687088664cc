package compat_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

var listening = regexp.MustCompile(`listening on ([^\s;,]+)`)

// launch starts sessiond with these flags, waits for the line that says where it listens,
// and returns the address.
func launch(t *testing.T, p *proc.Process) (addr string) {
	t.Helper()
	p.Start()
	proc.Eventually(t, func() error {
		if m := listening.FindStringSubmatch(p.Stdout.String()); m != nil {
			addr = m[1]
			return nil
		}
		if p.Ended() {
			t.Fatalf("exit code %d before it listened:\n%s", p.ExitCode(), p.Log())
		}
		return fmt.Errorf("it does not say where it listens:\n%s", p.Log())
	})
	return addr
}

// once runs a command on a connection of its own.
func once(t *testing.T, addr string, args ...string) string {
	t.Helper()
	c := proc.Dial(t, "tcp", addr)
	defer c.Close()
	return c.Do(args...)
}

// newFolder returns the name of a data folder that is not there yet. One that is, such as
// t.TempDir, can be entered by others, and the server says so.
func newFolder(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "data")
}

// wantExit waits for a clean end.
func wantExit(t *testing.T, p *proc.Process, want int) {
	t.Helper()
	if got := p.ExitCode(); got != want {
		t.Errorf("exit code %d, want %d\n%s", got, want, p.Log())
	}
}

// wantRefusal runs a process that must not start, and checks that it says why in one line
// on stderr which matches, prints nothing on stdout and exits with an error.
func wantRefusal(t *testing.T, p *proc.Process, match string) {
	t.Helper()
	if code := p.Run(); code <= 0 {
		t.Errorf("exit code %d, want one above 0", code)
	}
	if p.Stdout.String() != "" || p.Stderr.Lines() != 1 || !regexp.MustCompile(match).MatchString(p.Stderr.String()) {
		t.Errorf("stdout %q, stderr %q, want one line on stderr that matches %q", p.Stdout, p.Stderr, match)
	}
}

// Ensure that without flags sessiond listens on loopback alone, keeps its data in the
// working folder and says both in one line. The port is taken from the environment
// because the default one may be in use.
func TestCommandLine_Defaults(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	p := proc.Sessiond(t)
	p.WorkDir = t.TempDir()
	p.Env = []string{"SESSIOND_PORT=" + proc.FreePort(t)}
	addr := launch(t, p)
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "127.0.0.1" {
		t.Errorf("listens on %s, want 127.0.0.1", addr)
	}
	if got := once(t, addr, "SET", "k", "v"); got != "+OK\r\n" {
		t.Errorf("SET = %q", got)
	}
	line := p.Stdout.String()
	want := fmt.Sprintf("listening on %s; ", addr)
	if ln, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = ln.Close() // it only tells whether this machine has the address
		want = fmt.Sprintf("listening on %s, [::1]:%s; ", addr, port)
		if got := once(t, "[::1]:"+port, "GET", "k"); got != proc.Bulk("v") { // where Node looks for localhost first
			t.Errorf("GET by IPv6 = %q", got)
		}
	}
	if !strings.Contains(line, want) {
		t.Errorf("stdout %q, want %q in it", line, want)
	}
	folder := regexp.MustCompile(`data in ([^;\n]+)`).FindStringSubmatch(line)
	if p.Stdout.Lines() != 1 || !strings.HasPrefix(line, "sessiond ") || !strings.Contains(line, "session") || folder == nil {
		t.Fatalf("stdout %q, want one line with version, address, folder and durability", line)
	}
	dir := strings.TrimSpace(folder[1])
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(p.WorkDir, dir)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
		t.Errorf("the data folder %s holds %d entries, %v", dir, len(entries), err)
	}
	p.Signal(syscall.SIGTERM)
	wantExit(t, p, 0)
}

// Ensure that an address with port 0 takes a free port and that the line on stdout tells which.
func TestCommandLine_FreePort(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	dir := t.TempDir()
	p := proc.Sessiond(t, "--bind", "127.0.0.1:0", "--dir", dir)
	addr := launch(t, p)
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "0" {
		t.Fatalf("listens on %q, want a port", addr)
	}
	if got := once(t, addr, "PING"); got != "+PONG\r\n" {
		t.Errorf("PING = %q", got)
	}
	if !strings.Contains(p.Stdout.String(), dir) {
		t.Errorf("stdout %q does not name the folder %s", p.Stdout, dir)
	}
}

// Ensure that --version and --help answer on stdout and end well, and that the help names
// every flag.
func TestCommandLine_VersionAndHelp(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	version := proc.Sessiond(t, "--version")
	if code := version.Run(); code != 0 || !regexp.MustCompile(`^sessiond \d+\.\d+\.\d+\S*( .*)?\n$`).MatchString(version.Stdout.String()) {
		t.Errorf("--version: exit code %d, stdout %q", code, version.Stdout)
	}
	help := proc.Sessiond(t, "--help")
	if code := help.Run(); code != 0 || help.Stderr.String() != "" {
		t.Errorf("--help: exit code %d, stderr %q", code, help.Stderr)
	}
	for _, flag := range []string{
		"--port", "--bind", "--unixsocket", "--unixsocketperm", "--dir", "--requirepass", "--databases", "--durability",
		"--appendfsync", "--maxclients", "--timeout", "--loglevel", "--version", "--help",
	} {
		if !regexp.MustCompile(flag + `\b[^a-z]`).MatchString(help.Stdout.String()) {
			t.Errorf("--help does not name %s:\n%s", flag, help.Stdout)
		}
	}
}

// Ensure that each flag can be given by the environment, and that the flag wins.
func TestCommandLine_Environment(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	dir, port := t.TempDir(), proc.FreePort(t)
	p := proc.Sessiond(t, "--port", port)
	p.Env = []string{
		"SESSIOND_PORT=1", "SESSIOND_DIR=" + dir, "SESSIOND_REQUIREPASS=from the environment",
		"SESSIOND_DATABASES=4", "SESSIOND_DURABILITY=strict", "SESSIOND_MAXCLIENTS=77",
	}
	addr := launch(t, p)
	if addr != "127.0.0.1:"+port {
		t.Errorf("listens on %s: the environment won over the flag", addr)
	}
	if got := once(t, addr, "PING"); got != "-NOAUTH Authentication required.\r\n" {
		t.Errorf("PING = %q, want NOAUTH", got)
	}
	c := proc.Dial(t, "tcp", addr)
	if got := c.Do("AUTH", "from the environment"); got != "+OK\r\n" {
		t.Errorf("AUTH = %q", got)
	}
	if got := c.Do("SELECT", "4"); got != "-ERR DB index is out of range\r\n" {
		t.Errorf("SELECT 4 = %q", got)
	}
	if got, want := c.Do("CONFIG", "GET", "maxclients"), "*2\r\n"+proc.Bulk("maxclients")+proc.Bulk("77"); got != want {
		t.Errorf("CONFIG GET maxclients = %q, want %q", got, want)
	}
	if !strings.Contains(p.Stdout.String(), "strict") || !strings.Contains(p.Stdout.String(), dir) {
		t.Errorf("stdout %q, want durability strict and the folder %s", p.Stdout, dir)
	}
	if strings.Contains(p.Log(), "from the environment") {
		t.Errorf("the password is in the output:\n%s", p.Log())
	}

	bad := proc.Sessiond(t, "--dir", t.TempDir())
	bad.Env = []string{"SESSIOND_PORT=http"}
	wantRefusal(t, bad, `(?i)port`)
}

// Ensure that the password never appears in the output, not even when a start fails, a
// login fails or the log is at its most talkative.
func TestCommandLine_PasswordStaysSecret(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	const secret = "correct-horse-battery"
	p := proc.Sessiond(t, "--bind", "127.0.0.1:0", "--dir", t.TempDir(), "--requirepass", secret, "--loglevel", "debug")
	addr := launch(t, p)
	once(t, addr, "AUTH", secret+"x")
	c := proc.Dial(t, "tcp", addr)
	if got := c.Do("AUTH", secret); got != "+OK\r\n" {
		t.Errorf("AUTH = %q", got)
	}
	c.Do("SET", "k", secret)
	c.Do("HELLO", "3", "AUTH", "default", secret)
	p.Signal(syscall.SIGTERM)
	wantExit(t, p, 0)
	failed := proc.Sessiond(t, "--port", "99999", "--dir", t.TempDir(), "--requirepass", secret)
	failed.Run()
	help := proc.Sessiond(t, "--help")
	help.Env = []string{"SESSIOND_REQUIREPASS=" + secret}
	help.Run()
	for _, output := range []string{p.Log(), failed.Log(), help.Log()} {
		if strings.Contains(output, secret) {
			t.Errorf("the password is in the output:\n%s", output)
		}
	}
}

// Ensure that an address beyond loopback needs a password, that the refusal says how to go
// on, and that a password suffices.
func TestCommandLine_BindNeedsPassword(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	for _, address := range []string{"0.0.0.0", "::"} {
		dir := filepath.Join(t.TempDir(), "data")
		wantRefusal(t, proc.Sessiond(t, "--bind", net.JoinHostPort(address, "0"), "--dir", dir), `requirepass`)
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("--bind %s without a password made the data folder", address)
		}
	}
	p := proc.Sessiond(t, "--bind", "0.0.0.0:0", "--dir", t.TempDir(), "--requirepass", "secret")
	addr := launch(t, p)
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	if got := once(t, "127.0.0.1:"+port, "AUTH", "secret"); got != "+OK\r\n" {
		t.Errorf("AUTH = %q", got)
	}
	for _, address := range []string{"127.0.0.1", "localhost"} {
		p := proc.Sessiond(t, "--bind", net.JoinHostPort(address, "0"), "--dir", t.TempDir())
		if got := once(t, launch(t, p), "PING"); got != "+PONG\r\n" {
			t.Errorf("--bind %s: PING = %q", address, got)
		}
	}
}

// Ensure that a start which cannot succeed says why in one line, exits with an error and
// leaves the data alone.
func TestCommandLine_Refusals(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	for _, tt := range []struct {
		name  string
		args  []string
		match string
	}{
		{"unknown flag", []string{"--nosuch"}, `nosuch`},
		{"stray argument", []string{"nosuch.conf"}, `nosuch\.conf`},
		{"port too high", []string{"--port", "99999"}, `(?i)port.*99999|99999.*port`},
		{"port below zero", []string{"--port", "-1"}, `(?i)port`},
		{"port that is no number", []string{"--port", "http"}, `(?i)port`},
		{"flag without its value", []string{"--port"}, `(?i)port`},
		{"unknown durability", []string{"--durability", "maybe"}, `session.*strict.*everysec`},
		{"unknown appendfsync", []string{"--appendfsync", "maybe"}, `always`},
		{"no databases", []string{"--databases", "0"}, `(?i)databases`},
		{"no clients", []string{"--maxclients", "0"}, `(?i)maxclients`},
		{"timeout below zero", []string{"--timeout", "-1"}, `(?i)timeout`},
		{"unknown log level", []string{"--loglevel", "loud"}, `(?i)loud`},
		{"permissions that are not octal", []string{"--unixsocketperm", "999"}, `(?i)unixsocketperm|999`},
		{"address that is none", []string{"--bind", "300.1.1.1", "--requirepass", "secret"}, `300\.1\.1\.1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			args := append([]string{"--dir", dir}, tt.args...)
			if !slices.Contains(args, "--bind") {
				args = append([]string{"--bind", "127.0.0.1:0"}, args...)
			}
			wantRefusal(t, proc.Sessiond(t, args...), tt.match)
			if entries, _ := os.ReadDir(dir); tt.name != "address that is none" && len(entries) != 0 {
				t.Errorf("the refused start left %d entries in the data folder", len(entries))
			}
		})
	}
}

// Ensure that a port in use is refused at start and that the process which has it goes on.
func TestCommandLine_BusyPort(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t)
	wantRefusal(t, proc.Sessiond(t, "--port", s.Port, "--dir", newFolder(t)), `:`+s.Port+`\b.*--port`)
	if got := s.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("PING on the first = %q", got)
	}
}

// Ensure that a second process on the same folder is refused, that it says which folder,
// and that the first one's data is untouched.
func TestCommandLine_LockedFolder(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t)
	s.Do("SET", "k", "v")
	wantRefusal(t, proc.Sessiond(t, "--bind", "127.0.0.1:0", "--dir", s.Dir), regexp.QuoteMeta(s.Dir))
	if got := s.Do("GET", "k"); got != proc.Bulk("v") {
		t.Errorf("GET = %q", got)
	}
	s.Kill()
	s.Restart() // kill -9 leaves no lock behind
	if got := s.Do("GET", "k"); got != proc.Bulk("v") {
		t.Errorf("GET after the restart = %q", got)
	}
}

// Ensure that a folder which cannot be made or written is refused with its name.
func TestCommandLine_UnusableFolder(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("not a folder"), 0o600))
	for _, dir := range []string{file, filepath.Join(file, "data")} {
		wantRefusal(t, proc.Sessiond(t, "--bind", "127.0.0.1:0", "--dir", dir), regexp.QuoteMeta(dir))
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "not a folder" {
		t.Errorf("the file in the way holds %q, %v", got, err)
	}
	if os.Getuid() == 0 {
		return // root writes everywhere
	}
	locked := t.TempDir()
	must(t, os.Chmod(locked, 0o500))
	wantRefusal(t, proc.Sessiond(t, "--bind", "127.0.0.1:0", "--dir", locked), regexp.QuoteMeta(locked))
}

// Ensure that a folder full of something else is refused, and left as it was.
func TestCommandLine_ForeignFolder(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "holiday.jpg"), []byte("picture"), 0o600))
	wantRefusal(t, proc.Sessiond(t, "--bind", "127.0.0.1:0", "--dir", dir), regexp.QuoteMeta(dir))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %d entries, %v, want the one that was there", len(entries), err)
	}
}

// Ensure that the Unix socket gets its permissions, takes the place of one that a killed
// process left, and goes away at a clean stop.
func TestCommandLine_UnixSocket(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	path := filepath.Join(socketDir(t), "s.sock")
	s := proc.Start(t, "--unixsocket", path, "--unixsocketperm", "700")
	pingSocket(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("permissions of the socket: %v, %v, want 700", info.Mode().Perm(), err)
	}
	s.Kill()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("kill -9 removed the socket: %v", err)
	}
	s.Restart()
	pingSocket(t, path)
	s.Stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket after a clean stop: %v, want it gone", err)
	}
}

// Ensure that a regular file in the place of the socket is not destroyed.
func TestCommandLine_UnixSocketSparesFiles(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	path := filepath.Join(socketDir(t), "s.sock")
	must(t, os.WriteFile(path, []byte("letter"), 0o600))
	wantRefusal(t, proc.Sessiond(t, "--bind", "127.0.0.1:0", "--dir", newFolder(t), "--unixsocket", path), regexp.QuoteMeta(path))
	if got, err := os.ReadFile(path); err != nil || string(got) != "letter" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

// Ensure that the live socket of one server is not taken away by another.
func TestCommandLine_UnixSocketInUse(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	path := filepath.Join(socketDir(t), "s.sock")
	proc.Start(t, "--unixsocket", path)
	pingSocket(t, path)
	wantRefusal(t, proc.Sessiond(t, "--bind", "127.0.0.1:0", "--dir", newFolder(t), "--unixsocket", path), regexp.QuoteMeta(path))
	pingSocket(t, path)
}

// pingSocket waits until a server answers on a Unix socket: it may open after the port.
func pingSocket(t *testing.T, path string) {
	t.Helper()
	proc.Eventually(t, func() error {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close() // only a probe
		}
		return err
	})
	c := proc.Dial(t, "unix", path)
	defer c.Close()
	if got := c.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("PING on the socket = %q", got)
	}
}

// Ensure that --databases bounds SELECT.
func TestCommandLine_Databases(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, "--databases", "4")
	c := s.Dial()
	if got := c.Do("SELECT", "3"); got != "+OK\r\n" {
		t.Errorf("SELECT 3 = %q", got)
	}
	if got := c.Do("SELECT", "4"); got != "-ERR DB index is out of range\r\n" {
		t.Errorf("SELECT 4 = %q", got)
	}
	if got, want := c.Do("CONFIG", "GET", "databases"), "*2\r\n"+proc.Bulk("databases")+proc.Bulk("4"); got != want {
		t.Errorf("CONFIG GET databases = %q, want %q", got, want)
	}
}

// Ensure that --timeout closes a connection that is idle, and none that is busy.
func TestCommandLine_Timeout(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, "--timeout", "1")
	idle, busy := s.Dial(), s.Dial()
	idle.Do("PING")
	start := time.Now()
	closed := make(chan struct{})
	go func() {
		idle.Rest()
		close(closed)
	}()
	tick := time.NewTicker(100 * time.Millisecond) // what makes the other one busy
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if got := busy.Do("PING"); got != "+PONG\r\n" {
				t.Fatalf("PING of the busy connection = %q", got)
			}
		case <-closed:
			if after := time.Since(start); after < 900*time.Millisecond {
				t.Errorf("the idle connection was closed after %v, want 1s", after)
			}
			return
		}
	}
}

// Ensure that --maxclients turns away who is too many with Redis' error, and lets in again
// when somebody left.
func TestCommandLine_MaxClients(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, "--maxclients", "2")
	enter := func() *proc.Conn {
		var c *proc.Conn
		proc.Eventually(t, func() error { // the one who left may not be forgotten yet
			c = s.Dial()
			if err := c.TrySend("PING\r\n"); err != nil {
				return err
			}
			if got, err := c.TryReply(); got != "+PONG\r\n" {
				c.Close()
				return fmt.Errorf("PING = %q, %v", got, err)
			}
			return nil
		})
		return c
	}
	enter()
	second := enter()
	third := s.Dial()
	if got, want := third.Rest(), "-ERR max number of clients reached\r\n"; got != want {
		t.Errorf("the third connection got %q, want %q", got, want)
	}
	second.Close()
	enter()
}

// Ensure that SHUTDOWN, SIGTERM and SIGINT each end with exit code 0 and keep the data.
func TestCommandLine_Stop(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	for name, stop := range map[string]func(s *proc.Server){
		"SHUTDOWN":        func(s *proc.Server) { shutdown(t, s, "SHUTDOWN") },
		"SHUTDOWN NOSAVE": func(s *proc.Server) { shutdown(t, s, "SHUTDOWN", "NOSAVE") },
		"SIGTERM":         func(s *proc.Server) { s.Signal(syscall.SIGTERM) },
		"SIGINT":          func(s *proc.Server) { s.Signal(syscall.SIGINT) },
	} {
		t.Run(name, func(t *testing.T) {
			s := proc.Start(t)
			idle := s.Dial()
			idle.Do("PING")
			s.Do("SET", "k", name, "EX", "1000")
			stop(s)
			s.WaitClean()
			if got := idle.Rest(); got != "" {
				t.Errorf("an idle connection got %q at the stop, want an end alone", got)
			}
			s.Restart()
			if got := s.Do("GET", "k"); got != proc.Bulk(name) {
				t.Errorf("GET after the restart = %q, want %q", got, proc.Bulk(name))
			}
		})
	}
}

// shutdown sends SHUTDOWN, which has no reply when it succeeds.
func shutdown(t *testing.T, s *proc.Server, args ...string) {
	t.Helper()
	c := s.Dial()
	c.Send(proc.Command(args...))
	if got := c.Rest(); got != "" {
		t.Errorf("%v answered %q, want no reply", args, got)
	}
}

// Ensure that fewer databases than hold data, or another durability, lose nothing: the
// data is there again with the old flags.
func TestCommandLine_FlagsChangeBetweenStarts(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	dir := t.TempDir()
	run := func(check func(c *proc.Conn), flags ...string) {
		t.Helper()
		p := proc.Sessiond(t, append([]string{"--bind", "127.0.0.1:0", "--dir", dir}, flags...)...)
		check(proc.Dial(t, "tcp", launch(t, p)))
		p.Signal(syscall.SIGTERM)
		wantExit(t, p, 0)
	}
	run(func(c *proc.Conn) {
		c.Do("SELECT", "9")
		c.Do("SET", "k", "nine")
	}, "--durability", "everysec")
	run(func(c *proc.Conn) {
		if got := c.Do("SELECT", "9"); got != "-ERR DB index is out of range\r\n" {
			t.Errorf("SELECT 9 of 2 = %q", got)
		}
		c.Do("SET", "k", "zero")
	}, "--databases", "2", "--durability", "strict")
	run(func(c *proc.Conn) {
		if got := c.Do("GET", "k"); got != proc.Bulk("zero") {
			t.Errorf("GET in database 0 = %q", got)
		}
		c.Do("SELECT", "9")
		if got := c.Do("GET", "k"); got != proc.Bulk("nine") {
			t.Errorf("GET in database 9 = %q", got)
		}
	}, "--appendfsync", "always")
}

// Ensure that the server goes on when nobody reads its log and its first line any more, as after
// "sessiond 2>&1 | head", and still ends cleanly.
func TestCommandLine_ClosedPipe(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	wantServingInto(t, closedPipe(t))
}

// Ensure that a log whose reader stands still holds up neither a command nor the end.
func TestCommandLine_FullPipe(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() }) // nobody reads before
	for err == nil {
		if err = writer.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err == nil {
			_, err = writer.Write(make([]byte, 1<<20))
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	wantServingInto(t, writer)
}

// closedPipe returns a pipe that nobody reads.
func closedPipe(t *testing.T) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	return writer
}

// wantServingInto starts a server with this standard output and error, closes our end of it, and
// checks that the server serves, what is logged included, and ends cleanly.
func wantServingInto(t *testing.T, output *os.File) {
	t.Helper()
	port := proc.FreePort(t)
	cmd := exec.Command(proc.Binary(t), "--port", port, "--dir", t.TempDir(), "--requirepass", "secret")
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, or the test has failed
	_ = output.Close()                           // the server has its own
	addr := "127.0.0.1:" + port
	proc.Eventually(t, func() error {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			_ = nc.Close() // it was only to see whether the port is open
		}
		return err
	})
	for range 3 { // each is a line of the log
		once(t, addr, "AUTH", "wrong")
	}
	c := proc.Dial(t, "tcp", addr)
	defer c.Close()
	for _, line := range [][]string{{"AUTH", "secret"}, {"SET", "k", "v"}} {
		if got := c.Do(line...); got != "+OK\r\n" {
			t.Errorf("%s = %q, want OK", line[0], got)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the server ended with %v, want exit code 0", err)
		}
	case <-time.After(proc.Patience):
		t.Errorf("the server does not end")
	}
}

// Ensure that a tool whose output nobody reads any more, as before "| head", does its work and
// exits with its verdict.
func TestCommandLine_ToolIntoClosedPipe(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	dir := t.TempDir()
	p := proc.Sessiond(t, "--port", proc.FreePort(t), "--dir", dir)
	launch(t, p)
	p.Signal(syscall.SIGTERM)
	wantExit(t, p, 0)
	backup := filepath.Join(t.TempDir(), "backup")
	for _, args := range [][]string{
		{"check", "--dir", dir},
		{"backup", "--dir", dir, "--to", backup},
		{"repair", "--dir", dir, "--to", filepath.Join(t.TempDir(), "repaired")},
		{"restore", "--from", backup, "--dir", filepath.Join(t.TempDir(), "restored")},
		{"--help"},
	} {
		output := closedPipe(t)
		cmd := exec.Command(proc.Binary(t), args...)
		cmd.Stdout, cmd.Stderr = output, output
		if err := cmd.Run(); err != nil {
			t.Errorf("sessiond %s: %v, want exit code 0", strings.Join(args, " "), err)
		}
		_ = output.Close() // nobody reads it
	}
}

// Ensure that sessiond knows each directive of Redis: one with the value that it has in Redis or
// here anyway is accepted, and no line of the log warns of what sessiond itself tells.
func TestCommandLine_EveryDirective(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	redis := proc.StartRedis(t)
	own := []string{ // these have values of their own, or sessiond's bounds
		"bind", "dir", "port", "unixsocket", "unixsocketperm",
		"tls-port", "tls-auth-clients", "durability",
	}
	start := func(parameters map[string]string) (addr string, p *proc.Process) {
		args := []string{"--port", proc.FreePort(t), "--dir", t.TempDir()}
		for name, value := range parameters {
			if !slices.Contains(own, name) {
				args = append(args, "--"+name, value)
			}
		}
		p = proc.Sessiond(t, args...)
		return launch(t, p), p
	}
	addr, _ := start(everyParameter(t, redis.Dial()))
	_, p := start(everyParameter(t, proc.Dial(t, "tcp", addr)))
	if strings.Contains(p.Stderr.String(), "not followed") {
		t.Errorf("CONFIG GET tells what the command line warns of:\n%s", p.Stderr)
	}
}

// everyParameter returns what CONFIG GET tells, by name.
func everyParameter(t *testing.T, c *proc.Conn) map[string]string {
	t.Helper()
	lines := strings.Split(c.Do("CONFIG", "GET", "*"), "\r\n") // a header, then each string after its length
	parameters := map[string]string{}
	for i := 2; i+2 < len(lines); i += 4 {
		parameters[lines[i]] = lines[i+2]
	}
	if parameters["databases"] != "16" {
		t.Fatalf("CONFIG GET * was not understood: %q", lines)
	}
	return parameters
}
