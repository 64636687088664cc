package server

import (
	"github.com/sessiond/sessiond/ttl"
)

// expireOptions are the conditions of EXPIRE and its family.
type expireOptions struct{ nx, xx, gt, lt bool }

func parseExpire(args [][]byte) (o expireOptions, err error) {
	for _, arg := range args {
		switch {
		case equalFold(arg, "NX"):
			o.nx = true
		case equalFold(arg, "XX"):
			o.xx = true
		case equalFold(arg, "GT"):
			o.gt = true
		case equalFold(arg, "LT"):
			o.lt = true
		default:
			return expireOptions{}, errUnsupportedOption(arg)
		}
	}
	switch {
	case o.nx && (o.xx || o.gt || o.lt):
		return expireOptions{}, errExpireNXWithOthers
	case o.gt && o.lt:
		return expireOptions{}, errExpireGTWithLT
	}
	return o, nil
}

// allow reports whether a deadline may be moved from old to deadline. GT and LT treat a key without
// a deadline as one that lives forever.
func (o expireOptions) allow(old, deadline ttl.Instant) bool {
	forever := old == ttl.Never
	switch {
	case o.nx && !forever, o.xx && forever:
		return false
	case o.gt && (forever || deadline <= old):
		return false
	case o.lt && !forever && deadline >= old:
		return false
	}
	return true
}

func runExpire(c *call) error    { return expireAt(c, inSeconds, c.tx.Now()) }
func runPExpire(c *call) error   { return expireAt(c, inMilliseconds, c.tx.Now()) }
func runExpireAt(c *call) error  { return expireAt(c, inSeconds, 0) }
func runPExpireAt(c *call) error { return expireAt(c, inMilliseconds, 0) }

// expireAt moves the deadline of a key to argument 2, counted in units after base. A deadline in the
// past deletes the key, and the reply is the same. The value is not read.
func expireAt(c *call, unit timeUnit, base ttl.Instant) error {
	o, err := parseExpire(c.args[3:])
	if err != nil {
		return err
	}
	deadline, err := unit.instant(c.args[2], base, c.cmd.fullName())
	if err != nil {
		return err
	}
	r, found, err := c.tx.Stat(c.key(1))
	if err != nil {
		return err
	}
	moves := found && o.allow(r.Deadline, deadline)
	switch {
	case !moves:
	case deadline <= c.tx.Now(): // not Due, for which a deadline of zero is ttl.Never
		_, err = c.tx.Delete(c.key(1))
	default:
		err = c.tx.SetDeadline(c.key(1), deadline)
	}
	if err != nil {
		return err
	}
	c.out.Flag(moves)
	return nil
}

func runPersist(c *call) error {
	r, found, err := c.tx.Stat(c.key(1))
	if err != nil {
		return err
	}
	persists := found && r.Deadline != ttl.Never
	if persists {
		if err := c.tx.SetDeadline(c.key(1), ttl.Never); err != nil {
			return err
		}
	}
	c.out.Flag(persists)
	return nil
}

func runTTL(c *call) error         { return replyDeadline(c, inSeconds, c.tx.Now()) }
func runPTTL(c *call) error        { return replyDeadline(c, inMilliseconds, c.tx.Now()) }
func runExpireTime(c *call) error  { return replyDeadline(c, inSeconds, 0) }
func runPExpireTime(c *call) error { return replyDeadline(c, inMilliseconds, 0) }

// replyDeadline replies with the deadline of a key in units after base: -2 if there is no key, -1
// if the key has no deadline. Half a second is rounded up.
func replyDeadline(c *call, unit timeUnit, base ttl.Instant) error {
	r, found, err := c.readStat(1)
	if err != nil {
		return err
	}
	switch {
	case !found:
		c.out.Int(-2)
	case r.Deadline == ttl.Never:
		c.out.Int(-1)
	default:
		left := uint64(r.Deadline - base) // no overflow when rounding the latest deadline
		c.out.Int(int64((left + uint64(unit)/2) / uint64(unit)))
	}
	return nil
}
