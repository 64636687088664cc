package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/sessiond/sessiond/server/resp"
)

func runACLWhoAmI(c *call) error {
	c.out.BulkString(c.user.name)
	return nil
}

func runACLUsers(c *call) error {
	users := c.srv.acl.sorted()
	c.out.Array(len(users))
	for _, u := range users {
		c.out.BulkString(u.name)
	}
	return nil
}

func runACLList(c *call) error {
	c.lines(c.srv.acl.lines())
	return nil
}

func (c *call) lines(lines []string) {
	c.out.Array(len(lines))
	for _, line := range lines {
		c.out.BulkString(line)
	}
}

func runACLGetUser(c *call) error {
	u := c.srv.acl.find(c.arg(2))
	if u == nil {
		c.out.Null()
		return nil
	}
	rules := u.rules.Load()
	w := &c.out
	w.Map(6)
	w.BulkString("flags")
	flags := rules.flagWords()
	w.Set(len(flags))
	for _, flag := range flags {
		w.BulkString(flag)
	}
	w.BulkString("passwords")
	c.lines(rules.passwordWords())
	rules.selectors[0].writeTo(w)
	w.BulkString("selectors")
	others := rules.selectors[1:]
	w.Array(len(others))
	for i := range others {
		w.Map(3)
		others[i].writeTo(w)
	}
	return nil
}

// writeTo appends three pairs of a map.
func (s *selector) writeTo(w *resp.Writer) {
	w.BulkString("commands")
	w.BulkString(s.describeCommands())
	w.BulkString("keys")
	w.BulkString(s.describeKeys())
	w.BulkString("channels")
	w.BulkString(s.describeChannels())
}

// runACLSetUser does all of it or nothing. Who is logged in as the user stays so, as in
// Redis, even when the user is switched off.
func runACLSetUser(c *call) error {
	name := c.arg(2)
	if hasSpaces(name) {
		return errUserName
	}
	words := make([]string, 0, len(c.args)-3)
	for _, arg := range c.args[3:] {
		words = append(words, string(arg))
	}
	if err := c.srv.acl.set(name, words, c.srv.public()); err != nil {
		return err
	}
	c.out.OK()
	return nil
}

// public reports whether the default user must need a password.
func (s *Server) public() bool {
	settings := s.settings.get()
	return settings.public()
}

// runACLDelUser closes the connections of the users it deletes.
func runACLDelUser(c *call) error {
	var names []string
	for _, arg := range c.args[2:] {
		if string(arg) == defaultUser {
			return errDeleteDefault
		}
		names = append(names, string(arg))
	}
	removed := c.srv.acl.remove(names)
	c.closeUsers(removed)
	c.out.Int(int64(len(removed)))
	return nil
}

// closeUsers closes the connections of users that are no more, this one after its reply.
func (c *call) closeUsers(removed []*user) {
	gone := make(map[*user]bool, len(removed))
	for _, u := range removed {
		gone[u] = true
	}
	for _, other := range c.srv.clients(nil) {
		other.mu.Lock()
		u := other.seen.user
		other.mu.Unlock()
		switch {
		case other == c.conn: // what others see of it may be out of date
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
		names = categoryOrder[:]
	case 3:
		category := strings.ToLower(c.arg(2))
		if !slices.Contains(categoryOrder[:], category) {
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

// runACLDryRun answers a denial with a text that is not an error, as Redis does.
func runACLDryRun(c *call) error {
	u := c.srv.acl.find(c.arg(2))
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
	switch why, at := u.rules.Load().check(cmd, line); why {
	case deniedCommand:
		c.out.BulkString("This user has no permissions to run the '" + cmd.fullName() + "' command")
	case deniedKey:
		c.out.BulkString("This user has no permissions to access the '" + cString(line[at]) + "' key")
	default:
		c.out.OK()
	}
	return nil
}

const aclLogCount = 10 // entries of an ACL LOG without a count

func runACLLog(c *call) error {
	log := &c.srv.acl.log
	count := int64(aclLogCount)
	switch {
	case len(c.args) > 3:
		return errSubcommandUse(c.args[1], "ACL")
	case len(c.args) == 3 && c.is(2, "RESET"):
		log.reset()
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
	entries := log.latest(int(count))
	c.out.Array(len(entries))
	for i := range entries {
		entries[i].writeTo(&c.out, now)
	}
	return nil
}

// runACLLoad closes the connections of all users but the default one, because the users
// of the file are new ones, as in Redis 7.0.
func runACLLoad(c *call) error {
	if c.srv.acl.file == nil {
		return errNoACLFile
	}
	removed, err := c.srv.acl.load(c.srv.public())
	var lines linesError
	var reply replyError
	switch {
	case err == nil:
	case errors.As(err, &lines):
		return errACLLines(lines)
	case errors.As(err, &reply):
		return reply
	default:
		return replyError("ERR " + err.Error())
	}
	c.closeUsers(removed)
	c.out.OK()
	return nil
}

func runACLSave(c *call) error {
	if c.srv.acl.file == nil {
		return errNoACLFile
	}
	if err := c.srv.acl.save(); err != nil {
		c.srv.log.Error("ACL users could not be saved", "err", err)
		return errACLSave
	}
	c.out.OK()
	return nil
}
