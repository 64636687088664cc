package server

import "bytes"

const (
	// maxPattern bounds what a glob takes in memory. Redis has no such limit.
	maxPattern = 64 << 10
	// globWork bounds the steps of one match per byte of the name. A match needs at most
	// as many as the longest piece between two stars has bytes.
	globWork = 1 << 10
)

// glob is a pattern of KEYS, SCAN, CONFIG GET and COMMAND LIST, by Redis' rules:
//
//   - any bytes          [abc] [a-c]   one of these bytes
//     ?         one byte           [^abc]        one byte that is none of these
//     \*        the byte itself
//
// A class that is not closed ends with the pattern; a backslash at the end is itself; the
// ends of a range compare as signed bytes, in either order. Only the empty pattern matches
// the empty name.
type glob struct {
	elements []globElement
	classes  []byteSet
}

type globElement struct {
	kind  globKind
	c     byte  // of a literal
	class int32 // its place in classes
}

type globKind byte

const (
	globLiteral globKind = iota
	globAny
	globClass
	globStar
)

// byteSet holds one bit for each byte there is.
type byteSet [4]uint64

func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

func (s *byteSet) invert() {
	for i := range s {
		s[i] = ^s[i]
	}
}

// addRange adds the bytes between a and b, whichever is larger.
func (s *byteSet) addRange(a, b byte) {
	from, to := min(int8(a), int8(b)), max(int8(a), int8(b))
	for c := int(from); c <= int(to); c++ {
		s.add(byte(c))
	}
}

// globMatch reports whether name matches pattern. A pattern that is too long matches
// nothing.
func globMatch(pattern, name []byte) bool {
	g, err := newGlob(pattern)
	return err == nil && g.match(name)
}

// newGlob reads a pattern once, so that a class costs the same for every name however long
// it was written.
func newGlob(pattern []byte) (*glob, error) {
	if len(pattern) > maxPattern {
		return nil, errPatternTooLong
	}
	g := &glob{elements: make([]globElement, 0, len(pattern))}
	for len(pattern) > 0 {
		width, e := 1, globElement{kind: globLiteral, c: pattern[0]}
		switch {
		case pattern[0] == '*':
			pattern = bytes.TrimLeft(pattern, "*")
			width, e.kind = 0, globStar
		case pattern[0] == '?':
			e.kind = globAny
		case pattern[0] == '[':
			var set byteSet
			width, set = readClass(pattern)
			e.kind, e.class = globClass, int32(len(g.classes))
			g.classes = append(g.classes, set)
		case pattern[0] == '\\' && len(pattern) > 1:
			width, e.c = 2, pattern[1]
		}
		g.elements = append(g.elements, e)
		pattern = pattern[width:]
	}
	return g, nil
}

// readClass reads the class that pattern begins with and returns its width.
func readClass(pattern []byte) (width int, set byteSet) {
	i := 1
	not := i < len(pattern) && pattern[i] == '^'
	if not {
		i++
	}
	for ; i < len(pattern) && pattern[i] != ']'; i++ {
		rest := pattern[i:]
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			i++
			set.add(rest[1])
		case len(rest) > 2 && rest[1] == '-':
			i += 2
			set.addRange(rest[0], rest[2])
		default:
			set.add(rest[0])
		}
	}
	if not {
		set.invert()
	}
	return min(i+1, len(pattern)), set
}

// match reports whether the whole name matches. Where a piece behind a star does not fit
// it is tried one byte further on; what stood before the star is never looked at again. A
// name that takes more than globWork steps per byte is given up and does not match.
func (g *glob) match(name []byte) bool {
	if len(name) == 0 {
		return len(g.elements) == 0
	}
	e, n := 0, 0
	star, retry := -1, 0 // behind the last star, and where that was last tried
	for work := globWork * len(name); n < len(name); work-- {
		switch {
		case e < len(g.elements) && g.elements[e].kind == globStar:
			e++
			star, retry = e, n
		case e < len(g.elements) && g.fits(g.elements[e], name[n]):
			e, n = e+1, n+1
		case star < 0 || work <= 0:
			return false
		case star == len(g.elements):
			return true
		default:
			retry++
			e, n = star, retry
		}
	}
	return e == len(g.elements) || e == len(g.elements)-1 && g.elements[e].kind == globStar
}

// fits reports whether c is a byte that an element other than a star stands for.
func (g *glob) fits(e globElement, c byte) bool {
	switch e.kind {
	case globAny:
		return true
	case globClass:
		return g.classes[e.class].has(c)
	}
	return e.c == c
}
