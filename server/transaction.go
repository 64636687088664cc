package server

import (
	"bytes"
	"errors"

	"github.com/sessiond/sessiond/storage"
)

// transaction is the state of MULTI and WATCH on one connection.
type transaction struct {
	open    bool // after MULTI
	spoiled bool // a command could not be queued: EXEC will refuse
	queued  []queuedCommand
	watched []watchedKey
}

type queuedCommand struct {
	cmd  *command
	args [][]byte
}

type watchedKey struct {
	key  storage.Key
	mark storage.Mark
}

// queues reports whether cmd waits for EXEC instead of running now.
func (t *transaction) queues(cmd *command) bool {
	if !t.open {
		return false
	}
	switch cmd.name {
	case "exec", "discard", "multi", "watch", "quit", "reset":
		return cmd.container != ""
	}
	return true
}

// queue keeps a copy of the command line: the arguments lie in the read buffer.
func (t *transaction) queue(cmd *command, args [][]byte) {
	kept := make([][]byte, len(args))
	for i, arg := range args {
		kept[i] = bytes.Clone(arg)
	}
	t.queued = append(t.queued, queuedCommand{cmd, kept})
}

func (t *transaction) spoil() { t.spoiled = t.open }

// reset forgets the queue and the watched keys.
func (t *transaction) reset() { *t = transaction{} }

func runMulti(c *call) error {
	if c.transaction.open {
		return errNestedMulti
	}
	c.transaction.open = true
	c.out.ok()
	return nil
}

func runDiscard(c *call) error {
	if !c.transaction.open {
		return errDiscardNoMulti
	}
	c.transaction.reset()
	c.out.ok()
	return nil
}

func runUnwatch(c *call) error {
	c.transaction.watched = nil
	c.out.ok()
	return nil
}

// runWatch remembers the marks of the keys. It opens its View itself, because a
// transaction's rows are decided by flags and Redis gives WATCH none.
func runWatch(c *call) error {
	if c.transaction.open {
		return errWatchInMulti
	}
	scope, err := c.scope()
	if err != nil {
		return err
	}
	var marks []watchedKey
	err = c.transact(scope, false, func(tx *storage.Tx) error {
		marks = marks[:0]
		for _, k := range scope.Keys {
			mark, err := tx.Mark(k)
			if err != nil {
				return err
			}
			marks = append(marks, watchedKey{storage.Key{DB: k.DB, Name: bytes.Clone(k.Name)}, mark})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range marks {
		if !c.transaction.watches(m.key) {
			c.transaction.watched = append(c.transaction.watched, m)
		}
	}
	c.out.ok()
	return nil
}

func (t *transaction) watches(k storage.Key) bool {
	for _, w := range t.watched {
		if w.key.DB == k.DB && bytes.Equal(w.key.Name, k.Name) {
			return true
		}
	}
	return false
}

// errChanged ends an EXEC whose watched keys were changed.
var errChanged = errors.New("watched key changed")

// runExec runs the queue as one update. A reply error inside is that command's element
// and the others still run; an engine error undoes and refuses all of them.
func runExec(c *call) error {
	t := c.transaction
	if !t.open {
		return errExecNoMulti
	}
	c.transaction.reset()
	if t.spoiled {
		return errExecAbort
	}
	scope, update, err := c.execScope(&t)
	if err != nil {
		return err
	}
	begin, db := len(c.out.b), c.db
	err = c.transact(scope, update, func(tx *storage.Tx) error {
		c.out.b = c.out.b[:begin]
		c.db = db
		if err := t.unchanged(tx); err != nil {
			return err
		}
		return c.runQueue(&t, tx)
	})
	if errors.Is(err, errChanged) {
		c.out.nullArray()
		return nil
	}
	if err != nil {
		c.db = db
	}
	return err
}

// unchanged returns errChanged unless every watched key is as it was at WATCH.
func (t *transaction) unchanged(tx *storage.Tx) error {
	for _, w := range t.watched {
		mark, err := tx.Mark(w.key)
		if err != nil {
			return err
		}
		if mark != w.mark {
			return errChanged
		}
	}
	return nil
}

func (c *call) runQueue(t *transaction, tx *storage.Tx) error {
	c.out.array(len(t.queued))
	for _, q := range t.queued {
		begin := len(c.out.b)
		c.srv.stats.called(q.cmd)
		err := q.cmd.run(&call{conn: c.conn, cmd: q.cmd, args: q.args, tx: tx})
		if err == nil {
			continue
		}
		c.srv.stats.failed(q.cmd)
		var reply replyError
		if !errors.As(err, &reply) && !errors.Is(err, storage.ErrWrongKind) {
			return err
		}
		c.out.b = c.out.b[:begin]
		c.out.fail(c.replyTo(err))
	}
	return nil
}

// execScope joins the scopes of the queued commands and the watched keys, following
// SELECT, and tells whether any of them writes.
func (c *call) execScope(t *transaction) (scope storage.Scope, update bool, err error) {
	for _, w := range t.watched {
		scope.Keys = append(scope.Keys, w.key)
	}
	db := c.db
	defer func() { c.db = db }()
	for _, q := range t.queued {
		if q.cmd.name == "select" {
			if n, err := parseDB(q.args[1], c.srv.databases); err == nil {
				c.db = n
			}
		}
		if !q.cmd.is(write | readonly) {
			continue
		}
		update = update || q.cmd.is(write)
		s, err := (&call{conn: c.conn, cmd: q.cmd, args: q.args}).scope()
		var reply replyError
		if errors.As(err, &reply) {
			continue // the command itself will say so, before it touches anything
		}
		if err != nil {
			return scope, update, err
		}
		// A read through a database must see what the transaction itself wrote.
		scope.All = scope.All || s.All || len(s.Keys) == 0
		scope.Keys = append(scope.Keys, s.Keys...)
	}
	return scope, update, nil
}

// parseDB reads the index of a database, below databases.
func parseDB(arg []byte, databases int) (int, error) {
	n, ok := parseInt(arg)
	switch {
	case !ok:
		return 0, errNotInteger
	case n != int64(int32(n)):
		return 0, errIntRange
	case n < 0 || n >= int64(databases):
		return 0, errDBRange
	}
	return int(n), nil
}
