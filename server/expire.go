package server

import (
	"math"

	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/ttl"
)

// timeUnit is the unit of a number that stands for a time, in milliseconds.
type timeUnit int64

const (
	inMilliseconds timeUnit = 1
	inSeconds      timeUnit = 1000
)

// instant returns base plus arg units; arg may be negative. It fails if the multiplication or the
// addition would overflow, as EXPIRE does. A result of ttl.Never or less is the epoch or an instant
// before it, which is in the past.
func (unit timeUnit) instant(arg []byte, base ttl.Instant, command string) (ttl.Instant, error) {
	n, ok := resp.ParseInt(arg)
	if !ok {
		return 0, errNotInteger
	}
	if n > math.MaxInt64/int64(unit) || n < math.MinInt64/int64(unit) {
		return 0, errInvalidExpire(command)
	}
	if n *= int64(unit); n > math.MaxInt64-int64(base) {
		return 0, errInvalidExpire(command)
	}
	return base + ttl.Instant(n), nil
}

// expiry is one of the options EX, PX, EXAT and PXAT with its argument as the client gave it. The
// zero expiry means that there is no such option.
type expiry struct {
	arg      []byte // nil if there is none
	unit     timeUnit
	absolute bool // Unix time, not counted from now
}

// deadline returns the instant that the option names, or Never if there is no option. Unlike EXPIRE,
// SET and GETEX refuse numbers that are not above zero.
func (e expiry) deadline(now ttl.Instant, command string) (ttl.Instant, error) {
	if e.arg == nil {
		return ttl.Never, nil
	}
	if n, ok := resp.ParseInt(e.arg); ok && n <= 0 {
		return 0, errInvalidExpire(command)
	}
	if e.absolute {
		now = 0
	}
	return e.unit.instant(e.arg, now, command)
}

// replaces reports whether e may follow the option before. In Redis an option may be repeated, and
// the last one counts, but different options must not be mixed.
func (e expiry) replaces(before expiry) bool {
	return before.arg == nil || before.unit == e.unit && before.absolute == e.absolute
}

// parseExpiry reads the option at args[0] with its argument. ok is false if it is not one of the
// four, or has no argument.
func parseExpiry(args [][]byte) (e expiry, ok bool) {
	if len(args) < 2 {
		return expiry{}, false
	}
	switch name := args[0]; {
	case equalFold(name, "EX"):
		return expiry{args[1], inSeconds, false}, true
	case equalFold(name, "PX"):
		return expiry{args[1], inMilliseconds, false}, true
	case equalFold(name, "EXAT"):
		return expiry{args[1], inSeconds, true}, true
	case equalFold(name, "PXAT"):
		return expiry{args[1], inMilliseconds, true}, true
	}
	return expiry{}, false
}
