package server

import "strings"

// permit asks whether the connection's user may run a command line. It costs one load for
// a user with all rights.
func (c *conn) permit(cmd *command, args [][]byte) error {
	rules := c.user.rules.Load()
	if rules.unlimited {
		return nil
	}
	if rules.deleted {
		c.closing = true // the one who deleted the user is about to cut it
		return errNoAuth
	}
	switch why, at := rules.check(cmd, args); why {
	case deniedCommand:
		c.denied(why, cmd.fullName(), c.user.name, c.transaction.open)
		return errNoPermCommand(cmd.fullName())
	case deniedKey:
		c.denied(why, string(args[at]), c.user.name, c.transaction.open)
		return errNoPermKey
	}
	return nil
}

// enter lets a connection in that began when the default user needed a password, which it
// no longer does.
func (c *conn) enter() bool {
	if c.user == c.srv.acl.first && c.user.rules.Load().open() {
		c.setLoggedIn(true)
	}
	return c.loggedIn
}

// permitQueued asks again at EXEC: the rules may have changed since a command was queued.
func (c *conn) permitQueued(q queuedCommand) error {
	rules := c.user.rules.Load()
	if rules.unlimited {
		return nil
	}
	switch why, at := rules.check(q.cmd, q.args); why {
	case deniedCommand:
		c.denied(why, q.cmd.fullName(), c.user.name, true)
		return errNoPermQueued("no permission to execute the command or subcommand")
	case deniedKey:
		c.denied(why, string(q.args[at]), c.user.name, true)
		return errNoPermQueued("no permission to touch the specified keys")
	}
	return nil
}

// denied counts a refusal and tells ACL LOG.
func (c *conn) denied(why denial, object, user string, multi bool) {
	c.srv.stats.denied[why].Add(1)
	now := c.srv.keyspace.Now()
	client := strings.TrimSuffix(c.describe(now), "\n")
	c.srv.acl.log.add(aclEvent{why, multi, object, user}, now, client)
}

// logInAs makes the connection the user's if the password is right. The pause of a failed
// login is only noted: this may be running in a transaction, which holds locks.
func (c *call) logInAs(name string, password []byte) error {
	u := c.srv.acl.authenticate(name, password)
	if u == nil {
		c.denied(deniedAuth, c.arg(0), name, c.transaction.open || c.tx != nil)
		c.penalty += c.srv.failedLogins.add(c.conn, name)
		return errWrongPass
	}
	c.user = u
	c.setLoggedIn(true)
	return nil
}
