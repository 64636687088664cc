package acl

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/server/glob"
)

// testCommands are the commands of Redis that the tests name.
func testCommands() *Commands {
	key := func(need Permission) KeyNeed { return KeyNeed{First: 1, Last: 1, Step: 1, Need: need} }
	var list []*Command
	for _, cmd := range []Command{
		{Name: "auth", Categories: []string{"fast", "connection"}, NoAuth: true},
		{Name: "client", Categories: []string{"slow"}},
		{Name: "client|id", Categories: []string{"slow", "connection"}},
		{Name: "client|list", Categories: []string{"admin", "slow", "dangerous", "connection"}},
		{Name: "config", Categories: []string{"slow"}},
		{Name: "config|get", Categories: []string{"admin", "slow", "dangerous"}},
		{Name: "config|set", Categories: []string{"admin", "slow", "dangerous"}},
		{Name: "copy", Categories: []string{"keyspace", "write", "slow"}, Keys: []KeyNeed{
			key(MayRead), {First: 2, Last: 2, Step: 1, Need: MayWrite},
		}},
		{Name: "del", Categories: []string{"keyspace", "write", "slow"}, Keys: []KeyNeed{{First: 1, Last: -1, Step: 1, Need: MayWrite}}},
		{Name: "echo", Categories: []string{"fast", "connection"}},
		{Name: "exists", Categories: []string{"keyspace", "read", "fast"}, Keys: []KeyNeed{{First: 1, Last: -1, Step: 1}}},
		{Name: "flushall", Categories: []string{"keyspace", "write", "slow", "dangerous"}},
		{Name: "get", Categories: []string{"read", "string", "fast"}, Keys: []KeyNeed{key(MayRead)}},
		{Name: "keys", Categories: []string{"keyspace", "read", "slow", "dangerous"}},
		{Name: "memory", Categories: []string{"slow"}},
		{Name: "memory|usage", Categories: []string{"read", "slow"}, Keys: []KeyNeed{{First: 2, Last: 2, Step: 1}}},
		{Name: "mget", Categories: []string{"read", "string", "fast"}, Keys: []KeyNeed{{First: 1, Last: -1, Step: 1, Need: MayRead}}},
		{Name: "mset", Categories: []string{"write", "string", "slow"}, Keys: []KeyNeed{{First: 1, Last: -1, Step: 2, Need: MayWrite}}},
		{Name: "rename", Categories: []string{"keyspace", "write", "slow"}, Keys: []KeyNeed{
			key(mayAll), {First: 2, Last: 2, Step: 1, Need: MayWrite},
		}},
		{Name: "select", Categories: []string{"fast", "connection"}},
		{Name: "set", Categories: []string{"write", "string", "slow"}, Keys: []KeyNeed{
			{First: 1, Last: 1, Step: 1, Need: mayAll, ReadIfGet: true},
		}},
	} {
		list = append(list, &cmd)
	}
	return NewCommands(list)
}

// find returns the command of a line, nil if there is none.
func (c *Commands) find(line [][]byte) *Command {
	cmd := c.byName[strings.ToLower(string(line[0]))]
	if cmd != nil && len(cmd.subs) > 0 {
		return c.byName[cmd.Name+"|"+strings.ToLower(string(line[1]))]
	}
	return cmd
}

func words(line string) [][]byte {
	var args [][]byte
	for _, word := range strings.Fields(line) {
		args = append(args, []byte(word))
	}
	return args
}

// parseRules applies the words of a line to the rules of a new user.
func parseRules(c *Commands, line string) (*Rules, error) {
	rules := newRules()
	words, ok := joinSelectors(strings.Fields(line))
	if !ok {
		return nil, errUnmatched(words[0])
	}
	for _, word := range words {
		if err := rules.apply(c, word); err != nil {
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
func TestRules_Apply(t *testing.T) {
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

		{"get", "", errSyntax},
		{"+nosuch", "", errUnknown},
		{"-nosuch", "", errUnknown},
		{"+", "", errUnknown},
		{"+nosuch|x", "", errUnknown},
		{"+config|nosuch", "", errUnknown},
		{"-select|0", "", errUnknown},
		{"+@", "", errUnknown},
		{"+client|id|x", "", errSubFirstArg},
		{"+select|", "", errSyntax},
		{"~* ~a", "", errAllKeys},
		{"allchannels &a", "", errAllChannels},
		{"<p", "", errNoPassword},
		{"#00", "", errHash},
		{"!" + hashOf("p"), "", errNoPassword},
		{"#" + strings.ToUpper(hashOf("p")), "", errHash},
		{"#" + strings.Repeat("x", 64), "", errHash},
		{"%~a", "", errSyntax},
		{"%RR~a", "", errSyntax},
		{"~" + strings.Repeat("x", glob.MaxPattern+1), "", errPattern},
		{"(+get", "", errUnmatched("(+get")},
		{"(on)", "", errSyntax},
		{"((+get))", " resetchannels -@all (resetchannels -@all +get)", nil},
	}
	commands := testCommands()
	for _, test := range tests {
		rules, err := parseRules(commands, test.rules)
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
func TestRules_Many(t *testing.T) {
	t.Parallel()
	commands := testCommands()
	for kind, rule := range map[string]string{
		"passwords": ">p%d", "hashes": "#%064x", "keys": "~k%d", "channels": "&c%d", "first arguments": "+select|a%d",
		"selectors": "(~k%d)",
	} {
		r := newRules()
		for i := range maxRules {
			if err := r.apply(commands, fmt.Sprintf(rule, i)); err != nil {
				t.Fatalf("%s: rule %d: %v", kind, i, err)
			}
		}
		if err := r.apply(commands, fmt.Sprintf(rule, maxRules)); err != errTooMany {
			t.Errorf("%s: rule %d: %v, want %v", kind, maxRules, err, errTooMany)
		}
		if err := r.apply(commands, fmt.Sprintf(rule, 7)); err != nil && kind != "selectors" {
			t.Errorf("%s: a rule that is there: %v", kind, err)
		}
	}
}

// Ensure that a change of cloned rules leaves the original alone.
func TestRules_Clone(t *testing.T) {
	t.Parallel()
	commands := testCommands()
	rules, err := parseRules(commands, ">p ~a %R~r &c +get +select|0 (+set ~s)")
	if err != nil {
		t.Fatal(err)
	}
	before := rules.describe("u")
	changed := rules.clone()
	for _, word := range []string{">q", "<p", "%W~r", "~z", "&d", "-get", "+select|1", "+@all", "(+del)"} {
		if err := changed.apply(commands, word); err != nil {
			t.Fatal(err)
		}
	}
	if err := changed.selectors[1].apply(commands, "-set"); err != nil {
		t.Fatal(err)
	}
	if after := rules.describe("u"); after != before {
		t.Errorf("the original became %q, was %q", after, before)
	}
	if d, _ := rules.Check(commands.byName["set"], words("set s 1")); d != Allowed {
		t.Errorf("the original's selector denies: %d", d)
	}
}

// Ensure that rules permit and deny what they say, and name the right key.
func TestRules_Check(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rules, line string
		want        Denial
		at          int
	}{
		{"+@all ~*", "flushall", Allowed, 0},
		{"", "get k", DeniedCommand, 0},
		{"", "auth p", Allowed, 0},
		{"+get", "get k", DeniedKey, 1},
		{"+get ~k", "GET k", Allowed, 0},
		{"+get ~k", "get kk", DeniedKey, 1},
		{"+get ~k*", "get kk", Allowed, 0},
		{"+get %W~k", "get k", DeniedKey, 1},
		{"+get %R~k", "get k", Allowed, 0},
		{"+@all %R~r %W~w", "set w v", Allowed, 0},
		{"+@all %R~r %W~w", "set w v get", DeniedKey, 1},
		{"+@all %R~r %W~w", "set w get", Allowed, 0},
		{"+@all %R~r %W~w", "rename w w", DeniedKey, 1},
		{"+@all %R~r %W~w", "copy r w", Allowed, 0},
		{"+@all %R~r %W~w", "copy r r", DeniedKey, 2},
		{"+@all %R~r %W~w", "exists r w", Allowed, 0},
		{"+@all %R~r %W~w", "exists r w x", DeniedKey, 3},
		{"+@all ~a ~b", "mset a 1 b 2", Allowed, 0},
		{"+@all ~a ~b", "mset a 1 c 2", DeniedKey, 3},
		{"+@all ~a", "memory usage b", DeniedKey, 2},
		{"+@all ~a", "keys *", Allowed, 0},
		{"+config", "config get x", Allowed, 0},
		{"+config|get", "config get x", Allowed, 0},
		{"+config|get", "config set x y", DeniedCommand, 0},
		{"+@all ~* -config", "config get x", DeniedCommand, 0},
		{"+@all ~* -@dangerous", "keys *", DeniedCommand, 0},
		{"+@all ~* -@dangerous", "get k", Allowed, 0},
		{"+select|0", "select 0", Allowed, 0},
		{"+select|0", "select 1", DeniedCommand, 0},
		{"+select|0 -select", "select 0", DeniedCommand, 0},
		{"+select|0 -@all", "select 0", DeniedCommand, 0},
		{"+select|0 -@connection", "select 0", DeniedCommand, 0},
		{"+client|id -client", "client id", DeniedCommand, 0},
		{"+echo|Yes", "echo yES", Allowed, 0},
		{"+@string ~*", "get k", Allowed, 0},
		{"+@string ~*", "del k", DeniedCommand, 0},
		{"(+get ~a) (+set ~b)", "set b 1", Allowed, 0},
		{"(+get ~a) (+set ~b)", "set a 1", DeniedKey, 1},
		{"(+get ~a) (+set ~b)", "del a", DeniedCommand, 0},
		{"+mget ~a (+mget ~a ~b)", "mget a b c", DeniedKey, 3},
	}
	commands := testCommands()
	for _, test := range tests {
		rules, err := parseRules(commands, test.rules)
		if err != nil {
			t.Fatalf("%q: %v", test.rules, err)
		}
		line := words(test.line)
		cmd := commands.find(line)
		if cmd == nil {
			t.Fatalf("%q: no such command", test.line)
		}
		if got, at := rules.Check(cmd, line); got != test.want || at != test.at {
			t.Errorf("%q, %q: %d at %d, want %d at %d", test.rules, test.line, got, at, test.want, test.at)
		}
	}
}

// Ensure that no input makes the parser panic and that a description makes the same user,
// which is described in the same way: ACL SAVE must be read back.
func FuzzRules(f *testing.F) {
	for _, seed := range []string{
		"on >secret ~sess:* +@read +set", "+@all -@dangerous +keys", "+select|0 -select|", "(+get ~x) (",
		"%R~a %RW~b %W", "&a allchannels", "#00 !00 <x", "reset nopass clearselectors", "(~a) +get)", "~* %W~*",
		"+config -config|set +get|x) (+get|y))", "((", "()", "(allkeys)", "+@all|x",
	} {
		f.Add(seed)
	}
	commands := testCommands()
	f.Fuzz(func(t *testing.T, line string) {
		rules, err := parseRules(commands, line)
		if err != nil {
			return
		}
		first := rules.describe("u")
		defined := &Definitions{map[string]*Rules{}}
		if wrong := defined.addLine(commands, "f:1", 1, first); wrong != "" {
			t.Fatalf("%q is described as %q, which is wrong: %s", line, first, wrong)
		}
		again := defined.rules["u"]
		if second := again.describe("u"); second != first {
			t.Fatalf("%q is described as %q and then as %q", line, first, second)
		}
		for _, cmd := range commands.byName {
			a, _ := rules.Check(cmd, [][]byte{[]byte(cmd.Name), []byte("k"), []byte("k")})
			b, _ := again.Check(cmd, [][]byte{[]byte(cmd.Name), []byte("k"), []byte("k")})
			if a != b {
				t.Fatalf("%q: %s is %d, and %d when it was read back", line, cmd.Name, a, b)
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
		{[]string{"alice #secret"}, "user alice: rule 1: " + errHash.Error()},
		{[]string{"alice (+get"}, "user alice: Unmatched parenthesis in acl selector starting at '(+get'."},
		{[]string{"alice on", "alice off"}, "user alice: " + errDuplicate.Error()},
		{[]string{" "}, "a user needs a name"},
	} {
		if _, err := ParseUsers(testCommands(), test.lines); err == nil || err.Error() != test.want {
			t.Errorf("%q: %v, want %s", test.lines, err, test.want)
		}
	}
}

// linesFile is a file that cannot be saved.
type linesFile []string

func (linesFile) Name() string              { return "users.acl" }
func (f linesFile) Load() ([]string, error) { return f, nil }
func (linesFile) Save([]string) error       { return errors.ErrUnsupported }

// Ensure that every wrong line of a file is named, as Redis names it.
func TestLoadUsers_Wrong(t *testing.T) {
	t.Parallel()
	file := linesFile(strings.Split("foo bar\nuser\nuser a b c\nuser x on\nuser x on\n\n   \n# comment\n"+
		" user  y   on \nuser z +nope\nuser z4 +foo|bar >x\nuser al\tice on\nuser p (+get\nuser q  on\r", "\n"))
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
	if _, err := LoadUsers(testCommands(), file); err == nil || err.Error() != want {
		t.Errorf("LoadUsers:\n%v\nwant\n%s", err, want)
	}
}

// Ensure that ACL LOG counts like events together, keeps the latest, and bounds both their
// number and what each holds.
func TestLog(t *testing.T) {
	t.Parallel()
	var l Log
	event := func(i int) Event { return Event{DeniedKey, false, fmt.Sprint("k", i), "u"} }
	for i := range 2 * LogSize {
		l.Add(event(i), 0, "")
	}
	if n := len(l.Latest(1 << 20)); n != LogSize {
		t.Errorf("%d entries, want %d", n, LogSize)
	}
	l.Reset()
	for i := range 3 {
		l.Add(event(i), 0, "")
	}
	l.Add(event(0), logGroup, "client")
	got := l.Latest(10)
	if len(got) != 3 || got[0].Object != "k0" || got[0].Count != 2 || got[0].Client != "client" || got[1].Object != "k2" {
		t.Errorf("entries = %+v", got)
	}
	l.Add(event(0), 2*logGroup+1, "")
	if got := l.Latest(1)[0]; got.Count != 1 {
		t.Errorf("an event after %d ms is counted with the one before", logGroup+1)
	}
	l.Add(Event{DeniedKey, false, strings.Repeat("k", 1<<20), strings.Repeat("u", 1<<20)}, 0, "")
	if got := l.Latest(1)[0]; len(got.Object) > logText || len(got.User) > logText {
		t.Errorf("an entry holds %d and %d bytes", len(got.Object), len(got.User))
	}
}

// BenchmarkCheck guards the cost of the check before each command: a load and a test for a
// user with all rights, and no allocation for any other.
func BenchmarkCheck(b *testing.B) {
	commands := testCommands()
	line := words("set sess:0123456789abcdef v EX 3600")
	cmd := commands.byName["set"]
	for _, bench := range []struct{ name, rules string }{
		{"all", "+@all ~*"},
		{"pattern", "~sess:* +@read +@write"},
		{"selectors", "~a:* %R~b:* +get (%W~c:* +set) (~sess:* +set)"},
		{"denied", "~a:* +@all"},
	} {
		rules, err := parseRules(commands, bench.rules)
		if err != nil {
			b.Fatal(err)
		}
		u := newUser("u", rules)
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if rules := u.Rules(); !rules.Unlimited() {
					rules.Check(cmd, line)
				}
			}
		})
	}
}
