package server

import (
	"slices"

	"github.com/sessiond/sessiond/storage"
)

// call is one command being run for one connection.
//
// A handler parses its arguments, reads and decides, writes, and replies last. It returns its
// replyError before its first write. It may run again from the start, so a second run must have the
// same effect outside the transaction as one run.
type call struct {
	*conn
	cmd  *command
	args [][]byte
	tx   *storage.Tx // nil for rows with neither write nor readonly
}

// key returns the key that argument i names in the selected database.
func (c *call) key(i int) storage.Key { return storage.Key{DB: c.db, Name: c.args[i]} }

// arg returns argument i as a string.
func (c *call) arg(i int) string { return string(c.args[i]) }

// is reports whether argument i is word in any case. Word is in upper case.
func (c *call) is(i int, word string) bool { return equalFold(c.args[i], word) }

// equalFold reports whether b is word in any case. Word is in upper case.
func equalFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// findString returns the live string record under argument i.
func (c *call) findString(i int) (storage.Record, bool, error) {
	return c.tx.FindString(c.key(i))
}

// read is Tx.Find for a command that only reads: it counts in keyspace_hits or keyspace_misses. As
// in Redis, a command that reads in order to write does not count.
func (c *call) read(i int) (storage.Record, bool, error) {
	r, found, err := c.tx.Find(c.key(i))
	return r, found, c.looked(found, err)
}

// readString is read for a string. A value of another kind counts as found, too.
func (c *call) readString(i int) (storage.Record, bool, error) {
	return storage.AsString(c.read(i))
}

// readStat is read without the value.
func (c *call) readStat(i int) (storage.Record, bool, error) {
	r, found, err := c.tx.Stat(c.key(i))
	return r, found, c.looked(found, err)
}

func (c *call) looked(found bool, err error) error {
	switch {
	case err != nil:
	case found:
		c.lookups.hits++
	default:
		c.lookups.misses++
	}
	return err
}

// scope returns the records that the command touches. The result is valid until the next call of
// scope on the same connection.
func (c *call) scope() (storage.Scope, error) {
	switch {
	case c.cmd.scope != nil:
		return c.cmd.scope(c)
	case c.cmd.keys.first != 0:
		keys := slices.Grow(c.conn.keys[:0], len(c.args))
		c.cmd.keys.positions(len(c.args), func(i int) { keys = append(keys, c.key(i)) })
		c.conn.keys = keys
		return storage.Scope{Keys: keys}, nil
	case c.cmd.is(write):
		return storage.Whole, nil
	}
	return storage.Scope{}, nil // reads of a whole database need no lock
}
