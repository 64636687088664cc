package server

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/ttl"
)

func hashOf(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// Ensure that every key of every command needs a permission that rules can give, so that a
// new row is not open by oversight.
func TestTable_KeyNeeds(t *testing.T) {
	t.Parallel()
	for _, cmd := range newTable().all {
		if (cmd.keys.first != 0) != (len(cmd.rights.Keys) > 0) {
			t.Errorf("%s: %d key needs", cmd.fullName(), len(cmd.rights.Keys))
		}
		for _, need := range cmd.rights.Keys {
			if cmd.is(readonly) && need.Need&acl.MayWrite != 0 {
				t.Errorf("%s reads and needs to write", cmd.fullName())
			}
			if cmd.is(write) && need.Need == 0 {
				t.Errorf("%s writes and needs no permission for its key", cmd.fullName())
			}
		}
	}
}

// Ensure that the rules of users know of each key of a row what the row says of it.
func TestTable_Rights(t *testing.T) {
	t.Parallel()
	const read, write, both = acl.MayRead, acl.MayWrite, acl.MayRead | acl.MayWrite
	tests := []struct {
		name       string
		noAuth     bool
		categories string
		keys       []acl.KeyNeed
	}{
		{"auth", true, "fast connection", nil},
		{"config|get", false, "admin slow dangerous", nil},
		{"copy", false, "keyspace write slow", []acl.KeyNeed{{First: 1, Last: 1, Step: 1, Need: read}, {First: 2, Last: 2, Step: 1, Need: write}}},
		{"del", false, "keyspace write slow", []acl.KeyNeed{{First: 1, Last: -1, Step: 1, Need: write}}},
		{"exists", false, "keyspace read fast", []acl.KeyNeed{{First: 1, Last: -1, Step: 1}}},
		{"get", false, "read string fast", []acl.KeyNeed{{First: 1, Last: 1, Step: 1, Need: read}}},
		{"keys", false, "keyspace read slow dangerous", nil},
		{"memory|usage", false, "read slow", []acl.KeyNeed{{First: 2, Last: 2, Step: 1}}},
		{"mget", false, "read string fast", []acl.KeyNeed{{First: 1, Last: -1, Step: 1, Need: read}}},
		{"mset", false, "write string slow", []acl.KeyNeed{{First: 1, Last: -1, Step: 2, Need: write}}},
		{"rename", false, "keyspace write slow", []acl.KeyNeed{{First: 1, Last: 1, Step: 1, Need: both}, {First: 2, Last: 2, Step: 1, Need: write}}},
		{"set", false, "write string slow", []acl.KeyNeed{{First: 1, Last: 1, Step: 1, Need: both, ReadIfGet: true}}},
	}
	table := newTable()
	for _, test := range tests {
		got := table.byName[test.name].rights
		if got.NoAuth != test.noAuth || strings.Join(got.Categories, " ") != test.categories || !slices.Equal(got.Keys, test.keys) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test)
		}
	}
}

// linesFile is an ACL file in memory.
type linesFile struct {
	mu    sync.Mutex
	lines []string
	err   error
}

func (f *linesFile) Name() string { return "users.acl" }

func (f *linesFile) Load() ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lines, f.err
}

func (f *linesFile) Save(lines []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.lines = lines
	}
	return f.err
}

// set changes the file behind the server's back.
func (f *linesFile) set(err error, lines ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines, f.err = lines, err
}

// askLine sends a command and returns the first line of the reply.
func askLine(t *testing.T, nc net.Conn, r *bufio.Reader, line string) string {
	t.Helper()
	if _, err := nc.Write([]byte(encode(strings.Fields(line)))); err != nil {
		t.Fatal(err)
	}
	reply, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(reply)
}

// Ensure that ACL SAVE and ACL LOAD go through the file, and that a load that fails
// changes nothing while one that succeeds closes the connections of named users.
func TestACLFile(t *testing.T) {
	t.Parallel()
	file := &linesFile{lines: []string{"user alice on >a ~* +@all"}}
	users, err := LoadUsers(file)
	if err != nil {
		t.Fatal(err)
	}
	_, addr := startServer(t, ttl.NewManual(0), Config{Users: users, ACLFile: file})
	admin, ar := dialServer(t, addr)
	alice, br := dialServer(t, addr)
	do := func(line, want string) {
		t.Helper()
		if got := askLine(t, admin, ar, line); got != want {
			t.Fatalf("%s = %q, want %q", line, got, want)
		}
	}
	if got := askLine(t, alice, br, "auth alice a"); got != "+OK" {
		t.Fatal(got)
	}
	do("acl setuser bob on nopass", "+OK")
	do("acl save", "+OK")
	want := "user alice on #" + hashOf("a") + " ~* resetchannels -@all +@all|user bob on nopass resetchannels -@all|user default on nopass ~* &* +@all"
	want = strings.Replace(want, "-@all +@all", "+@all", 1)
	if got := strings.Join(file.lines, "|"); got != want {
		t.Errorf("the file is %q, want %q", got, want)
	}
	file.set(nil, "user alice on", "oops")
	do("acl load", "-ERR users.acl:2 should start with user keyword followed by the username. "+
		"WARNING: ACL errors detected, no change to the previously active ACL rules was performed")
	file.set(errors.New("gone"))
	do("acl load", "-ERR Error loading ACLs, opening file 'users.acl': gone")
	do("acl save", "-ERR There was an error trying to save the ACLs. Please check the server logs for more information")
	if got := askLine(t, alice, br, "get k"); got != "$-1" {
		t.Errorf("GET after loads that failed = %q", got)
	}
	file.set(nil, "user alice on >a ~* +@all", "", "user default on nopass -@all +acl +auth")
	do("acl load", "+OK")
	if line, err := br.ReadString('\n'); err == nil {
		t.Errorf("a connection of a user that was replaced reads %q", line)
	}
	do("get k", "-NOPERM this user has no permissions to run the 'get' command")
	do("auth alice a", "+OK")
	do("acl setuser default +@all ~*", "+OK")
}

// Ensure that nobody opens a server that others can reach: neither rules nor a file may
// take the default user's password away.
func TestACL_Public(t *testing.T) {
	t.Parallel()
	const openDefault = "ERR The default user would need no password on a server that listens beyond loopback"
	file := &linesFile{lines: []string{"user alice on nopass"}}
	_, addr := startServer(t, ttl.NewManual(0), Config{
		ACLFile: file, Settings: Settings{Password: "p", Bind: []string{"0.0.0.0"}},
	})
	nc, r := dialServer(t, addr)
	for _, step := range []struct{ line, want string }{
		{"auth p", "+OK"},
		{"acl setuser default nopass", "-" + openDefault},
		{"acl load", "-" + openDefault},
		{"acl setuser default off nopass", "+OK"},
		{"acl setuser default on >q", "+OK"},
		{"acl setuser bob on nopass", "+OK"},
		{"config set requirepass q", "+OK"},
		{"acl load", "-" + openDefault},
	} {
		if got := askLine(t, nc, r, step.line); got != step.want {
			t.Errorf("%s = %q, want %q", step.line, got, step.want)
		}
	}
}

// Ensure that a login that fails waits longer and longer, up to a bound, and that an
// address is forgotten in time.
func TestFailedLogins(t *testing.T) {
	t.Parallel()
	last := time.Duration(0)
	for count := 1; count < 100; count++ {
		wait := penaltyFor(count)
		if wait < last || wait > maxPenalty || count <= freeLogins && wait != 0 || count == freeLogins+1 && wait != firstPenalty {
			t.Errorf("failure %d waits %v after %v", count, wait, last)
		}
		last = wait
	}
	if last != maxPenalty {
		t.Errorf("the longest wait is %v", last)
	}

	var f failedLogins
	addr := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
	}
	now := ttl.Instant(1_000_000)
	for want := 1; want <= 3; want++ {
		if got := f.count(addr(0), now); got != want {
			t.Errorf("count = %d, want %d", got, want)
		}
	}
	if got := f.count(addr(0), now.Add(penaltyMemory)); got != 1 {
		t.Errorf("count after %v = %d, want 1", penaltyMemory, got)
	}
	for i := range 2 * penalized {
		f.count(addr(i), now)
	}
	if len(f.byAddr) != penalized || f.order.Len() != penalized {
		t.Errorf("%d and %d addresses are remembered, want %d", len(f.byAddr), f.order.Len(), penalized)
	}
}

// Ensure that a host is counted as one address whatever it calls itself.
func TestNetworkOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ip   string
		want string
	}{
		{"10.1.2.3", "10.1.2.3/32"},
		{"::ffff:10.1.2.3", "10.1.2.3/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
	} {
		got, ok := networkOf(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(test.ip), 1)))
		if !ok || got.String() != test.want {
			t.Errorf("networkOf(%s) = %v, %v, want %s", test.ip, got, ok, test.want)
		}
	}
	if _, ok := networkOf(&net.UnixAddr{Name: "s", Net: "unix"}); ok {
		t.Error("a Unix socket has a network")
	}
}

// Ensure that a connection that waits for the answer to a wrong password neither holds up
// others, not even when it failed inside EXEC beside a write, nor the end of the server.
func TestFailedLogins_Waiting(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(0), Config{})
	for range 100 {
		srv.failedLogins.count(netip.MustParsePrefix("127.0.0.1/32"), 0)
	}
	guesser, _ := dialServer(t, addr)
	begin := time.Now()
	for _, line := range []string{"multi", "set k v", "auth nobody x", "exec"} {
		if _, err := guesser.Write([]byte(encode(strings.Fields(line)))); err != nil {
			t.Fatal(err)
		}
	}
	other, or := dialServer(t, addr)
	for askLine(t, other, or, "exists k") != ":1" {
		if time.Since(begin) > maxPenalty/2 {
			t.Fatal("the write of a transaction waits with the login that failed")
		}
	}
	if got := askLine(t, other, or, "set k w"); got != "+OK" || time.Since(begin) > maxPenalty*3/4 {
		t.Errorf("SET = %q after %v, while another connection waits", got, time.Since(begin))
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > maxPenalty*3/4 {
		t.Errorf("Close took %v, it waited for the connection", took)
	}
}

// Ensure that failed logins over a Unix socket, which has no addresses, are not delayed.
func TestFailedLogins_Unix(t *testing.T) {
	t.Parallel()
	srv, _ := startServer(t, ttl.NewManual(0), Config{})
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(ln) }() // it ends with the server
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := &conn{srv: srv, net: nc}
	for range 100 {
		if wait := srv.failedLogins.add(c, "x"); wait != 0 {
			t.Fatalf("a client of a Unix socket waits %v", wait)
		}
	}
}

// Ensure that users can be changed, deleted and listed while others are logged in as them:
// for the race detector, and because a deleted user must not answer.
func TestACL_Concurrent(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(0), Config{})
	table := srv.table
	var group sync.WaitGroup
	for i := range 4 {
		nc, r := dialServer(t, addr)
		group.Go(func() {
			for j := range 50 {
				name := fmt.Sprint("u", (i+j)%3)
				switch err := srv.acl.Set(name, []string{"on", "nopass", "+@all", "~*", "(+get)"}, false); {
				case err != nil:
					t.Error(err)
				case j%10 == 9:
					srv.acl.Remove([]string{name})
				default:
					srv.acl.Lines()
				}
				if u := srv.acl.Authenticate(name, nil); u != nil {
					u.Rules().Check(&table.byName["get"].rights, words("get k"))
				}
				if _, err := nc.Write([]byte(encode([]string{"auth", name, "x"}) + encode([]string{"ping"}))); err != nil {
					return
				}
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
		})
	}
	group.Wait()
}

// Ensure that a connection whose user was deleted behind its back, before it could be
// found and cut, can do nothing more.
func TestConn_DeletedUser(t *testing.T) {
	t.Parallel()
	srv, addr := startServer(t, ttl.NewManual(0), Config{})
	if err := srv.acl.Set("u", []string{"on", "nopass", "+@all", "~*"}, false); err != nil {
		t.Fatal(err)
	}
	nc, r := dialServer(t, addr)
	if got := askLine(t, nc, r, "auth u x"); got != "+OK" {
		t.Fatal(got)
	}
	srv.acl.Remove([]string{"u"})
	if got := askLine(t, nc, r, "set k v"); got != "-"+string(errNoAuth) {
		t.Errorf("SET by a user that was deleted = %q", got)
	}
	if line, err := r.ReadString('\n'); err == nil {
		t.Errorf("the connection goes on: %q", line)
	}
}
