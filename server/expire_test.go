package server

import (
	"math"
	"strconv"
	"testing"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that a time is turned into an instant, and refused where it would overflow.
func TestTimeUnit_Instant(t *testing.T) {
	t.Parallel()
	const now = ttl.Instant(1_700_000_000_000)
	invalid := errInvalidExpire("expire")
	tests := []struct {
		arg  string
		unit timeUnit
		base ttl.Instant
		want ttl.Instant
		err  error
	}{
		{"10", inSeconds, now, now + 10_000, nil},
		{"10", inMilliseconds, now, now + 10, nil},
		{"10", inSeconds, 0, 10_000, nil},
		{"0", inSeconds, now, now, nil},
		{"-5", inSeconds, now, now - 5_000, nil},
		{"0", inMilliseconds, 0, 0, nil},
		{"9223372036854775", inSeconds, 0, 9223372036854775000, nil},
		{"9223372036854775", inSeconds, now, 0, invalid},
		{"9223372036854776", inSeconds, 0, 0, invalid},
		{"-9223372036854775", inSeconds, now, now - 9223372036854775000, nil},
		{"-9223372036854776", inSeconds, now, 0, invalid},
		{"9223372036854775807", inMilliseconds, 0, ttl.Latest, nil},
		{"9223372036854775807", inMilliseconds, now, 0, invalid},
		{"9223370336854775807", inMilliseconds, now, ttl.Latest, nil},
		{"9223370336854775808", inMilliseconds, now, 0, invalid},
		{"-9223372036854775808", inMilliseconds, 0, math.MinInt64, nil},
		{"-9223372036854775808", inMilliseconds, now, math.MinInt64 + now, nil},
		{"9223372036854775808", inMilliseconds, now, 0, errNotInteger},
		{"1.5", inSeconds, now, 0, errNotInteger},
		{"", inSeconds, now, 0, errNotInteger},
	}
	for _, tt := range tests {
		got, err := tt.unit.instant([]byte(tt.arg), tt.base, "expire")
		if got != tt.want || err != tt.err {
			t.Errorf("%q x %d ms after %d = %d, %v, want %d, %v", tt.arg, tt.unit, tt.base, got, err, tt.want, tt.err)
		}
	}
}

// Ensure that SET and GETEX need a number above zero, and that only EXAT and PXAT do not count from
// now.
func TestExpiry_Deadline(t *testing.T) {
	t.Parallel()
	const now = ttl.Instant(1_700_000_000_000)
	invalid := errInvalidExpire("set")
	tests := []struct {
		option string
		want   ttl.Instant
		err    error
	}{
		{"EX 10", now + 10_000, nil},
		{"px 10", now + 10, nil},
		{"ExAt 10", 10_000, nil},
		{"PXAT 10", 10, nil},
		{"EX 0", 0, invalid},
		{"EX -1", 0, invalid},
		{"PX 0", 0, invalid},
		{"EXAT 0", 0, invalid},
		{"PXAT -9223372036854775808", 0, invalid},
		{"EX 9223372036854775807", 0, invalid},
		{"PX 9223372036854775807", 0, invalid},
		{"EX x", 0, errNotInteger},
	}
	for _, tt := range tests {
		e, ok := parseExpiry(fields(tt.option))
		if !ok {
			t.Errorf("parseExpiry(%q) failed", tt.option)
		}
		if got, err := e.deadline(now, "set"); got != tt.want || err != tt.err {
			t.Errorf("%s = %d, %v, want %d, %v", tt.option, got, err, tt.want, tt.err)
		}
	}
	if got, err := (expiry{}).deadline(now, "set"); got != ttl.Never || err != nil {
		t.Errorf("no option = %d, %v, want ttl.Never", got, err)
	}
}

// FuzzTimeUnit checks with big enough steps what the overflow rules promise: the result is
// base + n units whenever that fits, and an error otherwise.
func FuzzTimeUnit(f *testing.F) {
	f.Add(int64(10), int64(1_700_000_000_000), true)
	f.Add(int64(math.MaxInt64), int64(0), false)
	f.Add(int64(math.MinInt64/1000), int64(1), true)
	f.Fuzz(func(t *testing.T, n, base int64, isSeconds bool) {
		unit := inMilliseconds
		if isSeconds {
			unit = inSeconds
		}
		base = max(base, 0)
		got, err := unit.instant(strconv.AppendInt(nil, n, 10), ttl.Instant(base), "expire")
		// In floating point, far from the edge.
		sum := float64(n)*float64(unit) + float64(base)
		switch edge := float64(math.MaxInt64); {
		case sum > edge*1.000001 || float64(n)*float64(unit) < -edge*1.000001:
			if err == nil {
				t.Errorf("%d x %d + %d = %d, want an error", n, unit, base, got)
			}
		case sum < edge*0.999999 && float64(n)*float64(unit) > -edge*0.999999:
			if err != nil || int64(got) != n*int64(unit)+base {
				t.Errorf("%d x %d + %d = %d, %v", n, unit, base, got, err)
			}
		}
	})
}
