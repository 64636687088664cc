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
	cmd, err := c.admit(args)
	c.lastCommand.Store(cmd)
	if err == nil {
		err = c.permit(cmd, args)
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
	c.noteState()
}

// called counts a command that was run, which err may say went wrong. As in Redis that is when
// it is over: INFO does not count itself.
func (c *conn) called(cmd *command, err error) {
	c.tally.commands++
	c.srv.stats.perCommand[cmd.id].calls.Add(1)
	if err != nil {
		c.srv.stats.failed(cmd)
	}
}

// admit finds the row of a command line and asks whether this connection may run it now.
func (c *conn) admit(args [][]byte) (*command, error) {
	cmd, err := c.srv.table.find(args)
	switch {
	case err != nil:
		return cmd, err
	case !c.loggedIn && !cmd.is(noAuth) && !c.enter():
		return cmd, errNoAuth
	case c.transaction.open && cmd.is(noMulti):
		return cmd, errNoMulti
	}
	return cmd, nil
}

// execute runs c.call in the transaction its row asks for, and leaves the reply in c.out.
// What it read or wrote is added to the barrier the connection owes.
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

// runStep runs c.call in a transaction, which may be the second attempt.
func (c *conn) runStep(tx *storage.Tx) error {
	c.lookups = lookups{}
	c.out.Truncate(c.begin)
	c.call.tx = tx
	return c.call.cmd.run(&c.call)
}

// forgetCall lets go of what the call pointed to: a read buffer may be large.
func (c *conn) forgetCall() {
	c.call = call{}
	clear(c.keys)
	if cap(c.keys) > keepArgs {
		c.keys = nil
	}
}

// transact runs fn in an Update or a View and notes the barrier that must be passed
// before the reply leaves.
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

// replyTo turns any error into what the client is told, and counts it.
func (c *conn) replyTo(err error) replyError {
	reply := c.translate(err)
	c.srv.stats.erred(reply)
	return reply
}

// translate finds the words for an error. Engine errors are logged here and nowhere else.
func (c *conn) translate(err error) replyError {
	var reply replyError
	switch {
	case errors.As(err, &reply):
		return reply
	case errors.Is(err, storage.ErrWrongKind):
		return errWrongType
	case errors.Is(err, storage.ErrFull):
		return errDiskFull // the store logs when that begins and ends
	case errors.Is(err, storage.ErrFailed):
		return errStoreFailed // the store has logged it
	}
	c.srv.log.Error("command failed in storage", "client", c.id, "err", err)
	return errEngine(err)
}
