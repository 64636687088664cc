package compat_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sessiond/sessiond/compat_test/diff"
	"github.com/sessiond/sessiond/compat_test/proc"
)

// userArgs are the flags that give a server these users: redis-server wants the words of a
// user apart, sessiond in one.
func userArgs(isRedis bool, users ...string) (args []string) {
	for _, user := range users {
		args = append(args, "--user")
		if isRedis {
			args = append(args, strings.Fields(user)...)
		} else {
			args = append(args, user)
		}
	}
	return args
}

// startBoth runs the oracle and the server under test with the same users.
func startBoth(t *testing.T, users ...string) (oracle, subject *proc.Server) {
	t.Helper()
	return proc.StartRedis(t, userArgs(true, users...)...), proc.Start(t, userArgs(proc.IsRedis(), users...)...)
}

// Ensure that stories about users get the same bytes from sessiond and from Redis.
func TestACL_Stories(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/acl/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, path := range paths {
		for _, protocol := range []int{2, 3} {
			name := fmt.Sprintf("%s RESP%d", strings.TrimSuffix(filepath.Base(path), ".txt"), protocol)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				story, err := diff.ReadStory(path)
				if err != nil {
					t.Fatal(err)
				}
				oracle, subject := startBoth(t)
				tell(t, &diff.Pair{Oracle: oracle.Addr, Subject: subject.Addr}, story, protocol)
			})
		}
	}
}

// Ensure that users given at the start are the same users as Redis makes of them.
func TestACL_Users(t *testing.T) {
	t.Parallel()
	oracle, subject := startBoth(t,
		"default on >root ~* &* +@all",
		"alice on >secret ~sess:* +@read +set",
		"bob on nopass %R~r:* (+get ~x) +@all -@admin",
		"carol off")
	for _, line := range []string{
		"PING", "AUTH root", "ACL LIST", "ACL GETUSER default", "ACL GETUSER alice", "ACL GETUSER bob",
		"AUTH alice secret", "SET sess:1 v", "GET other", "ACL LIST", "AUTH bob x", "GET r:1", "GET x", "AUTH carol x",
	} {
		words := strings.Fields(line)
		want, got := oracle.Dial(), subject.Dial()
		if line != "PING" {
			want.Do("AUTH", "root")
			got.Do("AUTH", "root")
		}
		if w, g := want.Do(words...), got.Do(words...); w != g {
			t.Errorf("%s = %q, want %q", line, g, w)
		}
	}
}

// volatile are the values in ACL LOG that differ from server to server: the age, in
// seconds, and the client.
var volatile = regexp.MustCompile(`(?s)(age-seconds\r\n)(?:\$\d+\r\n|,)[^\r]*(\r\n\$11\r\nclient-info\r\n)\$\d+\r\n[^\r]*`)

// Ensure that ACL LOG tells of the same refusals as Redis, in the same shape, and that a
// client is described in Redis' words.
func TestACL_Log(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"2", "3"} {
		oracle, subject := startBoth(t, "alice on >a ~k +@all -del")
		var replies [2]string
		for i, s := range []*proc.Server{oracle, subject} {
			c := s.Dial()
			for _, line := range []string{
				"HELLO " + protocol, "AUTH alice wrong", "AUTH nobody a", "HELLO 2 AUTH alice b", "HELLO " + protocol,
				"AUTH alice a", "GET k", "GET other", "GET other", "SET another v", "MGET k other", "del k",
				"MULTI", "GET other", "DEL k", "CONFIG GET x", "EXEC", "DISCARD",
			} {
				c.Do(strings.Fields(line)...)
			}
			replies[i] = c.Do("ACL", "LOG", "100")
			if n := len(volatile.FindAllString(replies[i], -1)); n == 0 || !strings.Contains(replies[i], " user=") {
				t.Errorf("%d entries with a client in %q", n, replies[i])
			}
			replies[i] = volatile.ReplaceAllString(replies[i], "$1$2")
		}
		if replies[0] != replies[1] {
			t.Errorf("RESP%s: ACL LOG =\n%q, want\n%q", protocol, replies[1], replies[0])
		}
	}
}

// Ensure that an ACL file is read, written and read again by both servers, each taking the
// file of the other, and that mistakes in it are told in the same words.
func TestACL_File(t *testing.T) {
	t.Parallel()
	lines := "user alice on >a ~a:* +@read\n\nuser default on nopass ~* &* +@all\n"
	type side struct {
		*proc.Server
		path string
	}
	begin := func(start func(testing.TB, ...string) *proc.Server, text string) side {
		path := filepath.Join(t.TempDir(), "users.acl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return side{start(t, "--aclfile", path), path}
	}
	oracle, subject := begin(proc.StartRedis, lines), begin(proc.Start, lines)
	both := func(args ...string) {
		t.Helper()
		want := strings.ReplaceAll(oracle.Do(args...), oracle.path, "PATH")
		got := strings.ReplaceAll(subject.Do(args...), subject.path, "PATH")
		if got != want {
			t.Errorf("%q = %q, want %q", args, got, want)
		}
	}
	write := func(text string) {
		for _, s := range []side{oracle, subject} {
			if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	both("ACL", "LIST")
	both("ACL", "SETUSER", "bob", "on", ">p", "+get", "(+set ~x)")
	both("ACL", "SAVE")
	want, err := os.ReadFile(oracle.path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(subject.path)
	if err != nil || string(got) != string(want) {
		t.Errorf("the saved file is\n%s%v, want\n%s", got, err, want)
	}
	both("ACL", "LOAD")
	both("ACL", "LIST")
	for _, text := range []string{
		"user alice on\n", "  user alice on   ~x  \r\n\n", "# c\n", "USER alice on\n", "user alice ~a\tb\n",
		"user al\tice on\n", "user x on\nuser x on\n", "user a +nope\nfoo\nuser\nuser b on off what ~* ~x +foo|bar\n",
		"user a +get (+set %R~x) off\n", "user a (+set ~x +nope)\n", "user a >\"a b\"\n", " user  y on\n",
	} {
		write(text)
		both("ACL", "LOAD")
		both("ACL", "LIST")
	}
	write("user alice on >a ~* +@all\n")
	both("ACL", "LOAD")
	a, b := oracle.Dial(), subject.Dial()
	a.Do("AUTH", "alice", "a")
	b.Do("AUTH", "alice", "a")
	both("ACL", "LOAD")
	if a, b := a.Rest(), b.Rest(); a != b {
		t.Errorf("a connection of a user that was loaded again hears %q, want %q", b, a)
	}

	begin(proc.Start, string(want))
	begin(proc.StartRedis, string(got))
}

// Ensure that the file ACL SAVE writes is whole, ours alone, and survives kill -9, and that
// nothing else is left beside it.
func TestACL_SaveIsAtomic(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "users.acl")
	if err := os.WriteFile(path, []byte("user old on\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := proc.Start(t, "--aclfile", path)
	if got := s.Do("ACL", "SETUSER", "alice", "on", ">secret", "+get", "~k"); got != "+OK\r\n" {
		t.Fatal(got)
	}
	if got := s.Do("ACL", "SAVE"); got != "+OK\r\n" {
		t.Fatalf("ACL SAVE = %q\n%s", got, s.Log())
	}
	s.Kill()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the saved file is %v, %v, want mode 0600", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("beside the file: %v, %v", entries, err)
	}
	s.Restart()
	if got := s.Do("AUTH", "alice", "secret"); got != "+OK\r\n" {
		t.Errorf("AUTH after a restart = %q", got)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) // so that it can be removed
	if os.Geteuid() == 0 {
		return // root may write anywhere
	}
	if got := s.Do("ACL", "SAVE"); !strings.HasPrefix(got, "-ERR There was an error trying to save the ACLs.") {
		t.Errorf("ACL SAVE into a folder that cannot be written = %q", got)
	}
}

// Ensure that sessiond does not start with users that are wrong or doubtful, that it says
// where the mistake is, and that it never prints what may be a password.
func TestACL_RefusedAtStart(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	broken := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(broken, []byte("user a on\nuser b +nope >hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--aclfile", broken}, regexp.QuoteMeta(broken) + `:2: Error in applying operation '\+nope'`},
		{[]string{"--aclfile", broken + ".absent"}, `users\.acl\.absent': no such file`},
		{[]string{"--aclfile", broken, "--user", "a on"}, "in an ACL file and beside it"},
		{[]string{"--aclfile", broken, "--requirepass", "hunter2"}, "a password and an ACL file"},
		{[]string{"--user", "default on >hunter2", "--requirepass", "hunter2"}, "user default: its password"},
		{[]string{"--user", "a +nope"}, `user a: \+nope: Unknown command`},
		{[]string{"--user", "a on hunter2"}, "user a: rule 2: Syntax error"},
		{[]string{"--user", "a on", "--user", "a off"}, "user a: Duplicate user"},
		{[]string{"--user", "a on nopass", "--bind", "0.0.0.0"}, "no password is set"},
	} {
		p := proc.Sessiond(t, append([]string{"--dir", t.TempDir(), "--bind", "127.0.0.1:0"}, tt.args...)...)
		wantRefusal(t, p, tt.want)
		if strings.Contains(p.Log(), "hunter2") {
			t.Errorf("%q: the password is printed: %s", tt.args, p.Log())
		}
	}
	p := proc.Sessiond(t, "--dir", t.TempDir(), "--bind", "0.0.0.0:0")
	p.Env = []string{"SESSIOND_USER=default off\nalice on >secret +@all ~*"}
	port := regexp.MustCompile(`:(\d+)$`).FindStringSubmatch(launch(t, p))
	if got := once(t, "127.0.0.1:"+port[1], "AUTH", "alice", "secret"); got != "+OK\r\n" {
		t.Errorf("AUTH = %q", got)
	}
}

// Ensure that passwords, right and wrong, show up in no log and no reply.
func TestACL_NoPasswordIsTold(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t, "--user", "alice on >alicepass", "--requirepass", "rootpass", "--loglevel", "debug")
	c := s.Dial()
	told := ""
	for _, line := range []string{
		"AUTH wrongpass", "AUTH alice wrongpass", "AUTH nobody wrongpass", "HELLO 3 AUTH alice wrongpass",
		"AUTH rootpass", "CONFIG GET *", "ACL LOG", "ACL LIST", "CLIENT LIST", "INFO everything", "CONFIG SET requirepass newpass",
		"CONFIG GET requirepass", "ACL SETUSER bob >bobpass", "ACL GETUSER bob",
	} {
		told += c.Do(strings.Fields(line)...)
	}
	if !strings.Contains(told, "requirepass\r\n$8\r\n(hidden)") {
		t.Errorf("CONFIG GET requirepass does not say that there is one")
	}
	s.Stop()
	for _, password := range []string{"wrongpass", "alicepass", "rootpass", "newpass", "bobpass"} {
		if strings.Contains(told, password) || strings.Contains(s.Log(), password) {
			t.Errorf("%s is told:\n%s\n%s", password, told, s.Log())
		}
	}
	if !strings.Contains(s.Log(), "login refused") {
		t.Errorf("the refused login is not in the log:\n%s", s.Log())
	}
}

// Ensure that go-redis logs in as a user, that its pool survives being refused, and that
// the user's rights are what it hears of.
func TestACL_GoRedis(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, userArgs(proc.IsRedis(), "alice on >secret ~sess:* +@read +@write -@dangerous +@connection +@transaction")...)
	ctx := context.Background()
	for _, protocol := range []int{2, 3} {
		c := redis.NewClient(&redis.Options{
			Addr: s.Addr, Username: "alice", Password: "secret", Protocol: protocol, ClientName: "web", DB: 1,
		})
		t.Cleanup(func() { _ = c.Close() }) // the test is over
		if err := c.Set(ctx, "sess:1", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if v, err := c.Get(ctx, "sess:1").Result(); err != nil || v != "v" {
			t.Errorf("GET = %q, %v", v, err)
		}
		for what, err := range map[string]error{
			"access one of the keys": c.Get(ctx, "other").Err(),
			"run the 'keys' command": c.Keys(ctx, "*").Err(),
			"'config|get' command":   c.ConfigGet(ctx, "*").Err(),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), "NOPERM ") || !strings.Contains(err.Error(), what) {
				t.Errorf("error %v, want NOPERM about %s", err, what)
			}
		}
		_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, "sess:n")
			p.Incr(ctx, "other")
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "EXECABORT") {
			t.Errorf("a transaction with a key that is not permitted: %v", err)
		}
		if n, err := c.Exists(ctx, "sess:n").Result(); err != nil || n != 0 {
			t.Errorf("a refused transaction left something: %d, %v", n, err)
		}
	}
}

// Ensure that redis-cli logs in as a user from its flags and its URL.
func TestACL_RedisCLI(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, userArgs(proc.IsRedis(), "alice on >secret ~sess:* +@read +set +acl|whoami +hello +command")...)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--user", "alice", "--pass", "secret", "--no-auth-warning", "ACL", "WHOAMI"}, "alice\n"},
		{[]string{"--user", "alice", "--pass", "secret", "--no-auth-warning", "-3", "SET", "sess:1", "v"}, "OK\n"},
		{[]string{"--no-auth-warning", "-u", "redis://alice:secret@127.0.0.1:" + s.Port, "GET", "sess:1"}, "v\n"},
		{[]string{"--user", "alice", "--pass", "secret", "--no-auth-warning", "GET", "k"},
			"NOPERM this user has no permissions to access one of the keys used as arguments\n\n"},
		{[]string{"--user", "alice", "--pass", "wrong", "--no-auth-warning", "ACL", "WHOAMI"},
			"AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\ndefault\n"},
	} {
		if got, _ := cli(t, s, "", tt.args...); got != tt.want {
			t.Errorf("redis-cli %q printed %q, want %q", tt.args, got, tt.want)
		}
	}
}
