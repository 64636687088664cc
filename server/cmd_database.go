package server

import (
	"math"

	"github.com/sessiond/sessiond/server/resp"
)

// parseFlush checks the option of FLUSHDB and FLUSHALL. ASYNC and SYNC are the same here: the
// database is empty when the reply arrives.
func parseFlush(args [][]byte) error {
	if len(args) == 0 || len(args) == 1 && (equalFold(args[0], "SYNC") || equalFold(args[0], "ASYNC")) {
		return nil
	}
	return errSyntax
}

func runFlushDB(c *call) error {
	if err := parseFlush(c.args[1:]); err != nil {
		return err
	}
	if err := c.tx.Flush(c.db); err != nil {
		return err
	}
	c.out.OK()
	return nil
}

func runFlushAll(c *call) error {
	if err := parseFlush(c.args[1:]); err != nil {
		return err
	}
	for db := range c.srv.databases {
		if err := c.tx.Flush(db); err != nil {
			return err
		}
	}
	c.out.OK()
	return nil
}

func runSwapDB(c *call) error {
	a, err := parseSwapDB(c.args[1], errFirstDB)
	if err != nil {
		return err
	}
	b, err := parseSwapDB(c.args[2], errSecondDB)
	if err != nil {
		return err
	}
	if max(a, b) >= c.srv.databases || min(a, b) < 0 {
		return errDBRange
	}
	if a != b {
		if err := c.srv.swapWatched(c.tx, a, b); err != nil {
			return err
		}
		if err := c.tx.Swap(a, b); err != nil {
			return err
		}
	}
	c.out.OK()
	return nil
}

// parseSwapDB reads an index. Its caller checks the range, of both indexes at once.
func parseSwapDB(arg []byte, invalid error) (int, error) {
	n, ok := resp.ParseInt(arg)
	if !ok || n < math.MinInt32 || n > math.MaxInt32 {
		return 0, invalid
	}
	return int(n), nil
}
