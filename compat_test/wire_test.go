package compat_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// sentinel ends a conversation: its reply says that everything before was answered.
const sentinel = "\x01end of the conversation\x02"

// converse sends raw bytes, then the sentinel, and returns what came before the reply to
// it. closed says that the server closed the connection instead.
func converse(t *testing.T, s *proc.Server, parts ...string) (got string, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(proc.Patience)))
	for _, part := range append(parts, proc.Command("ECHO", sentinel)) {
		if _, err := conn.Write([]byte(part)); err != nil {
			break // it closed; what it said before can still be read
		}
		if len(parts) > 1 {
			time.Sleep(100 * time.Microsecond) // gives the server the chance to read the part alone
		}
	}
	var b bytes.Buffer
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		b.Write(buf[:n])
		if before, ok := strings.CutSuffix(b.String(), proc.Bulk(sentinel)); ok {
			return before, false
		}
		if err != nil {
			if !proc.ErrClosed(err) {
				t.Fatalf("%s: %v after %s", short(strings.Join(parts, "")), err, short(b.String()))
			}
			return b.String(), true
		}
	}
}

// wireCases are raw bytes and what Redis answers to them.
var wireCases = []struct {
	name   string
	input  string
	want   string
	closes bool
}{
	{name: "no arguments", input: "*0\r\n"},
	{name: "nil array", input: "*-1\r\n"},
	{name: "negative array", input: "*-5\r\n"},
	{name: "empty lines", input: "\r\n\n\r\n   \r\n"},
	{name: "empty lines around", input: "\r\n\r\nPING\r\n\r\n*0\r\nPING\r\n", want: "+PONG\r\n+PONG\r\n"},
	{name: "inline", input: "PING\r\n", want: "+PONG\r\n"},
	{name: "inline with LF alone", input: "PING\n", want: "+PONG\r\n"},
	{name: "inline with blanks", input: " \t ping \t hi  \r\n", want: "$2\r\nhi\r\n"},
	{name: "inline with quotes", input: `ECHO "two words\r\n\x41\"\\"` + "\r\n", want: "$14\r\ntwo words\r\nA\"\\\r\n"},
	{name: "inline with single quotes", input: `ECHO 'it\'s \n'` + "\r\n", want: "$7\r\nit's \\n\r\n"},
	{name: "inline empty string", input: `ECHO ""` + "\r\n", want: "$0\r\n\r\n"},
	{name: "several in one packet", input: "PING\r\n*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n", want: "+PONG\r\n+PONG\r\n$2\r\nhi\r\n"},
	{name: "empty command name", input: "*1\r\n$0\r\n\r\n", want: "-ERR unknown command '', with args beginning with: \r\n"},
	{name: "unknown command", input: "NoSuch a b\r\n", want: "-ERR unknown command 'NoSuch', with args beginning with: 'a' 'b' \r\n"},
	{name: "wrong arity", input: "GET\r\n", want: "-ERR wrong number of arguments for 'get' command\r\n"},
	{name: "after QUIT nothing runs", input: "SET q 1\r\nQUIT\r\nSET q 2\r\n", want: "+OK\r\n+OK\r\n", closes: true},

	{name: "the packet of 31 bytes", input: "*1\r\n$9223372036854775807\r\n\r\n", want: protocolError("invalid bulk length"), closes: true},
	{name: "huge count", input: "*9000000000000000000\r\n", want: protocolError("invalid multibulk length"), closes: true},
	{name: "overflowing count", input: "*99999999999999999999\r\n", want: protocolError("invalid multibulk length"), closes: true},
	{name: "count that is no number", input: "*x\r\n", want: protocolError("invalid multibulk length"), closes: true},
	{name: "count with a plus", input: "*+1\r\n", want: protocolError("invalid multibulk length"), closes: true},
	{name: "bulk of 1 GB", input: "*2\r\n$3\r\nGET\r\n$1073741824\r\n", want: protocolError("invalid bulk length"), closes: true},
	{name: "negative bulk", input: "*2\r\n$3\r\nGET\r\n$-1\r\n", want: protocolError("invalid bulk length"), closes: true},
	{name: "length that is no number", input: "*1\r\n$four\r\n", want: protocolError("invalid bulk length"), closes: true},
	{name: "something else than a bulk", input: "*1\r\n+PING\r\n", want: protocolError("expected '$', got '+'"), closes: true},
	{name: "unbalanced quotes", input: "SET k \"v\r\n", want: protocolError("unbalanced quotes in request"), closes: true},
	{name: "text after a quote", input: "SET k \"v\"w\r\n", want: protocolError("unbalanced quotes in request"), closes: true},
	{name: "replies before the error", input: "PING\r\nSET p 1\r\n*x\r\nSET p 2\r\n", want: "+PONG\r\n+OK\r\n" + protocolError("invalid multibulk length"), closes: true},
}

func protocolError(text string) string { return "-ERR Protocol error: " + text + "\r\n" }

// Ensure that what is not a plain command is answered, or refused and closed, byte for
// byte as Redis does, and that the server serves on.
func TestWire_Framing(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	for _, tt := range wireCases {
		got, closed := converse(t, s, tt.input)
		if got != tt.want || closed != tt.closes {
			t.Errorf("%s: %q answered %q, closed %v, want %q, %v", tt.name, tt.input, got, closed, tt.want, tt.closes)
		}
		if reply := s.Do("PING"); reply != "+PONG\r\n" {
			t.Errorf("%s: PING afterwards = %q", tt.name, reply)
		}
	}
	for _, key := range []string{"q", "p"} {
		if got := s.Do("GET", key); got != "$1\r\n1\r\n" {
			t.Errorf("GET %s = %q, want 1: what came after the end of the conversation was run", key, got)
		}
	}
}

// Ensure that it makes no difference where the network cuts a command.
func TestWire_SplitAnywhere(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	for _, tt := range wireCases {
		for i := 1; i < len(tt.input); i++ {
			got, closed := converse(t, s, tt.input[:i], tt.input[i:])
			if got != tt.want || closed != tt.closes {
				t.Errorf("%s: %q + %q answered %q, closed %v, want %q, %v", tt.name, tt.input[:i], tt.input[i:], got, closed, tt.want, tt.closes)
			}
		}
		got, closed := converse(t, s, strings.Split(tt.input, "")...)
		if got != tt.want || closed != tt.closes {
			t.Errorf("%s: %q byte by byte answered %q, closed %v, want %q, %v", tt.name, tt.input, got, closed, tt.want, tt.closes)
		}
	}
}

// Ensure that odd bytes get from sessiond exactly what they get from redis-server.
func TestWire_SameAsRedis(t *testing.T) {
	t.Parallel()
	s, redis := proc.Start(t), proc.StartRedis(t)
	// No NUL in an inline command: Redis takes it for the end of what has arrived and waits.
	for _, input := range []string{
		"\xff\xfe\r\n", "PING\r\r\n", "PING\rPONG\r\n",
		"PING a b c\r\n", "ECHO\r\n", "ECHO a b\r\n", `ECHO "\x4"` + "\r\n", `ECHO "\xzz\q"` + "\r\n", `ECHO '\x41'` + "\r\n",
		`ECHO a"b` + "\r\n", `ECHO a"b"` + "\r\n", `ECHO "a""b"` + "\r\n", `ECHO "a" "b"` + "\r\n", "'PING'\r\n", `""` + "\r\n",
		"*1\n$4\nPING\n", "*1\r\n$4\r\nPINGxx", "*1\r\n$04\r\nPING\r\n", "*01\r\n$4\r\nPING\r\n", "* 1\r\n$4\r\nPING\r\n",
		"*1 \r\n$4\r\nPING\r\n", "*\r\n", "*1\r\n$\r\n", "*1\r\n$-0\r\n\r\n", "*-0\r\n", "*1\r\n\r\n", "*1\r\nPING\r\n", "*1\r\n*1\r\n$4\r\nPING\r\n",
		"$4\r\nPING\r\n", "+PING\r\n", ":1\r\n", "-ERR\r\n", "_\r\n", "%1\r\n",
		"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n", "*1\r\n$6\r\nPI\r\nNG\r\n", "*1\r\n$5\r\nPING \r\n",
		"NOSUCH " + strings.Repeat("x", 300) + "\r\n", strings.Repeat("y", 300) + " a\r\n", "NOSUCH " + strings.Repeat("arg ", 100) + "\r\n",
		"NOSUCH 'a\\'b' \"c\\r\\nd\"\r\n", "*2\r\n$5\r\nNO\r\nX\r\n$3\r\na\r\n\r\n",
		"SET k v EX 0\r\n", "SET k v EX -1\r\n", "SET k v EX 1 PX 1\r\n", "SET k v EX x\r\n", "SET k v NX XX\r\n", "SET k v EX 9223372036854775807\r\n",
		"SELECT 16\r\n", "SELECT x\r\n", "SELECT -1\r\n", "SCAN x\r\n", "SCAN 0 COUNT 0\r\n", "SCAN 0 MATCH\r\n",
		"HELLO 4\r\n", "HELLO x\r\n", "HELLO 3 AUTH a\r\n", "AUTH x\r\n", "AUTH a b c\r\n", "CLIENT SETNAME \"a b\"\r\n", "CLIENT NOSUCH\r\n", "CLIENT\r\n",
		"MULTI\r\nMULTI\r\nEXEC\r\n", "EXEC\r\n", "DISCARD\r\n", "MULTI\r\nWATCH k\r\nEXEC\r\n", "MULTI\r\nNOSUCH\r\nSET k v\r\nEXEC\r\n",
		"MULTI\r\nSET n x\r\nINCR n\r\nSET n 5\r\nEXEC\r\nGET n\r\n", "MULTI\r\nSELECT 2\r\nSET k two\r\nEXEC\r\nGET k\r\nSELECT 0\r\nGET k\r\n",
		"MULTI\r\nDISCARD\r\nEXEC\r\n", "MULTI\r\nPING\r\nQUIT\r\nPING\r\n", "WATCH k\r\nSET k new\r\nMULTI\r\nGET k\r\nEXEC\r\n",
		"RESET\r\nPING\r\n", "MULTI\r\nRESET\r\nPING\r\n", "DEL\r\n", "MGET\r\n", "GETEX k EX 0\r\n", "EXPIRE k x\r\n", "EXPIRE k 1 NX XX\r\n",
		"SET c 9223372036854775807\r\nINCR c\r\n", "SET c 00123\r\nINCR c\r\nGET c\r\n", "SET c ' 1'\r\nINCR c\r\n",
	} {
		want, wantClosed := converse(t, redis, input)
		got, closed := converse(t, s, input)
		if got != want || closed != wantClosed {
			t.Errorf("%s answered %q, closed %v; redis-server %q, %v", short(input), got, closed, want, wantClosed)
		}
	}
}

// Ensure that a browser which was tricked into sending an HTTP request here is cut off, as
// by Redis, before its body can be read as commands.
func TestWire_HTTPRequestIsCutOff(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	for _, input := range []string{
		"POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\nSET forged 1\r\n",
		"GET / HTTP/1.1\r\nHost: example\r\n\r\nSET forged 1\r\n",
	} {
		if got, closed := converse(t, s, input); !closed || strings.Contains(got, "+OK") {
			t.Errorf("%q answered %q, closed %v, want an end before SET", input, got, closed)
		}
	}
	if got := s.Do("EXISTS", "forged"); got != ":0\r\n" {
		t.Errorf("EXISTS forged = %q, want 0", got)
	}
}

// Ensure that lines which are too long are refused at the same length as by Redis.
func TestWire_LongLines(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	const limit = 64 << 10
	for _, tt := range []struct {
		name, input, want string
	}{
		{"inline without an end", strings.Repeat("x", limit+1), "too big inline request"},
		{"array count without an end", "*" + strings.Repeat("1", limit), "too big mbulk count string"},
		{"bulk length without an end", "*1\r\n$" + strings.Repeat("1", limit), "too big bulk count string"},
	} {
		c := s.Dial()
		c.Send(tt.input)
		if got := c.Rest(); got != protocolError(tt.want) {
			t.Errorf("%s: answered %q, want %q", tt.name, got, protocolError(tt.want))
		}
	}
	long := strings.Repeat("x", limit-100)
	if got, closed := converse(t, s, "ECHO "+long+"\r\n"); got != proc.Bulk(long) || closed {
		t.Errorf("a long inline command that fits answered %s, closed %v", short(got), closed)
	}
}

// Ensure that a stranger gets Redis' small limits until the login.
func TestWire_LimitsBeforeLogin(t *testing.T) {
	t.Parallel()
	s := proc.Start(t, "--requirepass", "secret")
	for _, tt := range []struct {
		input, want string
	}{
		{"*11\r\n", "unauthenticated multibulk length"},
		{"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "unauthenticated bulk length"},
	} {
		c := s.Dial()
		c.Send(tt.input)
		if got := c.Rest(); got != protocolError(tt.want) {
			t.Errorf("%q answered %q, want %q", tt.input, got, protocolError(tt.want))
		}
	}
	c := s.Dial()
	if got := c.Do("DEL", "1", "2", "3", "4", "5", "6", "7", "8", "9"); got != "-NOAUTH Authentication required.\r\n" {
		t.Errorf("ten arguments answered %q, want NOAUTH", got)
	}
	big := strings.Repeat("v", 100_000)
	login := proc.Command("AUTH", "secret") + proc.Command("SET", "k", big) + proc.Command(strings.Fields("DEL"+strings.Repeat(" x", 50))...)
	if got, closed := converse(t, s, login); got != "+OK\r\n+OK\r\n:0\r\n" || closed {
		t.Errorf("a pipeline that begins with AUTH answered %s, closed %v, want OK OK 0", short(got), closed)
	}
}

// Ensure that values come back as bulk strings of the same bytes, whatever they look like,
// and that nil is nothing else than nil in both protocols.
func TestWire_Values(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	for _, protocol := range []string{"2", "3"} {
		c := s.Dial()
		c.Do("HELLO", protocol)
		null := map[string]string{"2": "$-1\r\n", "3": "_\r\n"}[protocol]
		for _, value := range []string{"", "00123", "123", "a\r\nb", "+OK\r\n", "$-1\r\n", "<nil>", "\x00\xff", strings.Repeat("x", 1<<20)} {
			if got := c.Do("SET", "k", value); got != "+OK\r\n" {
				t.Fatalf("SET = %q", got)
			}
			if got := c.Do("GET", "k"); got != proc.Bulk(value) {
				t.Errorf("RESP%s: GET = %s, want %s", protocol, short(got), short(value))
			}
			if got, want := c.Do("MGET", "k", "absent"), "*2\r\n"+proc.Bulk(value)+null; got != want {
				t.Errorf("RESP%s: MGET = %s, want %s", protocol, short(got), short(want))
			}
		}
		if got := c.Do("GET", "absent"); got != null {
			t.Errorf("RESP%s: GET of an absent key = %q, want %q", protocol, got, null)
		}
	}
}

// Ensure that EXEC announces as many elements as it sends when one of them is an error,
// that the others hold, and that the stream is in step afterwards.
func TestWire_ExecWithErrorInside(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	input := "MULTI\r\nSET a text\r\nINCR a\r\nSET b 2\r\nEXEC\r\nMGET a b\r\n"
	want := "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n+OK\r\n" +
		"*2\r\n$4\r\ntext\r\n$1\r\n2\r\n"
	if got, closed := converse(t, s, input); got != want || closed {
		t.Errorf("answered %q, closed %v, want %q", got, closed, want)
	}
	input = "MULTI\r\nSET a other\r\nNOSUCH\r\nEXEC\r\nGET a\r\n"
	want = "+OK\r\n+QUEUED\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n" +
		"-EXECABORT Transaction discarded because of previous errors.\r\n$4\r\ntext\r\n"
	if got, closed := converse(t, s, input); got != want || closed {
		t.Errorf("answered %q, closed %v, want %q", got, closed, want)
	}
}

// Ensure what other servers get wrong about TTLs and databases.
func TestWire_DeadlinesAndDatabases(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	input := "SET k v EX 0\r\nGET k\r\nSET k v EX 100\r\nSET k w\r\nTTL k\r\nSELECT 1\r\nGET k\r\nSET k one\r\nSELECT 0\r\nGET k\r\n"
	want := "-ERR invalid expire time in 'set' command\r\n$-1\r\n+OK\r\n+OK\r\n:-1\r\n+OK\r\n$-1\r\n+OK\r\n+OK\r\n$1\r\nw\r\n"
	if got, closed := converse(t, s, input); got != want || closed {
		t.Errorf("answered %q, closed %v, want %q", got, closed, want)
	}
}

// Ensure that SCAN's cursor is a bulk string, zero after the last key.
func TestWire_ScanCursor(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	c := s.Dial()
	if got, want := c.Do("SCAN", "0"), "*2\r\n$1\r\n0\r\n*0\r\n"; got != want {
		t.Errorf("SCAN of nothing = %q, want %q", got, want)
	}
	var b strings.Builder
	for i := range 1000 {
		b.WriteString(proc.Command("SET", fmt.Sprintf("k%d", i), "v"))
	}
	c.Send(b.String())
	for range 1000 {
		c.Reply()
	}
	if got := c.Do("SCAN", "0", "COUNT", "10"); !regexp.MustCompile(`^\*2\r\n\$\d+\r\n[1-9]\d*\r\n\*\d+\r\n`).MatchString(got) {
		t.Errorf("the first page of SCAN = %s, want a cursor as bulk string", short(got))
	}
	if n := len(scanAll(t, c)); n != 1000 {
		t.Errorf("SCAN met %d keys, want 1000", n)
	}
}

// Ensure that what clients read when they connect has the shape they insist on.
func TestWire_Handshake(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	for _, tt := range []struct{ command, want string }{
		{"HELLO", `^\*14\r\n\$6\r\nserver\r\n\$5\r\nredis\r\n\$7\r\nversion\r\n\$\d+\r\n7\.\d+\.\d+\r\n\$5\r\nproto\r\n:2\r\n\$2\r\nid\r\n:\d+\r\n` +
			`\$4\r\nmode\r\n\$10\r\nstandalone\r\n\$4\r\nrole\r\n\$6\r\nmaster\r\n\$7\r\nmodules\r\n\*0\r\n$`},
		{"INFO", `(?s)^\$\d+\r\n.*redis_version:7\..*loading:0\r\n`},
		{"HELLO 3", `^%7\r\n\$6\r\nserver\r\n\$5\r\nredis\r\n\$7\r\nversion\r\n\$\d+\r\n7\.\d+\.\d+\r\n\$5\r\nproto\r\n:3\r\n\$2\r\nid\r\n:\d+\r\n` +
			`\$4\r\nmode\r\n\$10\r\nstandalone\r\n\$4\r\nrole\r\n\$6\r\nmaster\r\n\$7\r\nmodules\r\n\*0\r\n$`},
		{"INFO server", `(?s)^=\d+\r\ntxt:# Server\r\n.*redis_version:7\.`},
		{"CONFIG GET databases", `^%1\r\n\$9\r\ndatabases\r\n\$2\r\n16\r\n$`},
		{"CONFIG GET nosuch", `^%0\r\n$`},
		{"CLIENT MAINT_NOTIFICATIONS ON", `^-ERR unknown subcommand 'MAINT_NOTIFICATIONS'\. Try CLIENT HELP\.\r\n$`},
		{"CLUSTER SLOTS", `^-ERR This instance has cluster support disabled\r\n$`},
		{"SENTINEL MASTERS", `^-ERR unknown command 'SENTINEL', with args beginning with: 'MASTERS' \r\n$`},
		{"PING", `^\+PONG\r\n$`},
	} {
		c := s.Dial()
		if tt.command != "HELLO" && tt.command != "INFO" {
			c.Do("HELLO", "3")
		}
		if got := c.Do(strings.Fields(tt.command)...); !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%s = %q, want a match of %s", tt.command, got, tt.want)
		}
	}
}

// Ensure that COMMAND names nothing that is not there.
func TestWire_CommandListIsTrue(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t)
	names := regexp.MustCompile(`\r\n([a-z|_-]+)\r\n`).FindAllStringSubmatch(strings.ReplaceAll(s.Do("COMMAND", "LIST"), "\r\n", "\r\n\r\n"), -1)
	if len(names) < 50 {
		t.Fatalf("COMMAND LIST names %d commands", len(names))
	}
	for _, m := range names {
		if m[1] == "shutdown" {
			continue
		}
		if got := s.Do(strings.Split(m[1], "|")...); strings.HasPrefix(got, "-ERR unknown") {
			t.Errorf("COMMAND LIST names %s, which answers %q", m[1], got)
		}
	}
}

// Ensure that a value which arrives one byte per write costs neither stack nor core.
func TestWire_OneByteWrites(t *testing.T) {
	t.Parallel()
	s := proc.Start(t)
	c := s.Dial()
	value := strings.Repeat("0123456789", 20_000)
	for _, b := range []byte(proc.Command("SET", "k", value)) {
		c.Send(string(b))
	}
	if got := c.Reply(); got != "+OK\r\n" {
		t.Errorf("SET = %q", got)
	}
	if got := c.Do("GET", "k"); got != proc.Bulk(value) {
		t.Errorf("GET = %s, want %d bytes", short(got), len(value))
	}
}

// peakMemory returns the most memory the process ever held, in bytes.
func peakMemory(t *testing.T, s *proc.Server) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the memory of a process is read from /proc")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	must(t, err)
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	kb, err := strconv.Atoi(string(m[1]))
	must(t, err)
	return kb << 10
}

// Ensure that what a client sends or leaves unread is held in bounded memory: text without
// an end, announced lengths, a long honest pipeline, and replies that nobody reads.
func TestWire_BoundedMemory(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	chunk := strings.Repeat(proc.Command("ECHO", strings.Repeat("x", 4000)), 16)
	for _, tt := range []struct {
		name string
		send func(t *testing.T, c *proc.Conn)
	}{
		{"inline without an end", func(t *testing.T, c *proc.Conn) {
			garbage := strings.Repeat("x", 64<<10)
			for range 128 { // 8 MB
				if c.TrySend(garbage) != nil {
					return
				}
			}
			t.Error("8 MB of inline text without an end were accepted")
		}},
		{"announced and not sent", func(t *testing.T, c *proc.Conn) {
			c.Send("*1000000\r\n$60000000\r\nx")
		}},
		{"honest pipeline", func(t *testing.T, c *proc.Conn) {
			sent := make(chan error, 1)
			go func() {
				for range 1000 { // 64 MB
					if err := c.TrySend(chunk); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			for range 16 * 1000 {
				c.Reply()
			}
			must(t, <-sent)
		}},
		{"replies that nobody reads", func(t *testing.T, c *proc.Conn) {
			stuck := make(chan struct{})
			go func() {
				defer close(stuck)
				for range 1000 { // 64 MB, unless the server stops reading
					if c.TrySend(chunk) != nil {
						return
					}
				}
			}()
			select {
			case <-stuck:
			case <-time.After(2 * time.Second): // the server has stopped reading, which is right
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := proc.Start(t)
			before := peakMemory(t, s)
			c := s.Dial()
			tt.send(t, c)
			if got := s.Do("PING"); got != "+PONG\r\n" {
				t.Errorf("PING on another connection = %q", got)
			}
			const limit = 32 << 20
			if grown := peakMemory(t, s) - before; grown > limit {
				t.Errorf("memory grew by %d bytes, want at most %d", grown, limit)
			}
			c.Close()
		})
	}
}

// Ensure that running out of file descriptors neither ends the server nor pins a core, and
// that it serves again when some are free.
func TestWire_OutOfFileDescriptors(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	port, dir := proc.FreePort(t), t.TempDir()
	script := fmt.Sprintf("ulimit -n 100 && exec %q --port %s --dir %q", proc.Binary(t), port, dir)
	shell, err := exec.LookPath("sh")
	if err != nil {
		proc.Missing(t, "sh")
	}
	p := proc.Program(t, shell, "-c", script)
	p.Start()
	addr := "127.0.0.1:" + port
	ping := func() error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.Log())
		}
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(time.Second)))
		if _, err := conn.Write([]byte("PING\r\n")); err != nil {
			return err
		}
		buf := make([]byte, 64)
		n, err := conn.Read(buf)
		if got := string(buf[:n]); got != "+PONG\r\n" {
			return fmt.Errorf("PING = %q, %v", got, err)
		}
		return nil
	}
	proc.Eventually(t, ping)
	var crowd []net.Conn
	for range 150 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			break // the backlog is full
		}
		crowd = append(crowd, conn)
	}
	before := cpuTime(t, p.Pid())
	const watched = 500 * time.Millisecond
	time.Sleep(watched) // a loop that spins has to be watched for a while
	if used := cpuTime(t, p.Pid()) - before; used > watched/2 {
		t.Errorf("the server used %v of CPU in %v without descriptors", used, watched)
	}
	for _, conn := range crowd {
		_ = conn.Close() // the server may have closed it
	}
	proc.Eventually(t, ping)
}

// cpuTime returns the CPU time a process has used, to 10 ms.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the CPU time of a process is read from /proc")
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold blanks
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])   // field 14 of proc(5)
	system, _ := strconv.Atoi(fields[12]) // field 15
	return time.Duration(user+system) * 10 * time.Millisecond
}
