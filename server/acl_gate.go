package server

import (
	"strings"

	"github.com/sessiond/sessiond/server/acl"
)

// permit asks whether the connection's user may run a command line. It costs one load for
// a user with all rights.
func (c *conn) permit(cmd *command, args [][]byte) error {
	rules := c.user.Rules()
	if rules.Unlimited() {
		return nil
	}
	if rules.Deleted() {
		c.closing = true // who deleted the user is about to cut the connection
		return errNoAuth
	}
	switch why, at := rules.Check(&cmd.rights, args); why {
	case acl.DeniedCommand:
		c.denied(why, cmd.fullName(), c.user.Name(), c.transaction.open)
		return errNoPermCommand(cmd.fullName())
	case acl.DeniedKey:
		c.denied(why, string(args[at]), c.user.Name(), c.transaction.open)
		return errNoPermKey
	}
	return nil
}

// enter lets a connection in that began when the default user needed a password, which it
// no longer does.
func (c *conn) enter() bool {
	if c.user == c.srv.acl.Default() && c.user.Rules().Open() {
		c.setLoggedIn(true)
	}
	return c.loggedIn
}

// permitQueued asks again at EXEC: the rules may have changed since a command was queued.
func (c *conn) permitQueued(q queuedCommand) error {
	rules := c.user.Rules()
	if rules.Unlimited() {
		return nil
	}
	switch why, at := rules.Check(&q.cmd.rights, q.args); why {
	case acl.DeniedCommand:
		c.denied(why, q.cmd.fullName(), c.user.Name(), true)
		return errNoPermQueued("no permission to execute the command or subcommand")
	case acl.DeniedKey:
		c.denied(why, string(q.args[at]), c.user.Name(), true)
		return errNoPermQueued("no permission to touch the specified keys")
	}
	return nil
}

// denied counts a refusal and tells ACL LOG.
func (c *conn) denied(why acl.Denial, object, user string, multi bool) {
	c.srv.stats.denied[why].Add(1)
	now := c.srv.keyspace.Now()
	client := strings.TrimSuffix(c.describe(now), "\n")
	c.srv.acl.Log.Add(acl.Event{Why: why, Multi: multi, Object: object, User: user}, now, client)
}

// logInAs makes the connection the user's if the password is right. The pause of a failed
// login is only noted: this may be running in a transaction, which holds locks.
func (c *call) logInAs(name string, password []byte) error {
	u := c.srv.acl.Authenticate(name, password)
	if u == nil {
		c.denied(acl.DeniedAuth, c.arg(0), name, c.transaction.open || c.tx != nil)
		c.penalty += c.srv.failedLogins.add(c.conn, name)
		return errWrongPass
	}
	c.user = u
	c.setLoggedIn(true)
	return nil
}
