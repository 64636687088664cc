package server

import (
	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// embeddedMax is the longest value Redis keeps in one allocation with its header.
const embeddedMax = 44

// runObjectEncoding replies with the encoding that Redis gives a value after SET. After APPEND or
// SETRANGE Redis says raw, even for a short value; here the record does not say how its value was
// made.
func runObjectEncoding(c *call) error {
	r, found, err := c.readString(2)
	switch {
	case err != nil:
		return err
	case found:
		c.out.BulkString(encoding(r.Value))
	default:
		c.out.Null()
	}
	return nil
}

func encoding(value []byte) string {
	if _, ok := resp.ParseInt(value); ok {
		return "int"
	}
	if len(value) <= embeddedMax {
		return "embstr"
	}
	return "raw"
}

func runObjectRefCount(c *call) error { return replyIfFound(c, 1) }
func runObjectIdleTime(c *call) error { return replyIfFound(c, 0) }

// replyIfFound replies with n if the key exists, and with null if not.
func replyIfFound(c *call, n int64) error {
	_, found, err := c.readStat(2)
	switch {
	case err != nil:
		return err
	case found:
		c.out.Int(n)
	default:
		c.out.Null()
	}
	return nil
}

func runObjectFreq(c *call) error {
	_, found, err := c.readStat(2)
	switch {
	case err != nil:
		return err
	case found:
		return errNoFrequency
	}
	c.out.Null()
	return nil
}

// parseMemoryUsage checks the options of MEMORY USAGE. SAMPLES, the number of elements to measure in
// a large value, has no effect: nothing here is estimated from samples.
func parseMemoryUsage(args [][]byte) error {
	for i := 0; i < len(args); i += 2 {
		if !equalFold(args[i], "SAMPLES") || i+1 == len(args) {
			return errSyntax
		}
		n, ok := resp.ParseInt(args[i+1])
		switch {
		case !ok:
			return errNotInteger
		case n < 0:
			return errSyntax
		}
	}
	return nil
}

// The bytes that a record takes besides its name and its value in the default engine: two keys,
// each with a prefix, a hash and a sequence number, and the header with the deadline. A record with
// a deadline has an index entry, too.
const (
	recordOverhead = 64
	indexOverhead  = 25
)

func runMemoryUsage(c *call) error {
	if err := parseMemoryUsage(c.args[3:]); err != nil {
		return err
	}
	r, found, err := c.tx.Stat(c.key(2))
	switch {
	case err != nil:
		return err
	case found:
		c.out.Int(memoryUsage(len(c.args[2]), r))
	default:
		c.out.Null()
	}
	return nil
}

// memoryUsage estimates the bytes a record takes on disk before compression. The value is stored
// once; the name is stored with the value, with the header and, if there is a deadline, in the index.
// Copies in caches are not counted.
func memoryUsage(name int, r storage.Record) int64 {
	size := recordOverhead + 2*name + r.Size
	if r.Deadline != ttl.Never {
		size += indexOverhead + name
	}
	return int64(size)
}
