package server

import (
	"bytes"
	"strings"

	"github.com/sessiond/sessiond/server/resp"
)

// maxClientText limits the name and the library of a connection, in bytes. Redis has no such limit.
const maxClientText = 4 << 10

// checkClientName refuses a name that would break the lines of CLIENT LIST.
func checkClientName(name []byte) error {
	if !plain(name) {
		return errClientName
	}
	return checkClientText(name)
}

func checkClientText(text []byte) error {
	if len(text) > maxClientText {
		return errClientText
	}
	return nil
}

// plain reports whether b consists of visible ASCII.
func plain(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r < '!' || r > '~' })
}

func (c *conn) setName(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.info.name = name
}

func runClientID(c *call) error {
	c.out.Int(c.id)
	return nil
}

func runClientSetName(c *call) error {
	if err := checkClientName(c.args[2]); err != nil {
		return err
	}
	c.setName(c.arg(2))
	c.out.OK()
	return nil
}

func runClientGetName(c *call) error {
	c.mu.Lock()
	name := c.info.name
	c.mu.Unlock()
	if name == "" {
		c.out.Null()
	} else {
		c.out.BulkString(name)
	}
	return nil
}

// runClientSetInfo follows Redis 7.2: an empty value removes the attribute, any other value must be
// visible ASCII, and the error repeats the name of the attribute as the client wrote it.
func runClientSetInfo(c *call) error {
	var field *string
	switch {
	case c.is(2, "LIB-NAME"):
		field = &c.info.libName
	case c.is(2, "LIB-VER"):
		field = &c.info.libVersion
	default:
		return errClientInfoOption(c.args[2])
	}
	if !plain(c.args[3]) {
		return errClientInfoText(c.args[2])
	}
	if err := checkClientText(c.args[3]); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	*field = c.arg(3)
	c.out.OK()
	return nil
}

func runClientInfo(c *call) error {
	c.out.Verbatim(c.describe(c.srv.keyspace.Now()))
	return nil
}

// clientListOptions select what CLIENT LIST lists. If both are empty it lists all clients.
type clientListOptions struct {
	kind string
	ids  []int64
}

// parseClientList reads either TYPE with one word or ID with one or more ids, as Redis 7 does. A
// repeated id is listed once, so that a short command cannot ask for a huge reply.
func parseClientList(args [][]byte) (clientListOptions, error) {
	var o clientListOptions
	switch {
	case len(args) == 0:
	case len(args) == 2 && equalFold(args[0], "TYPE"):
		kind, err := parseClientKind(args[1])
		if err != nil {
			return o, err
		}
		o.kind = kind
	case len(args) >= 2 && equalFold(args[0], "ID"):
		known := map[int64]bool{}
		for _, arg := range args[1:] {
			id, ok := resp.ParseInt(arg)
			if !ok {
				return o, errClientID
			}
			if !known[id] {
				known[id] = true
				o.ids = append(o.ids, id)
			}
		}
	default:
		return o, errSyntax
	}
	return o, nil
}

// normalClient is the type of all our clients. Redis has others, too.
const normalClient = "normal"

func parseClientKind(arg []byte) (string, error) {
	for _, kind := range []string{normalClient, "slave", "replica", "pubsub", "master"} {
		if equalFold(arg, strings.ToUpper(kind)) {
			return kind, nil
		}
	}
	return "", errClientKind(arg)
}

func runClientList(c *call) error {
	o, err := parseClientList(c.args[2:])
	if err != nil {
		return err
	}
	var list strings.Builder
	now := c.srv.keyspace.Now()
	if o.kind == "" || o.kind == normalClient {
		for _, other := range c.srv.clients(o.ids) {
			list.WriteString(other.describe(now))
		}
	}
	c.out.Verbatim(list.String())
	return nil
}

// clientFilter selects the connections that CLIENT KILL ends: those that match every field that
// is set.
type clientFilter struct {
	id          int64
	kind        string
	user        wantedText
	addr, laddr wantedText
	sparesSelf  bool
	oldForm     bool // CLIENT KILL ip:port
}

// wantedText is a text that a filter asks for. The zero wantedText matches everything. A filter can
// ask for an empty text, too: no address is empty, but the name of a user may be.
type wantedText struct {
	asked bool
	text  string
}

func wanted(text []byte) wantedText { return wantedText{true, string(text)} }

func (w wantedText) accepts(text string) bool { return !w.asked || w.text == text }

// parseClientKill reads the old form, one address, which may be the caller's own, and the new form,
// pairs, which spare the caller unless SKIPME says no. If a pair is repeated the last one counts, as
// in Redis 7.0. known reports whether a user exists.
func parseClientKill(args [][]byte, known func(user string) bool) (clientFilter, error) {
	if len(args) == 1 {
		return clientFilter{addr: wanted(args[0]), oldForm: true}, nil
	}
	f := clientFilter{sparesSelf: true}
	for ; len(args) > 0; args = args[2:] {
		if len(args) == 1 {
			return f, errSyntax
		}
		if err := f.set(args[0], args[1], known); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *clientFilter) set(option, value []byte, known func(user string) bool) (err error) {
	switch {
	case equalFold(option, "ID"):
		id, ok := resp.ParseInt(value)
		if !ok || id < 1 {
			return errClientIDPositive
		}
		f.id = id
	case equalFold(option, "TYPE"):
		f.kind, err = parseClientKind(value)
	case equalFold(option, "ADDR"):
		f.addr = wanted(value)
	case equalFold(option, "LADDR"):
		f.laddr = wanted(value)
	case equalFold(option, "USER"):
		if f.user = wanted(value); !known(f.user.text) {
			return errNoSuchUser(value)
		}
	case equalFold(option, "SKIPME") && equalFold(value, "YES"):
		f.sparesSelf = true
	case equalFold(option, "SKIPME") && equalFold(value, "NO"):
		f.sparesSelf = false
	default:
		return errSyntax
	}
	return err
}

func (f *clientFilter) matches(c *conn) bool {
	c.mu.Lock()
	user := c.info.user.Name()
	c.mu.Unlock()
	return (f.id == 0 || f.id == c.id) &&
		(f.kind == "" || f.kind == normalClient) &&
		f.user.accepts(user) && f.addr.accepts(c.remoteAddr()) && f.laddr.accepts(c.localAddr())
}

func runClientKill(c *call) error {
	f, err := parseClientKill(c.args[2:], func(name string) bool { return c.srv.acl.Find(name) != nil })
	if err != nil {
		return err
	}
	var killed int64
	for _, other := range c.srv.clients(nil) {
		switch {
		case !f.matches(other):
			continue
		case other != c.conn:
			other.cut()
		case f.sparesSelf:
			continue
		default:
			c.closing = true // the reply is sent first
		}
		killed++
	}
	switch {
	case !f.oldForm:
		c.out.Int(killed)
	case killed == 0:
		return errNoSuchClient
	default:
		c.out.OK()
	}
	return nil
}

func runClientNoEvict(c *call) error { return c.switchFlag(&c.info.noEvict) }

func runClientNoTouch(c *call) error { return c.switchFlag(&c.info.noTouch) }

// switchFlag sets a flag that only CLIENT LIST shows to ON or OFF, argument 2.
func (c *call) switchFlag(flag *bool) error {
	on := c.is(2, "ON")
	if !on && !c.is(2, "OFF") {
		return errSyntax
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	*flag = on
	c.out.OK()
	return nil
}

// runClientReply sends a reply only when it turns replies on. SKIP does nothing while replies are
// off. Inside EXEC it is refused; Redis would send an array that is too short.
func runClientReply(c *call) error {
	switch {
	case c.tx != nil:
		return errNoMulti
	case c.is(2, "ON"):
		c.replies = repliesOn
		c.out.OK()
	case c.is(2, "OFF"):
		c.replies = repliesOff
	case c.is(2, "SKIP"):
		if c.replies != repliesOff {
			c.replies = replySkipThis
		}
	default:
		return errSyntax
	}
	return nil
}
