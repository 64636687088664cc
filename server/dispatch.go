package server

import (
	"context"
	"errors"

	"github.com/sessiond/sessiond/storage"
)

// dispatch answers one command line: it finds the row, asks the gates, queues or runs the
// command, and leaves the reply in c.out.
func (c *conn) dispatch(args [][]byte) {
	begin := c.out.Len()
	cmd, err := c.lookup(args)
	c.lastCommand.Store(cmd)
	if err == nil {
		err = c.authorize(cmd, args)
	}
	switch {
	case err != nil:
		err = c.refuse(cmd, err)
		c.srv.stats.rejected(cmd)
	case c.transaction.queues(cmd):
		c.transaction.queue(cmd, args)
		c.out.Simple("QUEUED")
	default:
		c.call = call{conn: c, cmd: cmd, args: args}
		err = c.execute()
		c.called(cmd, err)
		c.closing = c.closing || err == nil && cmd.is(hangsUp)
		c.forgetCall()
	}
	if err != nil {
		c.out.Truncate(begin)
		c.out.Error(string(c.replyTo(err)))
	}
	c.servePenalty()
	c.applyReplyMode(begin)
	c.publishState()
}

// called counts a command that has run, and its failure if err is not nil. As in Redis a command is
// counted after it has run: INFO does not count itself.
func (c *conn) called(cmd *command, err error) {
	c.tally.commands++
	c.srv.stats.perCommand[cmd.id].calls.Add(1)
	if err != nil {
		c.srv.stats.failed(cmd)
	}
}

// lookup finds the row of a command line and returns an error if the state of the connection forbids
// the command.
func (c *conn) lookup(args [][]byte) (*command, error) {
	cmd, err := c.srv.table.find(args)
	switch {
	case err != nil:
		return cmd, err
	case !c.loggedIn && !cmd.is(noAuth) && !c.autoLogin():
		return cmd, errNoAuth
	case c.transaction.open && cmd.is(noMulti):
		return cmd, errNoMulti
	}
	return cmd, nil
}

// execute runs c.call in the transaction that its row asks for, and leaves the reply in c.out. The
// barrier of what it read or wrote is added to c.owed.
func (c *conn) execute() error {
	cmd := c.call.cmd
	if !cmd.is(write | readonly) {
		return cmd.run(&c.call)
	}
	scope, err := c.call.scope()
	if err != nil {
		return err
	}
	c.begin = c.out.Len()
	return c.transact(scope, cmd.is(write), c.step)
}

// runStep runs c.call in a transaction. It may be a second attempt.
func (c *conn) runStep(tx *storage.Tx) error {
	c.lookups = lookups{}
	c.out.Truncate(c.begin)
	c.call.tx = tx
	return c.call.cmd.run(&c.call)
}

// forgetCall clears the pointers of the call, because the read buffer behind them may be large.
func (c *conn) forgetCall() {
	c.call = call{}
	clear(c.keys)
	if cap(c.keys) > keepArgs {
		c.keys = nil
	}
}

// transact runs fn in an Update or a View. It adds the barrier to c.owed, which must be passed before
// the reply is sent.
func (c *conn) transact(scope storage.Scope, update bool, fn func(*storage.Tx) error) error {
	run := c.srv.keyspace.View
	if update {
		run = c.srv.keyspace.Update
	}
	barrier, err := run(context.Background(), scope, fn)
	c.tally.add(c.lookups)
	c.lookups = lookups{}
	c.owed = max(c.owed, barrier)
	return err
}

// replyTo converts an error into a reply and counts it.
func (c *conn) replyTo(err error) replyError {
	reply := c.translate(err)
	c.srv.stats.erred(reply)
	return reply
}

// translate returns the text of an error. Engine errors are logged here and nowhere else.
func (c *conn) translate(err error) replyError {
	var reply replyError
	switch {
	case errors.As(err, &reply):
		return reply
	case errors.Is(err, storage.ErrWrongKind):
		return errWrongType
	case errors.Is(err, storage.ErrFull):
		return errDiskFull // the store logs when the disk fills and when it has room again
	case errors.Is(err, storage.ErrFailed):
		return errStoreFailed // the store has logged it
	}
	c.srv.log.Error("command failed in storage", "client", c.id, "err", err)
	return errEngine(err)
}
