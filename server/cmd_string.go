package server

import (
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

func runGet(c *call) error {
	r, found, err := c.readString(1)
	if err != nil {
		return err
	}
	c.value(r, found)
	return nil
}

// value replies with the value of a record, or with null if it was not found.
func (c *call) value(r storage.Record, found bool) {
	if found {
		c.out.Bulk(r.Value)
	} else {
		c.out.Null()
	}
}

// setOptions are the arguments of SET behind the key and the value.
type setOptions struct {
	nx, xx  bool
	get     bool
	keepTTL bool
	expiry  expiry
}

// parseSet reads the options of SET, in any order and case. An option may be repeated; one that
// contradicts an earlier one is a syntax error.
func parseSet(args [][]byte) (o setOptions, err error) {
	for i := 0; i < len(args); i++ {
		e, timed := parseExpiry(args[i:])
		switch name := args[i]; {
		case equalFold(name, "NX") && !o.xx:
			o.nx = true
		case equalFold(name, "XX") && !o.nx:
			o.xx = true
		case equalFold(name, "GET"):
			o.get = true
		case equalFold(name, "KEEPTTL") && o.expiry.arg == nil:
			o.keepTTL = true
		case timed && !o.keepTTL && e.replaces(o.expiry):
			o.expiry = e
			i++
		default:
			return setOptions{}, errSyntax
		}
	}
	return o, nil
}

func runSet(c *call) error {
	o, err := parseSet(c.args[3:])
	if err != nil {
		return err
	}
	deadline, err := o.expiry.deadline(c.tx.Now(), c.cmd.fullName())
	if err != nil {
		return err
	}
	old, found, err := c.findForSet(o)
	if err != nil {
		return err
	}
	stores := !(o.nx && found || o.xx && !found)
	if stores {
		if o.keepTTL {
			deadline = old.Deadline
		}
		if err := c.putString(1, c.args[2], deadline); err != nil {
			return err
		}
	}
	switch {
	case o.get:
		c.value(old, found)
	case stores:
		c.out.OK()
	default:
		c.out.Null()
	}
	return nil
}

// findForSet reads only what the options need of the old record. Only GET checks its kind.
func (c *call) findForSet(o setOptions) (storage.Record, bool, error) {
	switch {
	case o.get:
		return c.readString(1)
	case o.nx || o.xx || o.keepTTL:
		return c.tx.Stat(c.key(1))
	}
	return storage.Record{}, false, nil
}

// putString stores a string under argument i and replaces what was there.
func (c *call) putString(i int, value []byte, deadline ttl.Instant) error {
	return c.tx.Put(c.key(i), storage.Record{Kind: storage.KindString, Value: value, Deadline: deadline})
}

func runSetEX(c *call) error  { return setFor(c, inSeconds) }
func runPSetEX(c *call) error { return setFor(c, inMilliseconds) }

func setFor(c *call, unit timeUnit) error {
	deadline, err := expiry{arg: c.args[2], unit: unit}.deadline(c.tx.Now(), c.cmd.fullName())
	if err != nil {
		return err
	}
	if err := c.putString(1, c.args[3], deadline); err != nil {
		return err
	}
	c.out.OK()
	return nil
}

func runSetNX(c *call) error {
	_, found, err := c.tx.Stat(c.key(1))
	if err != nil {
		return err
	}
	if !found {
		if err := c.putString(1, c.args[2], ttl.Never); err != nil {
			return err
		}
	}
	c.out.Flag(!found)
	return nil
}

// runGetSet removes the deadline, as SET does.
func runGetSet(c *call) error {
	old, found, err := c.readString(1)
	if err != nil {
		return err
	}
	if err := c.putString(1, c.args[2], ttl.Never); err != nil {
		return err
	}
	c.value(old, found)
	return nil
}

func runGetDel(c *call) error {
	old, found, err := c.readString(1)
	if err != nil {
		return err
	}
	if found {
		if _, err := c.tx.Delete(c.key(1)); err != nil {
			return err
		}
	}
	c.value(old, found)
	return nil
}

// getexOptions are the arguments of GETEX behind the key.
type getexOptions struct {
	persist bool
	expiry  expiry
}

func parseGetEX(args [][]byte) (o getexOptions, err error) {
	for i := 0; i < len(args); i++ {
		e, timed := parseExpiry(args[i:])
		switch {
		case equalFold(args[i], "PERSIST") && o.expiry.arg == nil:
			o.persist = true
		case timed && !o.persist && e.replaces(o.expiry):
			o.expiry = e
			i++
		default:
			return getexOptions{}, errSyntax
		}
	}
	return o, nil
}

// runGetEX checks the expire time only after it has found the key, as Redis does.
func runGetEX(c *call) error {
	o, err := parseGetEX(c.args[2:])
	if err != nil {
		return err
	}
	r, found, err := c.readString(1)
	if err != nil {
		return err
	}
	if !found {
		c.out.Null()
		return nil
	}
	deadline, err := o.expiry.deadline(c.tx.Now(), c.cmd.fullName())
	if err != nil {
		return err
	}
	if o.expiry.arg != nil || o.persist && r.Deadline != ttl.Never {
		if err := c.tx.SetDeadline(c.key(1), deadline); err != nil {
			return err
		}
	}
	c.out.Bulk(r.Value)
	return nil
}

// runMGet replies with null for a key of another kind, too, as Redis does.
func runMGet(c *call) error {
	c.out.Array(len(c.args) - 1)
	for i := 1; i < len(c.args); i++ {
		r, found, err := c.read(i)
		if err != nil {
			return err
		}
		c.value(r, found && r.Kind == storage.KindString)
		if c.out.Over() {
			return errOutputLimit
		}
	}
	return nil
}

func runMSet(c *call) error {
	if len(c.args)%2 == 0 {
		return errArity(c.cmd.fullName())
	}
	if err := c.putPairs(); err != nil {
		return err
	}
	c.out.OK()
	return nil
}

// runMSetNX stores all pairs or none.
func runMSetNX(c *call) error {
	if len(c.args)%2 == 0 {
		return errArity(c.cmd.fullName())
	}
	for i := 1; i < len(c.args); i += 2 {
		_, found, err := c.tx.Stat(c.key(i))
		if err != nil {
			return err
		}
		if found {
			c.out.Flag(false)
			return nil
		}
	}
	if err := c.putPairs(); err != nil {
		return err
	}
	c.out.Flag(true)
	return nil
}

// putPairs stores key-value pairs. If a key is repeated the last value counts.
func (c *call) putPairs() error {
	for i := 1; i < len(c.args); i += 2 {
		if err := c.putString(i, c.args[i+1], ttl.Never); err != nil {
			return err
		}
	}
	return nil
}
