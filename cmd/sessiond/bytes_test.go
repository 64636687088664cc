package main

import (
	"math"
	"testing"
)

// Ensure that sizes are read as redis.conf reads them, and shown in a form that is read
// as the same size.
func TestByteSize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text  string
		want  int64
		shown string
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"1b", 1, "1"},
		{"1k", 1000, "1000"},
		{"1kb", 1024, "1kb"},
		{"1m", 1_000_000, "1000000"},
		{"64mb", 64 << 20, "64mb"},
		{"64MB", 64 << 20, "64mb"},
		{"1536Kb", 1536 << 10, "1536kb"},
		{"2g", 2_000_000_000, "1953125kb"},
		{"10Gb", 10 << 30, "10gb"},
		{"-1", -1, "-1"},
		{"-1kb", -1024, "-1kb"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
	}
	for _, tt := range tests {
		var n, again int64
		size := byteSize[int64]{&n}
		if err := size.Set(tt.text); err != nil || n != tt.want || size.String() != tt.shown {
			t.Errorf("%q = %d (%v), %v, want %d (%s)", tt.text, n, size, err, tt.want, tt.shown)
		}
		if err := (byteSize[int64]{&again}).Set(size.String()); err != nil || again != n {
			t.Errorf("%q is shown as %v, which is read as %d, %v", tt.text, size, again, err)
		}
	}
}

// Ensure that what is no size leaves the flag as it is.
func TestByteSize_Wrong(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "b", "kb", "1 kb", " 1", "1kib", "1t", "1.5gb", "0x10", "1_000", "--1",
		"9223372036854775808", "9223372036854775807k", "-9223372036854775808g", "99999999999gb",
	} {
		n := int64(7)
		if err := (byteSize[int64]{&n}).Set(text); err == nil || n != 7 {
			t.Errorf("%q was taken for %d, %v", text, n, err)
		}
	}
}
