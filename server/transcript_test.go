package server

import (
	"bufio"
	"errors"
	goflag "flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

var update = goflag.Bool("update", false, "rewrite the replies in testdata/*.txt")

// transcriptStart is what the clock says when a transcript begins: 2023-11-14 22:13:20 UTC.
const transcriptStart = ttl.Instant(1_700_000_000_000)

// TestTranscripts plays testdata/*.txt against a server over TCP. A file is one story and
// begins with an empty server. It consists of blocks: lines of input, "----", and what they
// answer, up to an empty line. A line of input is a command and its arguments; one that
// holds blanks or other odd bytes is quoted as in Go, and "ab"*3 stands for ababab.
//
//	2> get k             sends it on a second connection
//	sorted keys *        sorts the elements of the reply
//	quiet hello 3        does not show the reply
//	silent get k         expects no reply, and does not wait for one
//	raw "*1\r\n..."      sends these bytes and reads one reply
//	end                  reads up to the end of the connection
//	advance 60s          moves the clock
//	pipeline             sends the rest of the block in one piece, then reads the replies
//	server password=x databases=4 "user=alice on nopass"
//	                     starts the server with these settings; only as the first line
//
// Replies look as redis-cli shows them, except that "(nil)", "(null)" and "(nil array)"
// tell $-1, _ and *-1 apart, and that simple strings stand without quotes.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("transcripts = %q, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			playFile(t, path)
		})
	}
}

func playFile(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stage := &stage{t: t, clock: ttl.NewManual(transcriptStart), clients: map[string]*client{}}
	var rewritten strings.Builder
	for _, b := range readBlocks(t, path, string(text)) {
		rewritten.WriteString(b.before)
		if b.input == nil {
			continue
		}
		got := stage.play(b.input)
		if !*update && got != b.want {
			t.Fatalf("%s:%d: %s\ngot:\n%swant:\n%s", path, b.line, strings.Join(b.input, "\n"), got, b.want)
		}
		rewritten.WriteString(strings.Join(b.input, "\n") + "\n----\n" + got)
	}
	if *update && rewritten.String() != string(text) {
		if err := os.WriteFile(path, []byte(rewritten.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// block is a piece of a transcript.
type block struct {
	before string // comments and empty lines in front of it
	line   int    // of the first line of input
	input  []string
	want   string
}

func readBlocks(t *testing.T, path, text string) (blocks []block) {
	t.Helper()
	var b block
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSuffix(lines[i], "\n")
		switch {
		case b.input == nil && (line == "" || line[0] == '#'):
			b.before += lines[i]
			continue
		case line == "":
			t.Fatalf("%s:%d: input without ----", path, i+1)
		case line != "----":
			if b.input == nil {
				b.line = i + 1
			}
			b.input = append(b.input, line)
			continue
		}
		for i++; i < len(lines) && strings.TrimSuffix(lines[i], "\n") != ""; i++ {
			b.want += lines[i]
		}
		i--
		blocks = append(blocks, b)
		b = block{}
	}
	return append(blocks, b)
}

// stage is what a transcript plays on.
type stage struct {
	t       *testing.T
	clock   *ttl.Manual
	addr    string
	clients map[string]*client
}

type client struct {
	net.Conn
	r *bufio.Reader
}

// play runs the lines of one block and returns what they answer.
func (s *stage) play(input []string) string {
	s.t.Helper()
	if input[0] == "pipeline" {
		return s.pipeline(input[1:])
	}
	var out strings.Builder
	for _, line := range input {
		out.WriteString(s.playLine(line))
	}
	return out.String()
}

func (s *stage) playLine(line string) string {
	s.t.Helper()
	who, line := cutClient(line)
	words := splitWords(s.t, line)
	switch words[0] {
	case "server":
		s.start(words[1:])
		return ""
	case "advance":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.clock.Advance(d)
		return ""
	}
	c := s.client(who)
	switch words[0] {
	case "silent":
		c.send(s.t, encode(words[1:]))
		return ""
	case "quiet":
		c.send(s.t, encode(words[1:]))
		readValue(s.t, c.r)
		return ""
	case "raw":
		c.send(s.t, words[1])
	case "end":
		return c.readEnd(s.t)
	case "sorted":
		c.send(s.t, encode(words[1:]))
		v := readValue(s.t, c.r)
		slices.SortFunc(v.elements, func(a, b value) int { return strings.Compare(a.text, b.text) })
		return v.show("")
	default:
		c.send(s.t, encode(words))
	}
	v := readValue(s.t, c.r)
	return v.show("")
}

func (s *stage) pipeline(lines []string) (shown string) {
	s.t.Helper()
	var all strings.Builder
	who, _ := cutClient(lines[0])
	for _, line := range lines {
		_, line = cutClient(line)
		all.WriteString(encode(splitWords(s.t, line)))
	}
	c := s.client(who)
	c.send(s.t, all.String())
	for range lines {
		v := readValue(s.t, c.r)
		shown += v.show("")
	}
	return shown
}

// start starts the server with the settings of a "server" line.
func (s *stage) start(words []string) {
	s.t.Helper()
	if s.addr != "" {
		s.t.Fatal("the server runs already")
	}
	var config Config
	var users []string
	for _, word := range words {
		name, text, _ := strings.Cut(word, "=")
		var err error
		switch name {
		case "password":
			config.Settings.Password = text
		case "databases":
			config.Databases, err = strconv.Atoi(text)
		case "user":
			users = append(users, text)
		case "maxclients":
			config.Settings.MaxClients, err = strconv.Atoi(text)
		default:
			err = errors.New("no such setting")
		}
		if err != nil {
			s.t.Fatalf("%s: %v", word, err)
		}
	}
	var err error
	if config.Users, err = ParseUsers(users); err != nil {
		s.t.Fatal(err)
	}
	_, s.addr = startServer(s.t, s.clock, config)
}

func (s *stage) client(who string) *client {
	s.t.Helper()
	if s.addr == "" {
		s.start(nil)
	}
	c := s.clients[who]
	if c == nil {
		nc, r := dialServer(s.t, s.addr)
		c = &client{nc, r}
		s.clients[who] = c
	}
	return c
}

func (c *client) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// readEnd shows what comes before the connection ends.
func (c *client) readEnd(t *testing.T) string {
	t.Helper()
	rest, err := io.ReadAll(c.r)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Fatal("the connection does not end")
	}
	if len(rest) > 0 {
		return fmt.Sprintf("%q (end)\n", rest)
	}
	return "(end)\n"
}

// cutClient splits "2> get k". The connection without a number is the first.
func cutClient(line string) (who, rest string) {
	if who, rest, ok := strings.Cut(line, "> "); ok {
		if _, err := strconv.Atoi(who); err == nil {
			return who, rest
		}
	}
	return "1", line
}

func splitWords(t *testing.T, line string) (words []string) {
	t.Helper()
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] != '"' {
			word, rest, _ := strings.Cut(line, " ")
			words, line = append(words, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		word, _ := strconv.Unquote(quoted) // QuotedPrefix has checked it
		line = line[len(quoted):]
		if strings.HasPrefix(line, "*") {
			times, rest, _ := strings.Cut(line[1:], " ")
			n, err := strconv.Atoi(times)
			if err != nil {
				t.Fatal(err)
			}
			word, line = strings.Repeat(word, n), rest
		}
		words = append(words, word)
	}
	return words
}

func encode(words []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	return b.String()
}

// value is a reply: its mark on the wire, its text, and its elements.
type value struct {
	mark     byte
	text     string
	null     bool
	elements []value
}

func readValue(t *testing.T, r *bufio.Reader) value {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil || len(line) < 3 || line[len(line)-2] != '\r' {
		t.Fatalf("reply = %q, %v", line, err)
	}
	v := value{mark: line[0], text: line[1 : len(line)-2]}
	if !strings.ContainsRune("$=*%~>", rune(v.mark)) {
		return v
	}
	n, err := strconv.Atoi(v.text)
	switch {
	case err != nil:
		t.Fatalf("length = %q", line)
	case n < 0:
		v.null = true
	case v.mark == '$' || v.mark == '=':
		v.text = readBulk(t, r, n)
	default:
		if v.mark == '%' {
			n *= 2
		}
		for range n {
			v.elements = append(v.elements, readValue(t, r))
		}
	}
	return v
}

func readBulk(t *testing.T, r *bufio.Reader, n int) string {
	t.Helper()
	b := make([]byte, n+2)
	if _, err := io.ReadFull(r, b); err != nil || string(b[n:]) != "\r\n" {
		t.Fatalf("bulk of %d bytes = %q, %v", n, b, err)
	}
	return string(b[:n])
}

// show returns the lines of a reply; indent goes before all but the first.
func (v *value) show(indent string) string {
	switch v.mark {
	case '+':
		return v.text + "\n"
	case '-':
		return "(error) " + v.text + "\n"
	case ':':
		return "(integer) " + v.text + "\n"
	case '_':
		return "(null)\n"
	case ',':
		return "(double) " + v.text + "\n"
	case '#':
		return "(" + map[string]string{"t": "true", "f": "false"}[v.text] + ")\n"
	case '$':
		if v.null {
			return "(nil)\n"
		}
		return quote(v.text) + "\n"
	case '=':
		return "(" + v.text[:3] + ") " + quote(v.text[4:]) + "\n"
	}
	return v.showElements(indent)
}

func (v *value) showElements(indent string) string {
	switch {
	case v.null:
		return "(nil array)\n"
	case len(v.elements) == 0:
		return map[byte]string{'*': "(empty array)\n", '%': "(empty map)\n", '~': "(empty set)\n"}[v.mark]
	}
	var b strings.Builder
	number := func(i int) string {
		prefix := fmt.Sprintf("%d%c ", i+1, map[byte]rune{'*': ')', '%': '#', '~': '~', '>': '>'}[v.mark])
		if i > 0 {
			b.WriteString(indent)
		}
		b.WriteString(prefix)
		return indent + strings.Repeat(" ", len(prefix))
	}
	if v.mark == '%' {
		for i := 0; i < len(v.elements); i += 2 {
			deeper := number(i / 2)
			key := v.elements[i].show(deeper)
			b.WriteString(strings.TrimSuffix(key, "\n") + " => " + v.elements[i+1].show(deeper))
		}
		return b.String()
	}
	for i := range v.elements {
		deeper := number(i)
		b.WriteString(v.elements[i].show(deeper))
	}
	return b.String()
}

// quote abbreviates what is too long to be read.
func quote(s string) string {
	if len(s) > 2000 {
		return fmt.Sprintf("%q... (%d bytes)", s[:20], len(s))
	}
	return strconv.Quote(s)
}
