package server

import (
	"bytes"
	"math"
	"strconv"

	"github.com/sessiond/sessiond/server/glob"
	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/storage"
)

const (
	scanCount = 10 // keys visited by a SCAN without COUNT
	// maxScanCount limits one page, and so the memory of its reply. SCAN allows a page that is
	// smaller than COUNT.
	maxScanCount = 1 << 16
)

// page gathers the names of a reply whose length is not known before its end.
type page struct {
	names resp.Writer
	n     int
}

func (p *page) add(name []byte) {
	p.names.Bulk(name)
	p.n++
}

// newPattern compiles a pattern. It returns nil for a single star, because that matches the empty
// name, too, and a Pattern does not.
func newPattern(pattern []byte) (*glob.Pattern, error) {
	if string(pattern) == "*" {
		return nil, nil
	}
	compiled, err := glob.Compile(pattern)
	if err != nil {
		return nil, errPatternTooLong
	}
	return compiled, nil
}

// runKeys replies with all names as they are at one instant: it reads one page without a limit.
func runKeys(c *call) error {
	pattern, err := newPattern(c.args[1])
	if err != nil {
		return err
	}
	p := page{names: resp.Writer{Limit: c.out.Limit}}
	for cursor := uint64(0); ; {
		next, err := c.tx.Scan(c.db, cursor, math.MaxInt32, func(k storage.Key, _ storage.Record) bool {
			if pattern == nil || pattern.Match(k.Name) {
				p.add(k.Name)
			}
			return !p.names.Over()
		})
		if err != nil {
			return err
		}
		if cursor = next; cursor == 0 || p.names.Over() {
			break
		}
	}
	c.out.ArrayOf(p.n, &p.names)
	return nil
}

// scanOptions are the arguments of SCAN.
type scanOptions struct {
	cursor  uint64
	count   int
	pattern *glob.Pattern // nil matches every name
	kind    []byte        // nil matches every kind
}

// parseScan reads the arguments of SCAN. A kind that does not exist is not an error; no key
// matches it.
func parseScan(args [][]byte) (o scanOptions, err error) {
	if o.cursor, err = parseCursor(args[0]); err != nil {
		return scanOptions{}, err
	}
	o.count = scanCount
	for i := 1; i < len(args); i += 2 {
		if i+1 == len(args) {
			return scanOptions{}, errSyntax
		}
		value := args[i+1]
		switch {
		case equalFold(args[i], "COUNT"):
			if o.count, err = parseCount(value); err != nil {
				return scanOptions{}, err
			}
		case equalFold(args[i], "MATCH"):
			if o.pattern, err = newPattern(value); err != nil {
				return scanOptions{}, err
			}
		case equalFold(args[i], "TYPE"):
			o.kind = value
		default:
			return scanOptions{}, errSyntax
		}
	}
	return o, nil
}

func parseCount(arg []byte) (int, error) {
	n, ok := resp.ParseInt(arg)
	switch {
	case !ok:
		return 0, errNotInteger
	case n < 1:
		return 0, errSyntax
	}
	return int(min(n, maxScanCount)), nil
}

// parseCursor reads a cursor by the rules of C's strtoul, as Redis does: a NUL ends it, a sign is
// allowed, a minus wraps around, and an empty cursor is 0.
func parseCursor(arg []byte) (uint64, error) {
	arg, _, _ = bytes.Cut(arg, []byte{0})
	if len(arg) == 0 {
		return 0, nil
	}
	digits := arg
	if arg[0] == '+' || arg[0] == '-' {
		digits = arg[1:]
	}
	cursor, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0, errInvalidCursor
	}
	if arg[0] == '-' {
		cursor = -cursor
	}
	return cursor, nil
}

// matches reports whether a name matches the pattern.
func (o *scanOptions) matches(k storage.Key) bool { return o.pattern == nil || o.pattern.Match(k.Name) }

func equalKind(name []byte, kind storage.Kind) bool {
	return bytes.EqualFold(name, []byte(kind.String()))
}

// isKind reports whether a record is of the kind with that name. Redis looks the key up for it.
func (c *call) isKind(r storage.Record, name []byte) bool {
	c.lookups.hits++
	return equalKind(name, r.Kind)
}

func runScan(c *call) error {
	o, err := parseScan(c.args[1:])
	if err != nil {
		return err
	}
	p := page{names: resp.Writer{Limit: c.out.Limit}}
	next, err := c.tx.Scan(c.db, o.cursor, o.count, func(k storage.Key, r storage.Record) bool {
		if o.matches(k) && (o.kind == nil || c.isKind(r, o.kind)) {
			p.add(k.Name)
		}
		return true
	})
	if err != nil {
		return err
	}
	c.out.Array(2)
	c.out.BulkString(strconv.FormatUint(next, 10))
	c.out.ArrayOf(p.n, &p.names)
	return nil
}

func runRandomKey(c *call) error {
	name, found, err := c.tx.Random(c.db)
	if err != nil {
		return err
	}
	if found {
		c.out.Bulk(name)
	} else {
		c.out.Null()
	}
	return nil
}

// runDBSize includes records whose deadline has passed and which were not swept yet, as Redis does.
func runDBSize(c *call) error {
	count, err := c.tx.Len(c.db)
	if err != nil {
		return err
	}
	c.out.Int(count.Records)
	return nil
}
