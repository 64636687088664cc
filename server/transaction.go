package server

import (
	"errors"
	"strings"
	"unsafe"

	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/storage"
)

// transaction is the state of MULTI and WATCH on one connection.
type transaction struct {
	open    bool // after MULTI
	spoiled bool // a command could not be queued: EXEC will refuse
	queued  []queuedCommand
	watched *watchlist // nil before the first WATCH
	bytes   int        // what queued and watched hold, about
}

type queuedCommand struct {
	cmd  *command
	args [][]byte
}

// maxWritten is how many values of the largest size one EXEC may write. Redis has no such
// limit, but its commands pay for what they make: here 1000 short commands could ask for
// 1000 large values at one moment.
const maxWritten = 4

// What a queued command and a watched key take beside their bytes.
const (
	queuedOverhead  = 64
	watchedOverhead = 128
)

// queues reports whether cmd waits for EXEC instead of running now.
func (t *transaction) queues(cmd *command) bool {
	return t.open && !cmd.is(immediate)
}

// queue keeps a copy of the command line: the arguments lie in the read buffer.
func (t *transaction) queue(cmd *command, args [][]byte) {
	size := 0
	for _, arg := range args {
		size += len(arg)
	}
	kept, text := make([][]byte, len(args)), make([]byte, 0, size)
	for i, arg := range args {
		from := len(text)
		text = append(text, arg...)
		kept[i] = text[from:len(text):len(text)]
	}
	t.queued = append(t.queued, queuedCommand{cmd, kept})
	t.bytes += queuedOverhead + size + len(args)*int(unsafe.Sizeof(kept[0]))
}

func (t *transaction) spoil() { t.spoiled = t.open }

// resetTransaction forgets the queue and the watched keys.
func (c *conn) resetTransaction() {
	c.transaction = transaction{}
	c.watching.Store(nil)
}

// watch remembers a key's mark.
func (c *conn) watch(k storage.Key, mark storage.Mark) {
	t := &c.transaction
	if t.watched == nil {
		t.watched = &watchlist{marks: map[watchedName]storage.Mark{}}
		c.watching.Store(t.watched)
	}
	if t.watched.add(k, mark) {
		t.bytes += watchedOverhead + len(k.Name)
	}
}

func runMulti(c *call) error {
	if c.transaction.open {
		return errNestedMulti
	}
	c.transaction.open = true
	c.out.OK()
	return nil
}

func runDiscard(c *call) error {
	if !c.transaction.open {
		return errDiscardNoMulti
	}
	c.resetTransaction()
	c.out.OK()
	return nil
}

func runUnwatch(c *call) error {
	if c.tx == nil { // inside EXEC the keys are forgotten already
		c.resetTransaction() // outside MULTI nothing is queued
	}
	c.out.OK()
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
	marks := make([]storage.Mark, 0, len(scope.Keys))
	err = c.transact(scope, false, func(tx *storage.Tx) error {
		marks = marks[:0]
		for _, k := range scope.Keys {
			mark, err := tx.Mark(k)
			if err != nil {
				return err
			}
			marks = append(marks, mark)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, mark := range marks {
		c.watch(scope.Keys[i], mark)
	}
	c.out.OK()
	return nil
}

// refuse tells the transaction that a gate did not let a command through, and returns what
// the client is told: an EXEC takes the whole transaction with it.
func (c *conn) refuse(cmd *command, err error) error {
	if cmd == nil || !cmd.is(runsQueue) {
		c.transaction.spoil()
		return err
	}
	c.resetTransaction()
	reason := strings.TrimPrefix(string(c.translate(err)), "ERR ")
	return replyError("EXECABORT Transaction discarded because of: " + reason)
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
	c.transaction = transaction{}
	defer c.watching.Store(nil) // a SWAPDB up to the moment of the update counts
	if t.spoiled {
		return errExecAbort
	}
	scope, update, err := c.execScope(&t)
	if err != nil {
		return err
	}
	begin, db, user := c.out.Len(), c.db, c.user
	err = c.transact(scope, update, func(tx *storage.Tx) error {
		c.out.Truncate(begin)
		c.lookups = lookups{}
		c.db, c.user = db, user
		if err := t.watched.unchanged(tx); err != nil {
			return err
		}
		return c.runQueue(&t, tx)
	})
	if errors.Is(err, errChanged) {
		c.out.NullArray()
		return nil
	}
	if err != nil {
		c.db = db
	}
	return err
}

func (c *call) runQueue(t *transaction, tx *storage.Tx) error {
	c.out.Array(len(t.queued))
	for _, q := range t.queued {
		begin := c.out.Len()
		if err := c.permitQueued(q); err != nil {
			c.srv.stats.rejected(q.cmd)
			c.out.Error(string(c.replyTo(err)))
			continue
		}
		err := q.cmd.run(&call{conn: c.conn, cmd: q.cmd, args: q.args, tx: tx})
		c.called(q.cmd, err)
		switch {
		case !c.out.Fits(0):
			return errOutputLimit
		case tx.Written() > maxWritten*c.in.Limits.Bulk:
			return errExecSize
		case err == nil:
			continue
		}
		var reply replyError
		if !errors.As(err, &reply) && !errors.Is(err, storage.ErrWrongKind) {
			return err
		}
		c.out.Truncate(begin)
		c.out.Error(string(c.replyTo(err)))
	}
	return nil
}

// execScope joins the scopes of the queued commands and the watched keys, following those
// that select a database, and tells whether any of them writes.
func (c *call) execScope(t *transaction) (scope storage.Scope, update bool, err error) {
	scope.Keys = t.watched.keys()
	db := c.db
	defer func() { c.db = db }()
	for _, q := range t.queued {
		if q.cmd.is(selects) {
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
	n, ok := resp.ParseInt(arg)
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
