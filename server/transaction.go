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
	spoiled bool // a command could not be queued, so EXEC will fail
	queued  []queuedCommand
	watched *watchlist // nil before the first WATCH
	bytes   int        // estimate of what queued and watched take
}

type queuedCommand struct {
	cmd  *command
	args [][]byte
}

// maxWritten is how many values of the largest size one EXEC may write. Redis has no such limit. Here
// a transaction is in memory until its commit, and 1000 short commands could make 1000 large values.
const maxWritten = 4

// The bytes that a queued command and a watched key take besides their text.
const (
	queuedOverhead  = 64
	watchedOverhead = 128
)

// queues reports whether cmd waits for EXEC instead of running now.
func (t *transaction) queues(cmd *command) bool {
	return t.open && !cmd.is(immediate)
}

// queue stores a copy of the command line, because the arguments are slices of the read buffer.
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

// resetTransaction drops the queue and the watched keys.
func (c *conn) resetTransaction() {
	c.transaction = transaction{}
	c.watching.Store(nil)
}

// watch records the version of a key.
func (c *conn) watch(k storage.Key, version storage.Mark) {
	t := &c.transaction
	if t.watched == nil {
		t.watched = &watchlist{versions: map[watchedName]storage.Mark{}}
		c.watching.Store(t.watched)
	}
	if t.watched.add(k, version) {
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
	if c.tx == nil { // inside EXEC no key is watched any more
		c.resetTransaction() // outside MULTI nothing is queued
	}
	c.out.OK()
	return nil
}

// runWatch records the versions of the keys. It opens its View itself: the flags of a row decide about
// a transaction, and Redis gives WATCH neither write nor readonly.
func runWatch(c *call) error {
	if c.transaction.open {
		return errWatchInMulti
	}
	scope, err := c.scope()
	if err != nil {
		return err
	}
	versions := make([]storage.Mark, 0, len(scope.Keys))
	err = c.transact(scope, false, func(tx *storage.Tx) error {
		versions = versions[:0]
		for _, k := range scope.Keys {
			version, err := tx.Mark(k)
			if err != nil {
				return err
			}
			versions = append(versions, version)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, version := range versions {
		c.watch(scope.Keys[i], version)
	}
	c.out.OK()
	return nil
}

// refuse records in the transaction that a gate has refused a command, and returns the error for the
// client. If the command is EXEC the whole transaction is discarded.
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

// runExec runs the queue as one update. If a command fails with a reply error, the error is its
// element of the reply and the others still run. An error of the engine discards all of them.
func runExec(c *call) error {
	t := c.transaction
	if !t.open {
		return errExecNoMulti
	}
	c.transaction = transaction{}
	defer c.watching.Store(nil) // a SWAPDB before the update still counts
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
		if err := c.authorizeQueued(q); err != nil {
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

// execScope joins the scopes of the queued commands and the watched keys, and reports whether any
// command writes. It follows commands that select a database.
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
			continue // the command returns the same error before it changes anything
		}
		if err != nil {
			return scope, update, err
		}
		// A read of a whole database must see what the transaction itself wrote.
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
