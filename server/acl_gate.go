package server

import (
	"strings"

	"github.com/sessiond/sessiond/server/acl"
)

// authorize returns an error if the connection's user may not run a command line. For a user with
// all rights it costs one load.
func (c *conn) authorize(cmd *command, args [][]byte) error {
	rules := c.user.Rules()
	if rules.Unlimited() {
		return nil
	}
	if rules.Deleted() {
		c.closing = true // runACLDelUser is about to cut the connection
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

// autoLogin logs a connection in if it began when the default user needed a password, and that user
// no longer needs one.
func (c *conn) autoLogin() bool {
	if c.user == c.srv.acl.Default() && c.user.Rules().Open() {
		c.setLoggedIn(true)
	}
	return c.loggedIn
}

// authorizeQueued checks a queued command again at EXEC: the rules may have changed in between.
func (c *conn) authorizeQueued(q queuedCommand) error {
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

// denied counts a refusal and adds it to ACL LOG.
func (c *conn) denied(why acl.Denial, object, user string, multi bool) {
	c.srv.stats.denied[why].Add(1)
	now := c.srv.keyspace.Now()
	client := strings.TrimSuffix(c.describe(now), "\n")
	c.srv.acl.Log.Add(acl.Event{Why: why, Multi: multi, Object: object, User: user}, now, client)
}

// logInAs logs the connection in as a user if the password is right. It only adds the pause after a
// failed login to c.penalty, because it may run in a transaction, which holds locks.
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
