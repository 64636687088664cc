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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessiond/sessiond/server/glob"
	"github.com/sessiond/sessiond/ttl"
)

// parseRules applies the words of a line to the rules of a new user.
func parseRules(t *table, line string) (*userRules, error) {
	rules := newRules()
	words, ok := joinSelectors(strings.Fields(line))
	if !ok {
		return nil, errSelector(words[0])
	}
	for _, word := range words {
		if err := rules.apply(t, word); err != nil {
			return nil, err
		}
	}
	return rules.sealed(), nil
}

func hashOf(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// Ensure that each rule means what ACL LIST says of it.
func TestUserRules_Apply(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rules string
		want  string // "user u off" stands before it
		err   error
	}{
		{"", " resetchannels -@all", nil},
		{"+get -get", " resetchannels -@all -get", nil},
		{"+get +@read +get", " resetchannels -@all +@read +get", nil},
		{"-config|set +config", " resetchannels -@all +config", nil},
		{"+config -config|set", " resetchannels -@all +config -config|set", nil},
		{"+select|0 +select|1 -select", " resetchannels -@all -select", nil},
		{"+select +select|0", " resetchannels -@all +select", nil},
		{"+@all -@admin +@all", " resetchannels +@all", nil},
		{"+@all -@admin nocommands", " resetchannels -@all", nil},
		{"+CLIENT|List +@READ", " resetchannels -@all +client|list +@read", nil},
		{"~a %R~b %W~c %RW~d %WR~e", " ~a %R~b %W~c ~d ~e resetchannels -@all", nil},
		{"%R~a %W~a", " ~a resetchannels -@all", nil},
		{"%R~* %W~*", " ~* resetchannels -@all", nil},
		{"~a ~*", " ~* resetchannels -@all", nil},
		{"~a resetkeys ~b", " ~b resetchannels -@all", nil},
		{"&a &b &a", " resetchannels &a &b -@all", nil},
		{"&a allchannels", " &* -@all", nil},
		{">p >q <p", " #" + hashOf("q") + " resetchannels -@all", nil},
		{"#" + hashOf("p"), " #" + hashOf("p") + " resetchannels -@all", nil},
		{">p nopass", " nopass resetchannels -@all", nil},
		{"nopass >p", " #" + hashOf("p") + " resetchannels -@all", nil},
		{">", " #" + hashOf("") + " resetchannels -@all", nil},
		{">p resetpass", " resetchannels -@all", nil},
		{"(+get ~a) (%R~b)", " resetchannels -@all (~a resetchannels -@all +get) (%R~b resetchannels -@all)", nil},
		{"(+get) clearselectors", " resetchannels -@all", nil},
		{"~a +get >p (+set) reset", " sanitize-payload resetchannels -@all", nil},

		{"get", "", errRuleSyntax},
		{"+nosuch", "", errRuleUnknown},
		{"-nosuch", "", errRuleUnknown},
		{"+", "", errRuleUnknown},
		{"+nosuch|x", "", errRuleUnknown},
		{"+config|nosuch", "", errRuleUnknown},
		{"-select|0", "", errRuleUnknown},
		{"+@", "", errRuleUnknown},
		{"+client|id|x", "", errRuleSubFirst},
		{"+select|", "", errRuleSyntax},
		{"~* ~a", "", errRuleAllKeys},
		{"allchannels &a", "", errRuleAllChans},
		{"<p", "", errRuleNoPass},
		{"#00", "", errRuleHash},
		{"!" + hashOf("p"), "", errRuleNoPass},
		{"#" + strings.ToUpper(hashOf("p")), "", errRuleHash},
		{"#" + strings.Repeat("x", 64), "", errRuleHash},
		{"%~a", "", errRuleSyntax},
		{"%RR~a", "", errRuleSyntax},
		{"~" + strings.Repeat("x", glob.MaxPattern+1), "", errRulePattern},
		{"(+get", "", errSelector("(+get")},
		{"(on)", "", errRuleSyntax},
		{"((+get))", " resetchannels -@all (resetchannels -@all +get)", nil},
	}
	table := newTable()
	for _, test := range tests {
		rules, err := parseRules(table, test.rules)
		if !errors.Is(err, test.err) {
			t.Errorf("%q: %v, want %v", test.rules, err, test.err)
			continue
		}
		if err == nil {
			got := strings.TrimPrefix(rules.describe("u"), "user u off")
			if got != test.want {
				t.Errorf("%q = %q, want %q", test.rules, got, test.want)
			}
		}
	}
}

// Ensure that a user has no more rules than can be looked through in a moment, and that one which
// is there may be given again.
func TestUserRules_Many(t *testing.T) {
	t.Parallel()
	table := newTable()
	for kind, rule := range map[string]string{
		"passwords": ">p%d", "hashes": "#%064x", "keys": "~k%d", "channels": "&c%d", "first arguments": "+select|a%d",
		"selectors": "(~k%d)",
	} {
		r := newRules()
		for i := range maxRules {
			if err := r.apply(table, fmt.Sprintf(rule, i)); err != nil {
				t.Fatalf("%s: rule %d: %v", kind, i, err)
			}
		}
		if err := r.apply(table, fmt.Sprintf(rule, maxRules)); err != errRuleMany {
			t.Errorf("%s: rule %d: %v, want %v", kind, maxRules, err, errRuleMany)
		}
		if err := r.apply(table, fmt.Sprintf(rule, 7)); err != nil && kind != "selectors" {
			t.Errorf("%s: a rule that is there: %v", kind, err)
		}
	}
}

// Ensure that a change of cloned rules leaves the original alone.
func TestUserRules_Clone(t *testing.T) {
	t.Parallel()
	table := newTable()
	rules, err := parseRules(table, ">p ~a %R~r &c +get +select|0 (+set ~s)")
	if err != nil {
		t.Fatal(err)
	}
	before := rules.describe("u")
	changed := rules.clone()
	for _, word := range []string{">q", "<p", "%W~r", "~z", "&d", "-get", "+select|1", "+@all", "(+del)"} {
		if err := changed.apply(table, word); err != nil {
			t.Fatal(err)
		}
	}
	if err := changed.selectors[1].apply(table, "-set"); err != nil {
		t.Fatal(err)
	}
	if after := rules.describe("u"); after != before {
		t.Errorf("the original became %q, was %q", after, before)
	}
	if d, _ := rules.check(table.byName["set"], words("set s 1")); d != allowed {
		t.Errorf("the original's selector denies: %d", d)
	}
}

// Ensure that rules permit and deny what they say, and name the right key.
func TestUserRules_Check(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rules, line string
		want        denial
		at          int
	}{
		{"+@all ~*", "flushall", allowed, 0},
		{"", "get k", deniedCommand, 0},
		{"", "auth p", allowed, 0},
		{"+get", "get k", deniedKey, 1},
		{"+get ~k", "GET k", allowed, 0},
		{"+get ~k", "get kk", deniedKey, 1},
		{"+get ~k*", "get kk", allowed, 0},
		{"+get %W~k", "get k", deniedKey, 1},
		{"+get %R~k", "get k", allowed, 0},
		{"+@all %R~r %W~w", "set w v", allowed, 0},
		{"+@all %R~r %W~w", "set w v get", deniedKey, 1},
		{"+@all %R~r %W~w", "set w get", allowed, 0},
		{"+@all %R~r %W~w", "rename w w", deniedKey, 1},
		{"+@all %R~r %W~w", "copy r w", allowed, 0},
		{"+@all %R~r %W~w", "copy r r", deniedKey, 2},
		{"+@all %R~r %W~w", "exists r w", allowed, 0},
		{"+@all %R~r %W~w", "exists r w x", deniedKey, 3},
		{"+@all ~a ~b", "mset a 1 b 2", allowed, 0},
		{"+@all ~a ~b", "mset a 1 c 2", deniedKey, 3},
		{"+@all ~a", "memory usage b", deniedKey, 2},
		{"+@all ~a", "keys *", allowed, 0},
		{"+config", "config get x", allowed, 0},
		{"+config|get", "config get x", allowed, 0},
		{"+config|get", "config set x y", deniedCommand, 0},
		{"+@all ~* -config", "config get x", deniedCommand, 0},
		{"+@all ~* -@dangerous", "keys *", deniedCommand, 0},
		{"+@all ~* -@dangerous", "get k", allowed, 0},
		{"+select|0", "select 0", allowed, 0},
		{"+select|0", "select 1", deniedCommand, 0},
		{"+select|0 -select", "select 0", deniedCommand, 0},
		{"+select|0 -@all", "select 0", deniedCommand, 0},
		{"+select|0 -@connection", "select 0", deniedCommand, 0},
		{"+client|id -client", "client id", deniedCommand, 0},
		{"+echo|Yes", "echo yES", allowed, 0},
		{"+@string ~*", "get k", allowed, 0},
		{"+@string ~*", "del k", deniedCommand, 0},
		{"(+get ~a) (+set ~b)", "set b 1", allowed, 0},
		{"(+get ~a) (+set ~b)", "set a 1", deniedKey, 1},
		{"(+get ~a) (+set ~b)", "del a", deniedCommand, 0},
		{"+mget ~a (+mget ~a ~b)", "mget a b c", deniedKey, 3},
	}
	table := newTable()
	for _, test := range tests {
		rules, err := parseRules(table, test.rules)
		if err != nil {
			t.Fatalf("%q: %v", test.rules, err)
		}
		line := words(test.line)
		cmd, err := table.find(line)
		if err != nil {
			t.Fatalf("%q: %v", test.line, err)
		}
		if got, at := rules.check(cmd, line); got != test.want || at != test.at {
			t.Errorf("%q, %q: %d at %d, want %d at %d", test.rules, test.line, got, at, test.want, test.at)
		}
	}
}

// Ensure that every key of every command needs a permission that rules can give, so that a
// new row is not open by oversight.
func TestTable_KeyNeeds(t *testing.T) {
	t.Parallel()
	for _, cmd := range newTable().all {
		if (cmd.keys.first != 0) != (len(cmd.needs) > 0) {
			t.Errorf("%s: %d key needs", cmd.fullName(), len(cmd.needs))
		}
		for _, need := range cmd.needs {
			if cmd.is(readonly) && need.need&mayWrite != 0 {
				t.Errorf("%s reads and needs to write", cmd.fullName())
			}
			if cmd.is(write) && need.need == 0 {
				t.Errorf("%s writes and needs no permission for its key", cmd.fullName())
			}
		}
	}
}

// Ensure that no input makes the parser panic and that a description makes the same user,
// which is described in the same way: ACL SAVE must be read back.
func FuzzACLRules(f *testing.F) {
	for _, seed := range []string{
		"on >secret ~sess:* +@read +set", "+@all -@dangerous +keys", "+select|0 -select|", "(+get ~x) (",
		"%R~a %RW~b %W", "&a allchannels", "#00 !00 <x", "reset nopass clearselectors", "(~a) +get)", "~* %W~*",
		"+config -config|set +get|x) (+get|y))", "((", "()", "(allkeys)", "+@all|x",
	} {
		f.Add(seed)
	}
	table := newTable()
	f.Fuzz(func(t *testing.T, line string) {
		rules, err := parseRules(table, line)
		if err != nil {
			return
		}
		first := rules.describe("u")
		users := &Users{map[string]*userRules{}}
		if wrong := users.addLine(table, "f:1", 1, first); wrong != "" {
			t.Fatalf("%q is described as %q, which is wrong: %s", line, first, wrong)
		}
		again := users.rules["u"]
		if second := again.describe("u"); second != first {
			t.Fatalf("%q is described as %q and then as %q", line, first, second)
		}
		for _, cmd := range table.all {
			a, _ := rules.check(cmd, [][]byte{[]byte(cmd.name), []byte("k"), []byte("k")})
			b, _ := again.check(cmd, [][]byte{[]byte(cmd.name), []byte("k"), []byte("k")})
			if a != b {
				t.Fatalf("%q: %s is %d, and %d when it was read back", line, cmd.fullName(), a, b)
			}
		}
	})
}

// Ensure that mistakes at the start are named without what may be a password.
func TestParseUsers_Wrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lines []string
		want  string
	}{
		{[]string{"alice +nosuch"}, "user alice: +nosuch: Unknown command or category name in ACL"},
		{[]string{"alice on secret"}, "user alice: rule 2: Syntax error"},
		{[]string{"alice #secret"}, "user alice: rule 1: " + errRuleHash.Error()},
		{[]string{"alice (+get"}, "user alice: Unmatched parenthesis in acl selector starting at '(+get'."},
		{[]string{"alice on", "alice off"}, "user alice: " + errRuleDuplicate.Error()},
		{[]string{" "}, "a user needs a name"},
	} {
		if _, err := ParseUsers(test.lines); err == nil || err.Error() != test.want {
			t.Errorf("%q: %v, want %s", test.lines, err, test.want)
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

// Ensure that every wrong line of a file is named, as Redis names it.
func TestLoadUsers_Wrong(t *testing.T) {
	t.Parallel()
	file := &linesFile{lines: strings.Split("foo bar\nuser\nuser a b c\nuser x on\nuser x on\n\n   \n# comment\n"+
		" user  y   on \nuser z +nope\nuser z4 +foo|bar >x\nuser al\tice on\nuser p (+get\nuser q  on\r", "\n")}
	want := "users.acl:1 should start with user keyword followed by the username. " +
		"users.acl:2 should start with user keyword followed by the username. " +
		"users.acl:3: Syntax error. " +
		"WARNING: Duplicate user 'x' found on line 5. " +
		"users.acl:8 should start with user keyword followed by the username. " +
		"users.acl:9: Syntax error. " +
		"users.acl:10: Error in applying operation '+nope': Unknown command or category name in ACL. " +
		"users.acl:11: Error in applying operation '+foo|bar': Unknown command or category name in ACL. " +
		"'users.acl:12: username 'al\tice' contains invalid characters. " +
		"users.acl:13: Unmatched parenthesis in selector definition."
	if _, err := LoadUsers(file); err == nil || err.Error() != want {
		t.Errorf("LoadUsers:\n%v\nwant\n%s", err, want)
	}
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
	file := &linesFile{lines: []string{"user alice on nopass"}}
	_, addr := startServer(t, ttl.NewManual(0), Config{
		ACLFile: file, Settings: Settings{Password: "p", Bind: []string{"0.0.0.0"}},
	})
	nc, r := dialServer(t, addr)
	for _, step := range []struct{ line, want string }{
		{"auth p", "+OK"},
		{"acl setuser default nopass", "-" + string(errOpenDefault)},
		{"acl load", "-" + string(errOpenDefault)},
		{"acl setuser default off nopass", "+OK"},
		{"acl setuser default on >q", "+OK"},
		{"acl setuser bob on nopass", "+OK"},
		{"config set requirepass q", "+OK"},
		{"acl load", "-" + string(errOpenDefault)},
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

// Ensure that the clients of a Unix socket, who have no address, are not slowed down.
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

// Ensure that ACL LOG counts like events together, keeps the latest, and bounds both their
// number and what each holds.
func TestACLLog(t *testing.T) {
	t.Parallel()
	var l aclLog
	event := func(i int) aclEvent { return aclEvent{deniedKey, false, fmt.Sprint("k", i), "u"} }
	for i := range 2 * aclLogSize {
		l.add(event(i), 0, "")
	}
	if n := len(l.latest(1 << 20)); n != aclLogSize {
		t.Errorf("%d entries, want %d", n, aclLogSize)
	}
	l.reset()
	for i := range 3 {
		l.add(event(i), 0, "")
	}
	l.add(event(0), aclLogGroup, "client")
	got := l.latest(10)
	if len(got) != 3 || got[0].object != "k0" || got[0].count != 2 || got[0].client != "client" || got[1].object != "k2" {
		t.Errorf("entries = %+v", got)
	}
	l.add(event(0), 2*aclLogGroup+1, "")
	if got := l.latest(1)[0]; got.count != 1 {
		t.Errorf("an event after %d ms is counted with the one before", aclLogGroup+1)
	}
	l.add(aclEvent{deniedKey, false, strings.Repeat("k", 1<<20), strings.Repeat("u", 1<<20)}, 0, "")
	if got := l.latest(1)[0]; len(got.object) > aclLogText || len(got.user) > aclLogText {
		t.Errorf("an entry holds %d and %d bytes", len(got.object), len(got.user))
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
				switch err := srv.acl.set(name, []string{"on", "nopass", "+@all", "~*", "(+get)"}, false); {
				case err != nil:
					t.Error(err)
				case j%10 == 9:
					srv.acl.remove([]string{name})
				default:
					srv.acl.lines()
				}
				if u := srv.acl.authenticate(name, nil); u != nil {
					u.rules.Load().check(table.byName["get"], words("get k"))
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
	if err := srv.acl.set("u", []string{"on", "nopass", "+@all", "~*"}, false); err != nil {
		t.Fatal(err)
	}
	nc, r := dialServer(t, addr)
	if got := askLine(t, nc, r, "auth u x"); got != "+OK" {
		t.Fatal(got)
	}
	srv.acl.remove([]string{"u"})
	if got := askLine(t, nc, r, "set k v"); got != "-"+string(errNoAuth) {
		t.Errorf("SET by a user that was deleted = %q", got)
	}
	if line, err := r.ReadString('\n'); err == nil {
		t.Errorf("the connection goes on: %q", line)
	}
}

// BenchmarkACL guards the cost of the check before each command: a load and a test for a
// user with all rights, and no allocation for any other.
func BenchmarkACL(b *testing.B) {
	table := newTable()
	line := words("set sess:0123456789abcdef v EX 3600")
	cmd := table.byName["set"]
	for _, bench := range []struct{ name, rules string }{
		{"all", "+@all ~*"},
		{"pattern", "~sess:* +@read +@write"},
		{"selectors", "~a:* %R~b:* +get (%W~c:* +set) (~sess:* +set)"},
		{"denied", "~a:* +@all"},
	} {
		rules, err := parseRules(table, bench.rules)
		if err != nil {
			b.Fatal(err)
		}
		c := &conn{session: session{user: newUser("u", rules)}}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rules := c.user.rules.Load()
				if !rules.unlimited {
					rules.check(cmd, line)
				}
			}
		})
	}
}
