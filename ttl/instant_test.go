package ttl_test

import (
	"math"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that a record ends at its deadline, to the millisecond, and Never does not come.
func TestInstant_Due(t *testing.T) {
	t.Parallel()
	const now ttl.Instant = 1_700_000_000_000
	tests := []struct {
		deadline, now ttl.Instant
		want          bool
	}{
		{now - 1, now, true},
		{now, now, true},
		{now + 1, now, false},
		{1, now, true},
		{-1, now, true},
		{ttl.Never, now, false},
		{ttl.Never, ttl.Latest, false},
		{ttl.Never, 0, false},
		{1, 0, false},
		{ttl.Latest, now, false},
		{ttl.Latest, ttl.Latest - 1, false},
		{ttl.Latest, ttl.Latest, true},
	}
	for _, test := range tests {
		if got := test.deadline.Due(test.now); got != test.want {
			t.Errorf("Instant(%d).Due(%d) = %v, want %v", test.deadline, test.now, got, test.want)
		}
	}
}

// Ensure that only a longer life counts as an extension, so that only it may be lost.
func TestInstant_Extends(t *testing.T) {
	t.Parallel()
	tests := []struct {
		deadline, old ttl.Instant
		want          bool
	}{
		{60, 50, true},
		{50, 50, true},
		{49, 50, false},
		{ttl.Latest, 50, true},
		{50, ttl.Never, false},
		{ttl.Never, 50, false},
		{ttl.Never, ttl.Never, false},
	}
	for _, test := range tests {
		if got := test.deadline.Extends(test.old); got != test.want {
			t.Errorf("Instant(%d).Extends(%d) = %v, want %v", test.deadline, test.old, got, test.want)
		}
	}
}

// Ensure that adding rounds down and stops at the last instant instead of turning around.
func TestInstant_Add(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from ttl.Instant
		d    time.Duration
		want ttl.Instant
	}{
		{1000, 0, 1000},
		{1000, time.Second, 2000},
		{1000, 1500 * time.Microsecond, 1001},
		{1000, 999 * time.Microsecond, 1000},
		{1000, -time.Second, 0},
		{1000, -1, 999},
		{1000, -1500 * time.Microsecond, 998},
		{ttl.Latest, time.Millisecond, ttl.Latest},
		{ttl.Latest - 5, time.Hour, ttl.Latest},
		{ttl.Latest, -time.Millisecond, ttl.Latest - 1},
		{ttl.Latest, 999 * time.Microsecond, ttl.Latest},
	}
	for _, test := range tests {
		if got := test.from.Add(test.d); got != test.want {
			t.Errorf("Instant(%d).Add(%v) = %d, want %d", test.from, test.d, got, test.want)
		}
	}
}

// Ensure that the time until a deadline far away is long, and not an overflow.
func TestInstant_Sub(t *testing.T) {
	t.Parallel()
	const now ttl.Instant = 1_700_000_000_000
	tests := []struct {
		deadline, earlier ttl.Instant
		want              time.Duration
	}{
		{now, now, 0},
		{now + 1500, now, 1500 * time.Millisecond},
		{now, now + 1, -time.Millisecond},
		{ttl.Latest, now, math.MaxInt64},
		{now, ttl.Latest, math.MinInt64},
		{ttl.Latest, ttl.Latest - 1, time.Millisecond},
	}
	for _, test := range tests {
		if got := test.deadline.Sub(test.earlier); got != test.want {
			t.Errorf("Instant(%d).Sub(%d) = %v, want %v", test.deadline, test.earlier, got, test.want)
		}
	}
}

// Ensure that an instant is Unix milliseconds, rounded down, before 1970 too.
func TestOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		time time.Time
		want ttl.Instant
	}{
		{time.Unix(0, 0), 0},
		{time.Date(2026, 5, 4, 3, 2, 1, 999_999, time.UTC), 1777863721000},
		{time.Date(2026, 5, 4, 3, 2, 1, 1_000_000, time.UTC), 1777863721001},
		{time.Unix(0, -1), -1},
	}
	for _, test := range tests {
		if got := ttl.Of(test.time); got != test.want {
			t.Errorf("Of(%v) = %d, want %d", test.time, got, test.want)
		}
		if got := ttl.Of(test.want.Time()); got != test.want {
			t.Errorf("Of(Instant(%d).Time()) = %d", test.want, got)
		}
	}
	if location := ttl.Instant(1).Time().Location(); location != time.UTC {
		t.Errorf("Time() is in %v, want UTC", location)
	}
}

func TestEarlier(t *testing.T) {
	for _, tt := range []struct{ a, b, want ttl.Instant }{
		{ttl.Never, ttl.Never, ttl.Never}, {5, ttl.Never, 5}, {ttl.Never, 5, 5}, {5, 7, 5}, {7, 5, 5},
	} {
		if got := ttl.Earlier(tt.a, tt.b); got != tt.want {
			t.Errorf("Earlier(%d, %d) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
