package server

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
)

// Ensure that sums are rounded and written as Redis writes them.
func TestParseFloat_Sum(t *testing.T) {
	t.Parallel()
	tests := []struct{ a, b, want string }{
		{"0.1", "0.2", "0.3"},
		{"5.0e3", "200", "5200"},
		{"3.0", "0", "3"},
		{"10.50", "0.1", "10.6"},
		{"10.50", "-5", "5.5"},
		{"-0", "0", "0"},
		{"1", "-1", "0"},
		{"0", "-1e-18", "0"},
		{"0", "0.00000000000000001", "0.00000000000000001"},
		{"1", "1e17", "100000000000000001"},
		{"1", "1e25", "10000000000000000000000000"},
		{"0", "0x1.8p1", "3"},
		{"+.5", "5.", "5.5"},
		{"0", "3e27", "3000000000000000000134217728"},
		{"0", "1e28", "9999999999999999999731564544"},
		{"0", "1e22", "10000000000000000000000"},
		{"0", "100", "100"},
	}
	for _, tt := range tests {
		a, errA := parseFloat([]byte(tt.a))
		b, errB := parseFloat([]byte(tt.b))
		if errA != nil || errB != nil {
			t.Errorf("parseFloat(%q), parseFloat(%q): %v, %v", tt.a, tt.b, errA, errB)
			continue
		}
		if got := string(formatFloat(a.Add(a, b))); got != tt.want {
			t.Errorf("%s + %s = %s, want %s", tt.a, tt.b, got, tt.want)
		}
	}
}

// Ensure that what C's strtold does not take whole is refused, and what a long double
// cannot hold.
func TestParseFloat_Invalid(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " 1", "1 ", "abc", "1e", "1e+", "e5", ".", "+", "+-1", "--1", "1_0", "1p3", "0x", "0x_1", "0b1", "0o7", "0xg",
		"1,5", "nan", "-nan", "infin", "1e5000", "-1e5000", "1e-5000", "1e99999999999", "1e-99999999999",
		"1e99999999999999999999", "0x1p-99999999999", "0x1p99999999999", strings.Repeat("1", 5120),
	} {
		if f, err := parseFloat([]byte(text)); err != errNotFloat {
			t.Errorf("parseFloat(%q) = %v, %v, want %v", text, f, err, errNotFloat)
		}
	}
	for _, text := range []string{"inf", "+INF", "-infinity", "Infinity"} {
		if f, err := parseFloat([]byte(text)); err != nil || !f.IsInf() || f.Signbit() != (text[0] == '-') {
			t.Errorf("parseFloat(%q) = %v, %v", text, f, err)
		}
	}
}

// FuzzParseFloat checks that no input panics, that strconv agrees on ordinary numbers, and
// that what is written can be read again.
func FuzzParseFloat(f *testing.F) {
	for _, text := range []string{"0.1", "-5e3", "0x1.8p1", "inf", "1e4932", "1e-4940", "0x.1p-9"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := parseFloat([]byte(text))
		if err != nil || x.IsInf() {
			return
		}
		if want, err := strconv.ParseFloat(text, 64); err == nil {
			// The nearest float64 of the nearest long double may be the next one.
			if got, _ := x.Float64(); math.Abs(got-want) > math.Abs(want)*1e-15 {
				t.Errorf("parseFloat(%q) = %v, want %v", text, got, want)
			}
		}
		written := formatFloat(x)
		again, _, err := big.ParseFloat(string(written), 10, floatBits, big.ToNearestEven)
		if err != nil || string(formatFloat(again)) != string(written) {
			t.Errorf("%q is written %s, read again %v, %v", text, written, again, err)
		}
	})
}
