package glob

import (
	"strings"
	"testing"
)

// Ensure that patterns match by Redis' rules, odd ones included.
func TestMatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern string
		match   string // names, separated by blanks; <> is the empty one
		differ  string
	}{
		{"", "<>", "a"},
		{"*", "a ab", "<>"}, // KEYS and SCAN treat a single star before it comes here
		{"**", "a ab", "<>"},
		{"a", "a", "<> b aa A"},
		{"a*", "a ab abc", "<> b ba"},
		{"*a", "a ba bba", "<> b ab"},
		{"a*b*c", "abc aXbYc abcbc", "ab ac abcd"},
		{"*ab*ab*", "abab xabyabz", "ab aab abxa"},
		{"a?c", "abc a?c", "ac abbc"},
		{"?", "a", "<> ab"},
		{"[abc]", "a b c", "d ab"},
		{"[^abc]", "d ^", "a b c"},
		{"[a-c]x", "ax cx", "dx x"},
		{"[c-a]", "a b c", "d -"},
		{"[a-]", "a ] ^ `", "- b [a-]"}, // the range from ] to a, and no end
		{"[a-", "a -", "b ["},
		{"[abc", "a b c", "d ["},
		{"x[", "", "x x["},
		{"x[^", "xa xx", "x"},
		{"[]", "", "a ] []"},
		{"[^]", "a ]", "<>"},
		{`[\]]`, "]", `\ a`},
		{`[\-a]`, "- a", `\ b`},
		{`[\`, `\`, "["},
		{`\*`, "*", `a \*`},
		{`\[a]`, "[a]", "a"},
		{`a\`, `a\`, "a"},
		{`\\`, `\`, `\\`},
		{"sess:*:v?", "sess::v1 sess:a:b:v2", "sess:v1 sess:a:v"},
		{"[\x80-\x90]", "\x80 \x85", "\x91 a"},
		{"[a-\xff]", "\xff 1 a", "b \xfe"}, // bytes are signed: -1 to 97
	}
	name := func(s string) []byte { return []byte(strings.ReplaceAll(s, "<>", "")) }
	for _, tt := range tests {
		for _, s := range strings.Fields(tt.match) {
			if !Match([]byte(tt.pattern), name(s)) {
				t.Errorf("%q does not match %q", tt.pattern, s)
			}
		}
		for _, s := range strings.Fields(tt.differ) {
			if Match([]byte(tt.pattern), name(s)) {
				t.Errorf("%q matches %q", tt.pattern, s)
			}
		}
	}
}

// Ensure that a hostile pattern costs a bounded number of steps. With a matcher that goes
// back to every star this test would not end.
func TestMatch_Hostile(t *testing.T) {
	t.Parallel()
	name := []byte(strings.Repeat("a", 1<<15))
	for _, pattern := range []string{
		strings.Repeat("*a", 1<<14) + "b",
		"*" + strings.Repeat("a", 1<<14) + "b",
		"*" + strings.Repeat("[ab-z]", 1<<12) + "!",
		strings.Repeat("*", 1<<15) + "b",
		strings.Repeat("a*?*", 1<<13) + "b",
	} {
		if Match([]byte(pattern), name) {
			t.Errorf("%.20q... matches", pattern)
		}
	}
	as := func(n int) string { return strings.Repeat("a", n) }
	if Match([]byte("*"+as(3000)+"b"), []byte(as(6000)+"b")) {
		t.Errorf("a match of %d steps was not given up", 3000*3000)
	}
	if !Match([]byte("*"+as(500)+"b"), []byte(as(6000)+"b")) {
		t.Errorf("a match of %d steps was given up", 500*5500)
	}
	if _, err := Compile(make([]byte, MaxPattern+1)); err != ErrTooLong {
		t.Errorf("Compile of %d bytes: %v, want %v", MaxPattern+1, err, ErrTooLong)
	}
	if _, err := Compile(make([]byte, MaxPattern)); err != nil {
		t.Errorf("Compile of %d bytes: %v", MaxPattern, err)
	}
}

// slowMatch is the definition of a match without any cleverness: a star stands for every
// prefix in turn.
func slowMatch(p *Pattern, elements []element, name []byte) bool {
	switch {
	case len(elements) == 0:
		return len(name) == 0
	case elements[0].kind != kindStar:
		return len(name) > 0 && p.fits(elements[0], name[0]) && slowMatch(p, elements[1:], name[1:])
	}
	for i := range len(name) + 1 {
		if slowMatch(p, elements[1:], name[i:]) {
			return true
		}
	}
	return false
}

// FuzzMatch compares the matcher with its definition, except for the empty name.
func FuzzMatch(f *testing.F) {
	f.Add([]byte("a*b*c"), []byte("abcbc"))
	f.Add([]byte("[^a-c]*\\"), []byte("xyz"))
	f.Add([]byte("*a*?b["), []byte("aaab"))
	f.Fuzz(func(t *testing.T, pattern, name []byte) {
		p, err := Compile(pattern)
		if err != nil || len(name) > 12 || len(p.elements) > 12 {
			return
		}
		want := slowMatch(p, p.elements, name) && (len(name) > 0 || len(pattern) == 0)
		if got := p.Match(name); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", pattern, name, got, want)
		}
	})
}

// BenchmarkMatch is the cost of one name in KEYS and SCAN. It must not allocate.
func BenchmarkMatch(b *testing.B) {
	p, err := Compile([]byte("sess:*[0-9a-f]x?"))
	if err != nil {
		b.Fatal(err)
	}
	name := []byte("sess:0123456789abcdef0123456789abxy")
	b.ReportAllocs()
	for b.Loop() {
		if !p.Match(name) {
			b.Fatal("no match")
		}
	}
}
