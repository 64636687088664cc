package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
	"github.com/sessiond/sessiond/ttl"
)

// fuzzWords are what the lines of FuzzSession are made of: every command, the words of
// every syntax, a few keys and the numbers where something changes.
func fuzzWords() []string {
	words := []string{
		"", "k", "k", "l", "v", "0", "1", "2", "3", "10", "-1", "100", "65536", "1.5", "1e400", "nan", "inf", "-inf", "*", "k*", "[a-", "\\",
		"9223372036854775807", "-9223372036854775808", "67108864", "1700000000", "1700000000000", "default", "a\r\nb", "\x00", "(nil)",
	}
	for _, c := range Commands() {
		words = append(words, strings.Fields(c.Name)...)
		for _, word := range strings.FieldsFunc(c.Syntax, func(r rune) bool { return strings.ContainsRune("[]|<> ", r) }) {
			if word == strings.ToUpper(word) {
				words = append(words, word)
			}
		}
	}
	slices.Sort(words)
	// They end the conversation, silence it, let it wait, or lock the test out.
	return slices.DeleteFunc(slices.Compact(words), func(word string) bool {
		return slices.Contains([]string{"quit", "kill", "reply", "auth", "AUTH", "acl", "shutdown", "pause", "requirepass", "post", "host:"}, word)
	})
}

// fuzzLines makes command lines of bytes: 255 ends a line, 254 and a length begin a word
// that is spelled out, any other pair names a word.
func fuzzLines(data []byte, words []string) (lines [][]string) {
	var line []string
	for len(data) > 0 {
		switch mark := data[0]; {
		case mark == 255:
			if len(line) > 0 {
				lines = append(lines, line)
			}
			line = nil
			data = data[1:]
		case mark == 254 && len(data) > 1:
			n := min(int(data[1]), len(data)-2)
			line = append(line, string(data[2:2+n]))
			data = data[2+n:]
		case len(data) > 1:
			line = append(line, words[(int(mark)<<8|int(data[1]))%len(words)])
			data = data[2:]
		default:
			data = nil
		}
	}
	if len(line) > 0 {
		lines = append(lines, line)
	}
	return lines
}

// ends reports whether a line, spelled out, ends the conversation or silences it.
func ends(line []string) bool {
	text := strings.ToLower(strings.Join(line, " "))
	for _, word := range []string{"quit", "kill", "reply", "auth", "acl", "shutdown", "pause", "pass", "post", "host:"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// FuzzSession checks that every command of a conversation gets exactly one well-formed
// reply, in RESP2 and RESP3, in and outside MULTI, and that the connection survives.
func FuzzSession(f *testing.F) {
	words := fuzzWords()
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, 400)
		for i := range data {
			if data[i] = byte(random.IntN(254)); random.IntN(8) == 0 {
				data[i] = 255
			}
		}
		f.Add(data)
	}
	for _, story := range []string{
		"SET k 10 EX 100 GET|MULTI|INCR k|APPEND k x|GET k|HELLO 3|EXEC|TTL k", "HELLO 3|COMMAND INFO get|COMMAND DOCS|INFO|CLIENT LIST|CONFIG GET *",
		"WATCH k l|MULTI|SELECT 1|SET k v|SWAPDB 0 1|EXEC|SCAN 0 MATCH k* COUNT 10|RANDOMKEY|DBSIZE", "MULTI|NOSUCH|GET|EXEC|DISCARD|MULTI|FLUSHALL|EXEC",
		"CONFIG SET proto-max-bulk-len 1mb|SETRANGE k 1048575 x|SETRANGE k 1048576 x|GETRANGE k 0 3|COPY k l|RENAME k l|OBJECT ENCODING l",
	} {
		var data []byte
		for line := range strings.SplitSeq(story, "|") {
			for word := range strings.FieldsSeq(line) {
				data = append(append(data, 254, byte(len(word))), word...)
			}
			data = append(data, 255)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := slices.DeleteFunc(fuzzLines(data, words), ends)
		if len(lines) > 50 {
			lines = lines[:50]
		}
		converseAll(t, append(lines, []string{"RESET"}, []string{"ECHO", "the end"}))
	})
}

// converseAll sends all lines in one piece to a new server and reads one reply for each.
func converseAll(t *testing.T, lines [][]string) {
	t.Helper()
	var log bytes.Buffer // read once the server is closed
	srv := New(Config{
		Keyspace: storage.NewKeyspace(enginetest.NewModel(), ttl.NewManual(transcriptStart)),
		Logger:   slog.New(slog.NewTextHandler(&log, nil)),
	})
	server, client := net.Pipe()
	srv.accept(server)
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var stream strings.Builder
	for _, line := range lines {
		stream.WriteString(encode(line))
	}
	sent := make(chan struct{})
	go func() {
		_, _ = io.WriteString(client, stream.String()) // the replies tell
		close(sent)
	}()
	r := bufio.NewReader(client)
	var last string
	for i, line := range lines {
		var err error
		if last, err = wellFormed(r); err != nil {
			_ = client.Close()
			_ = srv.Close()
			t.Fatalf("reply %d, to %q: %v, after %.200q\n%s\nall: %q", i, line, err, last, log.String(), lines)
		}
	}
	if last != "$7\r\nthe end\r\n" {
		t.Errorf("the last of %d replies = %.200q: too many or too few\nall: %q", len(lines), last, lines)
	}
	<-sent
	_ = srv.Close() // it returns no error
	if strings.Contains(log.String(), "panic") {
		t.Errorf("%s\nall: %q", log.String(), lines)
	}
}

// wellFormed reads one reply and returns its bytes, or what is wrong with it.
func wellFormed(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	switch {
	case err != nil:
		return line, err
	case len(line) < 3 || !strings.HasSuffix(line, "\r\n") || strings.Contains(line[:len(line)-2], "\r"):
		return line, fmt.Errorf("line %q", line)
	}
	text := line[1 : len(line)-2]
	switch line[0] {
	case '+', '-':
		return line, nil
	case ':':
		_, err := strconv.ParseInt(text, 10, 64)
		return line, err
	case ',':
		_, err := strconv.ParseFloat(text, 64)
		return line, err
	case '_':
		if text != "" {
			err = fmt.Errorf("null with text %q", text)
		}
		return line, err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return line, err
	}
	switch line[0] {
	case '$', '=':
		if n == -1 && line[0] == '$' {
			return line, nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return line, err
		}
		if !bytes.HasSuffix(b, []byte("\r\n")) {
			return line, fmt.Errorf("bulk string that ends with %q", b[n:])
		}
		return line + string(b), nil
	case '%':
		n *= 2
	case '*', '~':
		if n == -1 && line[0] == '*' {
			return line, nil
		}
	default:
		return line, fmt.Errorf("type %q", line[:1])
	}
	for range n {
		part, err := wellFormed(r)
		if line += part; err != nil {
			return line, err
		}
	}
	return line, nil
}

// FuzzConfigSet checks that CONFIG GET returns what CONFIG SET has set, that setting it again changes
// nothing, and that the numbers stay within their limits.
func FuzzConfigSet(f *testing.F) {
	for name, value := range map[string]string{
		"proto-max-bulk-len": "64mb", "client-query-buffer-limit": "1g", "client-output-buffer-limit": "normal 256mb 0 0",
		"maxclients": "10", "timeout": "0", "requirepass": "p", "save": "", "bind": "*", "port": "6379",
	} {
		f.Add(name, value)
	}
	f.Add("client-output-buffer-limit", "replica 1 2kb 3 PUBSUB 0 0 2147483647 normal 18446744073709551615 1 +1")
	f.Add("proto-max-bulk-len", "9223372036854775807gb")
	f.Add("proto-max-bulk-len", "-1")
	f.Fuzz(func(t *testing.T, name, value string) {
		s := newSettings(Settings{}, 16)
		i := slices.IndexFunc(s.known, func(p parameter) bool { return p.name == strings.ToLower(name) })
		if i < 0 {
			return
		}
		p := s.known[i]
		if s.change(func(now *Settings) error { return p.assign(now, []byte(value)) }) != nil {
			if s.get().MaxClients != 10000 || s.get().MaxBulk != defaultBulk {
				t.Errorf("%s %q was refused and changed %+v", name, value, s.get())
			}
			return
		}
		now := s.get()
		shown := p.get(now)
		if p.name == "requirepass" { // CONFIG GET does not tell it
			return
		}
		if err := s.change(func(now *Settings) error { return p.assign(now, []byte(shown)) }); err != nil || p.get(s.get()) != shown {
			t.Errorf("%s %q is shown as %q, which is refused: %v", name, value, shown, err)
		}
		b := s.bounds()
		if now.MaxClients < 1 || b.idle < 0 || b.input.Bulk < 1<<20 || b.input.Bulk > 512<<20 ||
			b.input.Query < 1<<20 || b.input.Query > math.MaxInt32 || b.output.hard < leastOutput || b.output.soft < leastOutput || b.output.softTime < 0 {
			t.Errorf("%s %q leads to %+v", name, value, now)
		}
	})
}

// FuzzParseBytes compares amounts of memory with their arithmetic.
func FuzzParseBytes(f *testing.F) {
	for _, text := range []string{"0", "1", "64mb", "1Gb", "7k", "-1", "1kk", "b", "9223372036854775807", "9223372036854775807kb", "01"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseBytes([]byte(text))
		lower := strings.ToLower(text)
		unit := strings.TrimLeft(lower, "-0123456789")
		factor, known := map[string]int64{"": 1, "b": 1, "k": 1e3, "kb": 1024, "m": 1e6, "mb": 1 << 20, "g": 1e9, "gb": 1 << 30}[unit]
		digits := strings.TrimSuffix(lower, unit)
		number, bad := strconv.ParseInt(digits, 10, 64)
		exact := new(big.Int).Mul(big.NewInt(number), big.NewInt(factor))
		want := known && bad == nil && digits[0] != '-' && exact.IsInt64()
		if (err == nil) != want {
			t.Errorf("%q = %d, %v, want it taken: %v", text, n, err, want)
		} else if want && n != exact.Int64() {
			t.Errorf("%q = %d, want %d", text, n, exact)
		}
	})
}
