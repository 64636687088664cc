package resp

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// splitLine returns the words of an inline command.
func splitLine(line string) (words []string, ok bool) {
	b := []byte(line)
	spans, ok := splitInline(b, nil)
	for _, s := range spans {
		words = append(words, string(b[s.off:s.off+s.len]))
	}
	return words, ok
}

// Ensure that inline commands are split by the rules of Redis' own reader.
func TestSplitInline(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want []string
	}{
		{"", nil},
		{" \t\r\v\f ", nil},
		{"get k", []string{"get", "k"}},
		{"  get \t k  ", []string{"get", "k"}},
		{"a\rb", []string{"a", "b"}},
		{"a\vb c\fd", []string{"a\vb", "c\fd"}},
		{"a \vb", []string{"a", "b"}},
		{`""`, []string{""}},
		{`'' ""`, []string{"", ""}},
		{`"a b" 'c d'`, []string{"a b", "c d"}},
		{`foo"bar"`, []string{"foobar"}},
		{`foo'b r'`, []string{"foob r"}},
		{`"a\"b\\c\td\re\bf\ag\n"`, []string{"a\"b\\c\td\re\bf\ag\n"}},
		{`"\x41\xfF\x0"`, []string{"A\xffx0"}},
		{`"\q\x4g"`, []string{"qx4g"}},
		{`'a\tb\'c\d'`, []string{`a\tb'c\d`}},
		{`a\n`, []string{`a\n`}},
		{"\"a\"\vb", []string{"a", "b"}},
		{"a\x00b c", []string{"a"}},
		{"a \x00", []string{"a"}},
		{"\x00", nil},
		{"\xff\xfe", []string{"\xff\xfe"}},
	}
	for _, tt := range tests {
		if got, ok := splitLine(tt.line); !ok || !slices.Equal(got, tt.want) {
			t.Errorf("split %q = %q, %v, want %q", tt.line, got, ok, tt.want)
		}
	}
}

// Ensure that a quote that is not closed, or not followed by a blank, is refused.
func TestSplitInline_Unbalanced(t *testing.T) {
	t.Parallel()
	for _, line := range []string{`"a`, `'a`, `a "`, `a'b`, `"a"b`, `'a'"b"`, `"a\`, `"a\"`, `'a\'`, "\"a\x00\""} {
		if got, ok := splitLine(line); ok {
			t.Errorf("split %q = %q, want an error", line, got)
		}
	}
}

// FuzzSplitInline checks that any argument comes back from its quoted form, and that no
// line makes words that are longer than itself.
func FuzzSplitInline(f *testing.F) {
	for _, line := range []string{"get k", `"a\x41\n" 'b'`, `"`, "a\x00b", "a\v b"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		words, ok := splitLine(string(data))
		sum := 0
		for _, w := range words {
			sum += len(w)
		}
		if sum > len(data) {
			t.Errorf("split %q = %q, %v", data, words, ok)
		}
		var quoted bytes.Buffer
		for _, c := range data {
			fmt.Fprintf(&quoted, `\x%02x`, c)
		}
		words, ok = splitLine(`"` + quoted.String() + `"`)
		if !ok || len(words) != 1 || words[0] != string(data) {
			t.Errorf("split of quoted %q = %q, %v", data, words, ok)
		}
	})
}
