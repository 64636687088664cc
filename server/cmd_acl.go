package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/ttl"
)

func runACLWhoAmI(c *call) error {
	c.out.BulkString(c.user.Name())
	return nil
}

func runACLUsers(c *call) error {
	users := c.srv.acl.Sorted()
	c.out.Array(len(users))
	for _, u := range users {
		c.out.BulkString(u.Name())
	}
	return nil
}

func runACLList(c *call) error {
	c.lines(c.srv.acl.Lines())
	return nil
}

func (c *call) lines(lines []string) {
	c.out.Array(len(lines))
	for _, line := range lines {
		c.out.BulkString(line)
	}
}

func runACLGetUser(c *call) error {
	u := c.srv.acl.Find(c.arg(2))
	if u == nil {
		c.out.Null()
		return nil
	}
	rules := u.Rules()
	w := &c.out
	w.Map(6)
	w.BulkString("flags")
	flags := rules.Flags()
	w.Set(len(flags))
	for _, flag := range flags {
		w.BulkString(flag)
	}
	w.BulkString("passwords")
	c.lines(rules.Passwords())
	selectors := rules.Selectors()
	writeSelector(w, &selectors[0])
	w.BulkString("selectors")
	others := selectors[1:]
	w.Array(len(others))
	for i := range others {
		w.Map(3)
		writeSelector(w, &others[i])
	}
	return nil
}

// writeSelector appends three pairs of a map.
func writeSelector(w *resp.Writer, s *acl.Selector) {
	w.BulkString("commands")
	w.BulkString(s.Commands())
	w.BulkString("keys")
	w.BulkString(s.Keys())
	w.BulkString("channels")
	w.BulkString(s.Channels())
}

// runACLSetUser applies all rules or none. As in Redis, connections of the user stay logged in,
// even when the rules switch the user off.
func runACLSetUser(c *call) error {
	words := make([]string, 0, len(c.args)-3)
	for _, arg := range c.args[3:] {
		words = append(words, string(arg))
	}
	if err := c.srv.acl.Set(c.arg(2), words, c.srv.public()); err != nil {
		return errACL(err)
	}
	c.out.OK()
	return nil
}

// public reports whether the server may not let the default user log in without a password.
func (s *Server) public() bool {
	settings := s.settings.get()
	return settings.public()
}

// runACLDelUser closes the connections of the users it deletes.
func runACLDelUser(c *call) error {
	var names []string
	for _, arg := range c.args[2:] {
		if string(arg) == acl.DefaultName {
			return errDeleteDefault
		}
		names = append(names, string(arg))
	}
	removed := c.srv.acl.Remove(names)
	c.closeUsers(removed)
	c.out.Int(int64(len(removed)))
	return nil
}

// closeUsers closes the connections of deleted users. If this connection is one of them, it is
// closed after its reply.
func (c *call) closeUsers(removed []*acl.User) {
	gone := make(map[*acl.User]bool, len(removed))
	for _, u := range removed {
		gone[u] = true
	}
	for _, other := range c.srv.clients(nil) {
		other.mu.Lock()
		u := other.info.user
		other.mu.Unlock()
		switch {
		case other == c.conn: // its info may be out of date
			c.closing = c.closing || gone[c.user]
		case gone[u]:
			other.cut()
		}
	}
}

// runACLCat lists the categories, or the commands of one.
func runACLCat(c *call) error {
	var names []string
	switch len(c.args) {
	case 2:
		names = acl.Categories()
	case 3:
		category := strings.ToLower(c.arg(2))
		if !slices.Contains(acl.Categories(), category) {
			return errUnknownCategory(c.args[2])
		}
		for _, cmd := range c.srv.table.all {
			if slices.Contains(cmd.categories(), category) {
				names = append(names, cmd.fullName())
			}
		}
	default:
		return errSubcommandUse(c.args[1], "ACL")
	}
	c.lines(names)
	return nil
}

const (
	genPassBits    = 256
	maxGenPassBits = 4096
)

// runACLGenPass makes a password of hexadecimal digits, as many as the bits need.
func runACLGenPass(c *call) error {
	bits := int64(genPassBits)
	switch {
	case len(c.args) > 3:
		return errSubcommandUse(c.args[1], "ACL")
	case len(c.args) == 3:
		n, ok := resp.ParseInt(c.args[2])
		switch {
		case !ok:
			return errNotInteger
		case n < 1 || n > maxGenPassBits:
			return errGenPass
		}
		bits = n
	}
	digits := (bits + 3) / 4
	secret := make([]byte, (digits+1)/2)
	_, _ = rand.Read(secret) // it never fails
	c.out.BulkString(hex.EncodeToString(secret)[:digits])
	return nil
}

// runACLDryRun replies to a denial with a string, not with an error, as Redis does.
func runACLDryRun(c *call) error {
	u := c.srv.acl.Find(c.arg(2))
	if u == nil {
		return errDryRunUser(c.args[2])
	}
	line := c.args[3:]
	cmd, err := c.srv.table.find(line)
	switch {
	case cmd == nil:
		return errDryRunCommand(line[0])
	case err != nil:
		return err
	}
	switch why, at := u.Rules().Check(&cmd.rights, line); why {
	case acl.DeniedCommand:
		c.out.BulkString("This user has no permissions to run the '" + cmd.fullName() + "' command")
	case acl.DeniedKey:
		c.out.BulkString("This user has no permissions to access the '" + cString(line[at]) + "' key")
	default:
		c.out.OK()
	}
	return nil
}

const aclLogCount = 10 // entries that ACL LOG returns without a count

func runACLLog(c *call) error {
	log := &c.srv.acl.Log
	count := int64(aclLogCount)
	switch {
	case len(c.args) > 3:
		return errSubcommandUse(c.args[1], "ACL")
	case len(c.args) == 3 && c.is(2, "RESET"):
		log.Reset()
		c.out.OK()
		return nil
	case len(c.args) == 3:
		n, ok := resp.ParseInt(c.args[2])
		if !ok {
			return errNotInteger
		}
		count = min(max(n, 0), math.MaxInt32)
	}
	now := c.srv.keyspace.Now()
	entries := log.Latest(int(count))
	c.out.Array(len(entries))
	for i := range entries {
		writeLogEntry(&c.out, &entries[i], now)
	}
	return nil
}

// writeLogEntry appends an entry of the log. The context says whether the command was part of a
// transaction.
func writeLogEntry(w *resp.Writer, e *acl.Entry, now ttl.Instant) {
	context := "toplevel"
	if e.Multi {
		context = "multi"
	}
	w.Map(7)
	w.BulkString("count")
	w.Int(e.Count)
	w.BulkString("reason")
	w.BulkString(e.Why.Reason())
	w.BulkString("context")
	w.BulkString(context)
	w.BulkString("object")
	w.BulkString(e.Object)
	w.BulkString("username")
	w.BulkString(e.User)
	w.BulkString("age-seconds")
	w.Double(float64(max(0, now-e.At)) / 1000)
	w.BulkString("client-info")
	w.BulkString(e.Client)
}

// runACLLoad closes the connections of all users except the default one, as in Redis 7.0: the
// users of the file replace them, even where the names are the same.
func runACLLoad(c *call) error {
	removed, err := c.srv.acl.Load(c.srv.public())
	var lines acl.LinesError
	switch {
	case errors.Is(err, acl.ErrNoFile):
		return errNoACLFile
	case errors.As(err, &lines):
		return errACLLines(lines)
	case err != nil:
		return errACL(err)
	}
	c.closeUsers(removed)
	c.out.OK()
	return nil
}

func runACLSave(c *call) error {
	switch err := c.srv.acl.Save(); {
	case errors.Is(err, acl.ErrNoFile):
		return errNoACLFile
	case err != nil:
		c.srv.log.Error("ACL users could not be saved", "err", err)
		return errACLSave
	}
	c.out.OK()
	return nil
}
