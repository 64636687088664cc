package diff

import (
	"fmt"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// sentinel is a command that nobody has: its error, which comes before login and inside
// MULTI too, ends the replies to raw bytes.
const sentinel = "end-of-raw-replies"

// Tell plays the story in RESP2 or RESP3 and returns the differences. The error says that
// the story could not be played.
func (p *Pair) Tell(story *Story, protocol int) ([]Difference, error) {
	t := &teller{Pair: p, story: story, protocol: protocol, sessions: map[int]*session{}}
	defer t.close()
	if story.Server == nil {
		if err := p.flush(); err != nil {
			return nil, err
		}
	}
	var differences []Difference
	for _, s := range story.steps {
		d, err := t.play(s)
		if err != nil {
			return differences, fmt.Errorf("%s: %w", t.where(s), err)
		}
		if d != nil {
			d.Where = t.where(s)
			differences = append(differences, *d)
		}
	}
	return differences, nil
}

// flush empties both servers.
func (p *Pair) flush() error {
	s, err := p.dial()
	if err != nil {
		return err
	}
	defer s.close()
	if oracle, subject := s.ask([]string{"FLUSHALL"}); oracle[0] != "+OK\r\n" || subject[0] != "+OK\r\n" {
		return fmt.Errorf("FLUSHALL: %q and %q", oracle[0], subject[0])
	}
	return nil
}

// teller plays one story.
type teller struct {
	*Pair
	story    *Story
	protocol int
	sessions map[int]*session
}

func (t *teller) where(s step) string {
	return fmt.Sprintf("%s:%d (RESP%d)", filepath.Base(t.story.Path), s.number, t.protocol)
}

func (t *teller) close() {
	for _, s := range t.sessions {
		s.close()
	}
}

// session returns connection n, dialled when it is first used.
func (t *teller) session(n int) (*session, error) {
	if s := t.sessions[n]; s != nil {
		return s, nil
	}
	s, err := t.dial()
	if err != nil {
		return nil, err
	}
	t.sessions[n] = s
	if t.story.Server == nil && t.protocol == 3 {
		if oracle, subject := s.ask([]string{"HELLO", "3"}); oracle[0][0] != '%' || subject[0][0] != '%' {
			return nil, fmt.Errorf("HELLO 3: %q and %q", oracle[0], subject[0])
		}
	}
	return s, nil
}

// hangUp forgets connection n; the next line on it dials again.
func (t *teller) hangUp(n int) {
	t.sessions[n].close()
	delete(t.sessions, n)
}

// play plays one step. A nil Difference says that the replies agree.
func (t *teller) play(st step) (*Difference, error) {
	s, err := t.session(st.conn)
	if err != nil {
		return nil, err
	}
	oracleArgs, subjectArgs, err := t.expand(st.args)
	if err != nil {
		return nil, err
	}
	pick := func(c *client) []string {
		if c == s.oracle {
			return oracleArgs
		}
		return subjectArgs
	}
	args := st.args
	var oracle, subject string
	switch st.verb {
	case "silent":
		s.both(func(c *client) string { <-c.send(frame(args)); return "" })
		return nil, nil
	case "gone":
		return nil, t.waitGone(args)
	case "closed":
		oracle, subject = s.both(func(c *client) string { c.send(frame(pick(c))); return c.rest() })
		t.hangUp(st.conn)
	case "dropped":
		args = []string{"(nothing)"}
		oracle, subject = s.both(func(c *client) string { c.send(""); return c.rest() })
		t.hangUp(st.conn)
	case "inline", "raw":
		args = []string{st.verb, st.text}
		oracle, subject = s.both(func(c *client) string { return c.askRaw(st.text) })
		if strings.HasSuffix(oracle, closed) || strings.HasSuffix(subject, closed) {
			t.hangUp(st.conn)
		}
	case "scan":
		args = append([]string{"SCAN", "0"}, st.args...)
		oracle, subject = s.both(func(c *client) string { return c.scan(st.args) })
	default:
		oracle, subject = s.both(func(c *client) string { return c.ask(pick(c))[0] })
	}
	if strings.HasSuffix(oracle, silence) {
		return nil, fmt.Errorf("the oracle does not answer %s", Quote(args))
	}
	if t.judge(&s.queue, args, st.rule, oracle, subject) {
		return nil, nil
	}
	return &Difference{Line: Line{st.conn, args}, Rule: st.rule, Oracle: oracle, Subject: subject}, nil
}

var placeholder = regexp.MustCompile(`\{(id:|now\+|nowms\+)(-?\d+)\}`)

// expand replaces the placeholders in args, for each server.
func (t *teller) expand(args []string) (oracle, subject []string, err error) {
	for _, arg := range args {
		o, s := arg, arg
		if m := placeholder.FindStringSubmatch(arg); m != nil {
			n, _ := strconv.Atoi(m[2]) // digits
			a, b := int64(0), int64(0)
			switch m[1] {
			case "now+":
				a = time.Now().Unix() + int64(n)
				b = a
			case "nowms+":
				a = time.Now().UnixMilli() + int64(n)
				b = a
			case "id:":
				if a, b, err = t.ids(n); err != nil {
					return nil, nil, err
				}
			}
			o = strings.Replace(arg, m[0], strconv.FormatInt(a, 10), 1)
			s = strings.Replace(arg, m[0], strconv.FormatInt(b, 10), 1)
		}
		oracle, subject = append(oracle, o), append(subject, s)
	}
	return oracle, subject, nil
}

// ids asks both servers for the id of connection n.
func (t *teller) ids(n int) (oracle, subject int64, err error) {
	s, err := t.session(n)
	if err != nil {
		return 0, 0, err
	}
	a, b := s.ask([]string{"CLIENT", "ID"})
	if _, err := fmt.Sscanf(a[0]+b[0], ":%d\r\n:%d\r\n", &oracle, &subject); err != nil {
		return 0, 0, fmt.Errorf("CLIENT ID: %q and %q", a[0], b[0])
	}
	return oracle, subject, nil
}

// waitGone polls both servers, on a connection of its own, until the key is not there.
func (t *teller) waitGone(exists []string) error {
	s, err := t.dial()
	if err != nil {
		return err
	}
	defer s.close()
	for deadline := time.Now().Add(patience); ; {
		oracle, subject := s.ask(exists)
		if oracle[0] == ":0\r\n" && subject[0] == ":0\r\n" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still there: %q and %q", exists[1], oracle[0], subject[0])
		}
		time.Sleep(2 * time.Millisecond) // polling a real process
	}
}

// askRaw sends bytes and returns every reply to them.
func (c *client) askRaw(text string) string {
	c.send(text + frame([]string{sentinel}))
	return c.upTo(sentinel)
}

// scan follows the cursor from 0 to 0 and returns the keys as one sorted array. A key that
// comes twice counts once.
func (c *client) scan(options []string) string {
	found := map[string]bool{}
	for cursor, pages := "0", 0; cursor != "0" || pages == 0; pages++ {
		raw := c.ask(append([]string{"SCAN", cursor}, options...))[0]
		page, _ := parse(raw)
		if page.kind != '*' || len(page.elems) != 2 || page.elems[0].kind != '$' || pages > 10_000 {
			return raw
		}
		cursor = page.elems[0].text
		for _, k := range page.elems[1].elems {
			found[k.raw] = true
		}
	}
	keys := make([]string, 0, len(found))
	for k := range found {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return fmt.Sprintf("*%d\r\n%s", len(keys), strings.Join(keys, ""))
}
