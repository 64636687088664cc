package diff

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Story is a text file of lines that belong together. It starts with empty servers.
type Story struct {
	Path   string
	Server []string // flags for servers of its own; such a story begins without HELLO
	steps  []step
}

// step is one line of a story.
type step struct {
	number int // of the line in the file
	conn   int
	verb   string
	rule   Rule
	args   []string
	text   string // of inline and raw
}

// toleranceSeconds is how far apart the two servers may hear the same line.
const toleranceSeconds = 5

// ReadStory reads the story at path. A line has a verb, which says how strictly the replies
// are compared, and a command; "2>" in front sends it on a second connection.
//
//	do GET k               byte for byte
//	sorted KEYS *          arrays in any order
//	approx TTL k           integers within 5 seconds
//	approxms PTTL k        integers within 5000 milliseconds
//	error "ERR" GET        errors that begin alike
//	shape CLIENT LIST      the type only
//	accepted HELLO         may differ as the list of accepted differences says
//	silent PING            no reply (CLIENT REPLY); the next line shows if there was one
//	closed QUIT            everything up to the end of the connection
//	dropped                the connection ends without being asked
//	inline SET k "a b"     the rest of the line as it is, and every reply to it
//	raw "*1\r\n$4\r\n"     these bytes, and every reply to them
//	scan MATCH a* COUNT 3  SCAN from 0 to 0; the keys found, in any order
//	gone k                 waits until database 0 has no k
//	server --databases 4   servers of its own with these flags; the first line only
//
// In a word {id:2} is the id of connection 2 and {now+60} a Unix time; {nowms+60000} has
// milliseconds.
func ReadStory(path string) (*Story, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	story := &Story{Path: path}
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if flags, ok := strings.CutPrefix(line, "server "); ok {
			story.Server = strings.Fields(flags)
			continue
		}
		s, err := parseStep(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		s.number = i + 1
		story.steps = append(story.steps, s)
	}
	return story, nil
}

func parseStep(line string) (step, error) {
	s := step{conn: 1}
	if first, rest, ok := strings.Cut(line, "> "); ok {
		if n, err := strconv.Atoi(first); err == nil {
			s.conn, line = n, strings.TrimSpace(rest)
		}
	}
	var rest string
	s.verb, rest, _ = strings.Cut(line, " ")
	if s.verb == "inline" {
		s.text = rest + "\r\n"
		return s, nil
	}
	var err error
	if s.args, err = Split(rest); err != nil {
		return s, err
	}
	want := 1
	switch s.verb {
	case "do", "silent", "closed":
	case "gone":
		s.args = append([]string{"EXISTS"}, s.args...)
	case "accepted":
		s.rule.listed = true
	case "sorted":
		s.rule.kind = sorted
	case "approx":
		s.rule = Rule{kind: approx, tolerance: toleranceSeconds}
	case "approxms":
		s.rule = Rule{kind: approx, tolerance: toleranceSeconds * 1000}
	case "shape":
		s.rule.kind = shape
	case "error":
		if want = 2; len(s.args) >= want {
			s.rule = Rule{kind: kindly, prefix: s.args[0]}
			s.args, want = s.args[1:], 1
		}
	case "raw":
		s.text = strings.Join(s.args, "")
	case "scan", "dropped":
		want = 0
	default:
		return s, fmt.Errorf("no such verb: %s", s.verb)
	}
	if len(s.args) < want {
		return s, fmt.Errorf("%s wants a command", s.verb)
	}
	return s, nil
}
