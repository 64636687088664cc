package diff

import (
	"sort"
	"strconv"
	"strings"
)

// value is a reply taken apart.
type value struct {
	kind  byte   // the first byte: + - : $ * _ % ~ = , # ( >
	text  string // of a scalar
	null  bool
	elems []value // of an array, a set, a push, or a map: keys and values in turn
	raw   string
}

// parse takes the first reply off raw. A reply that is cut short or none at all comes back
// with kind 0 and everything in its text.
func parse(raw string) (v value, rest string) {
	line, rest, ok := strings.Cut(raw, "\r\n")
	if !ok || line == "" {
		return value{text: raw, raw: raw}, ""
	}
	v = value{kind: line[0], text: line[1:]}
	switch v.kind {
	case '$', '=', '!':
		n, err := strconv.Atoi(v.text)
		if v.null = n < 0; v.null || err != nil || len(rest) < n+2 {
			break
		}
		v.text, rest = rest[:n], rest[n+2:]
	case '*', '%', '~', '>':
		n, _ := strconv.Atoi(v.text) // both replies are compared as they are if this fails
		v.null = n < 0
		if v.kind == '%' {
			n *= 2
		}
		for range n {
			var e value
			e, rest = parse(rest)
			v.elems = append(v.elems, e)
		}
	case '_':
		v.null = true
	}
	v.raw = raw[:len(raw)-len(rest)]
	return v, rest
}

// canon returns the reply with the elements of every array in order, so that two replies
// that differ only in order are equal.
func (v value) canon() string {
	if len(v.elems) == 0 {
		return v.raw
	}
	step := 1
	if v.kind == '%' {
		step = 2
	}
	var parts []string
	for i := 0; i < len(v.elems); i += step {
		part := v.elems[i].canon()
		if step == 2 {
			part += v.elems[i+1].canon()
		}
		parts = append(parts, part)
	}
	sort.Strings(parts)
	return string(v.kind) + v.text + "\r\n" + strings.Join(parts, "")
}

// sameShape reports whether two replies have the same type, and so have their elements if
// they are as many.
func sameShape(a, b value) bool {
	if a.kind != b.kind || a.null != b.null {
		return false
	}
	for i := range a.elems {
		if len(a.elems) == len(b.elems) && a.elems[i].kind != b.elems[i].kind {
			return false
		}
	}
	return true
}

// without returns the reply, a map or a flat array of pairs, less the named fields.
func (v value) without(fields []string) string {
	var b strings.Builder
	b.WriteString(string(v.kind) + v.text + "\r\n")
	for i := 0; i+1 < len(v.elems); i += 2 {
		b.WriteString(v.elems[i].raw)
		if !contains(fields, v.elems[i].text) {
			b.WriteString(v.elems[i+1].raw)
		}
	}
	return b.String()
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
