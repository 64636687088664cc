package resp

import (
	"math"
	"strconv"
	"testing"
)

// Ensure that integers are read as strictly as Redis reads them.
func TestParseInt(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, -1, 9, 10, -10, 1234567890, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64} {
		if got, ok := ParseInt([]byte(strconv.FormatInt(n, 10))); !ok || got != n {
			t.Errorf("ParseInt(%d) = %d, %v", n, got, ok)
		}
	}
	for _, text := range []string{
		"", "-", "+", "+1", "-0", "00", "01", "-01", " 1", "1 ", "1\n", "1.0", "1e3", "0x1", "1_0", "--1", "abc", "1\x00",
		"9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999", "100000000000000000000",
	} {
		if got, ok := ParseInt([]byte(text)); ok {
			t.Errorf("ParseInt(%q) = %d, want an error", text, got)
		}
	}
}

// FuzzParseInt checks that what is accepted is exactly what strconv would write.
func FuzzParseInt(f *testing.F) {
	for _, text := range []string{"0", "-1", "007", "9223372036854775807", "-9223372036854775808"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := strconv.ParseInt(text, 10, 64)
		canonical := err == nil && strconv.FormatInt(n, 10) == text
		if got, ok := ParseInt([]byte(text)); ok != canonical || ok && got != n {
			t.Errorf("ParseInt(%q) = %d, %v, want %d, %v", text, got, ok, n, canonical)
		}
	})
}
