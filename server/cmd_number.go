package server

import (
	"bytes"
	"math"
	"math/big"
	"strconv"

	"github.com/sessiond/sessiond/server/resp"
)

func runIncr(c *call) error { return addInteger(c, 1) }
func runDecr(c *call) error { return addInteger(c, -1) }

func runIncrBy(c *call) error {
	n, ok := resp.ParseInt(c.args[2])
	if !ok {
		return errNotInteger
	}
	return addInteger(c, n)
}

func runDecrBy(c *call) error {
	n, ok := resp.ParseInt(c.args[2])
	switch {
	case !ok:
		return errNotInteger
	case n == math.MinInt64:
		return errDecrOverflow // the smallest integer has no positive counterpart
	}
	return addInteger(c, -n)
}

// addInteger adds to the number a key holds and keeps its deadline. An absent key counts as 0. The
// value must be in the form in which Redis writes integers: "007" is not one.
func addInteger(c *call, delta int64) error {
	r, found, err := c.findString(1)
	if err != nil {
		return err
	}
	var n int64
	if found {
		var ok bool
		if n, ok = resp.ParseInt(r.Value); !ok {
			return errNotInteger
		}
	}
	if delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
		return errOverflow
	}
	n += delta
	if err := c.putString(1, strconv.AppendInt(nil, n, 10), r.Deadline); err != nil {
		return err
	}
	c.out.Int(n)
	return nil
}

// runIncrByFloat adds to the number a key holds and keeps its deadline. Like Redis, it parses the
// value before the increment.
func runIncrByFloat(c *call) error {
	r, found, err := c.findString(1)
	if err != nil {
		return err
	}
	sum := newFloat()
	if found {
		if sum, err = parseFloat(r.Value); err != nil {
			return err
		}
	}
	increment, err := parseFloat(c.args[2])
	if err != nil {
		return err
	}
	if sum.IsInf() || increment.IsInf() {
		return errNotFinite
	}
	if sum.Add(sum, increment); sum.MantExp(nil) > maxFloatExp {
		return errNotFinite
	}
	value := formatFloat(sum)
	if err := c.putString(1, value, r.Deadline); err != nil {
		return err
	}
	c.out.Bulk(value)
	return nil
}

// Redis computes INCRBYFLOAT in the C type long double, whose mantissa has 64 bits on x86. A
// big.Float of that precision rounds in the same way.
const (
	floatBits     = 64
	maxFloatExp   = 16384     // of the largest long double, as big.Float counts
	minFloatExp   = -16445    // smaller numbers round to zero
	maxFloatChars = 5<<10 - 1 // Redis' buffer
)

func newFloat() *big.Float { return new(big.Float).SetPrec(floatBits) }

// parseFloat reads what C's strtold reads, without blanks: decimal and hexadecimal numbers, and
// infinities. It refuses NaN, and numbers too large or too small for a long double.
func parseFloat(b []byte) (*big.Float, error) {
	if len(b) > maxFloatChars {
		return nil, errNotFloat
	}
	digits := b
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		digits = b[1:]
	}
	if equalFold(digits, "INF") || equalFold(digits, "INFINITY") {
		return newFloat().SetInf(b[0] == '-'), nil
	}
	base, exponent := 10, "eE"
	if len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		base, exponent = 0, "pP"
	}
	// Package big would accept underscores in base 0 and a binary exponent in base 10.
	if bytes.IndexByte(b, '_') >= 0 || base == 10 && bytes.ContainsAny(b, "pP") {
		return nil, errNotFloat
	}
	f, _, err := big.ParseFloat(string(b), base, floatBits, big.ToNearestEven)
	if err != nil || f.IsInf() {
		return nil, errNotFloat
	}
	exp := f.MantExp(nil)
	tiny := exp < minFloatExp || f.Sign() == 0 && !isZero(digits, exponent)
	if tiny || exp > maxFloatExp {
		return nil, errNotFloat
	}
	return f, nil
}

// isZero reports whether the digits before the exponent, if there is one, say zero.
func isZero(digits []byte, exponent string) bool {
	if i := bytes.IndexAny(digits, exponent); i >= 0 {
		digits = digits[:i]
	}
	return len(bytes.Trim(digits, "0.xX")) == 0
}

// formatFloat writes f without an exponent, with at most 17 digits behind the point and
// without trailing zeros.
func formatFloat(f *big.Float) []byte {
	b := f.Append(nil, 'f', 17)
	b = bytes.TrimRight(bytes.TrimRight(b, "0"), ".")
	if string(b) == "-0" {
		return []byte("0")
	}
	return b
}
