// Package glob matches names with the patterns of Redis: those of KEYS, SCAN, CONFIG GET,
// COMMAND LIST and the keys of ACL users. No pattern costs more than a bounded number of
// steps for each byte of a name.
package glob

import (
	"bytes"
	"errors"
)

const (
	// MaxPattern is the length of the longest pattern, in bytes. Redis has no such limit.
	MaxPattern = 64 << 10
	// maxWork limits the steps of one match per byte of the name. A match needs at most as many as
	// the longest part between two stars has bytes.
	maxWork = 1 << 10
)

// ErrTooLong is returned by Compile for a pattern of more than MaxPattern bytes.
var ErrTooLong = errors.New("pattern is too long")

// Pattern is a compiled pattern. It never changes, and is safe for concurrent use. Its rules
// are those of Redis:
//
//   - any bytes           [abc] [a-c]   one of these bytes
//     ?   one byte            [^abc]        one byte that is none of these
//     \*  the byte itself
//
// A class that is not closed ends with the pattern; a backslash at the end is itself; the
// ends of a range compare as signed bytes, in either order. Only the empty pattern matches
// the empty name.
type Pattern struct {
	elements []element
	classes  []byteSet
}

type element struct {
	kind  kind
	c     byte  // of a literal
	class int32 // index in classes
}

type kind byte

const (
	kindLiteral kind = iota
	kindAny
	kindClass
	kindStar
)

// byteSet is a set of bytes.
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

// Match reports whether name matches pattern. A pattern that is too long matches nothing.
func Match(pattern, name []byte) bool {
	p, err := Compile(pattern)
	return err == nil && p.Match(name)
}

// Compile reads a pattern once, so that a long class costs as little as a short one for every name. It
// does not keep the slice.
func Compile(pattern []byte) (*Pattern, error) {
	if len(pattern) > MaxPattern {
		return nil, ErrTooLong
	}
	p := &Pattern{elements: make([]element, 0, len(pattern))}
	for len(pattern) > 0 {
		width, e := 1, element{kind: kindLiteral, c: pattern[0]}
		switch {
		case pattern[0] == '*':
			pattern = bytes.TrimLeft(pattern, "*")
			width, e.kind = 0, kindStar
		case pattern[0] == '?':
			e.kind = kindAny
		case pattern[0] == '[':
			var set byteSet
			width, set = readClass(pattern)
			e.kind, e.class = kindClass, int32(len(p.classes))
			p.classes = append(p.classes, set)
		case pattern[0] == '\\' && len(pattern) > 1:
			width, e.c = 2, pattern[1]
		}
		p.elements = append(p.elements, e)
		pattern = pattern[width:]
	}
	return p, nil
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

// Match reports whether the whole name matches. If the part behind a star does not fit, Match tries it
// one byte further on; it never returns to a part before the star. A name that takes more than maxWork
// steps per byte does not match. Match allocates nothing.
func (p *Pattern) Match(name []byte) bool {
	if len(name) == 0 {
		return len(p.elements) == 0
	}
	e, n := 0, 0
	star, retry := -1, 0 // behind the last star, and the offset in the name where that part was tried last
	for work := maxWork * len(name); n < len(name); work-- {
		switch {
		case e < len(p.elements) && p.elements[e].kind == kindStar:
			e++
			star, retry = e, n
		case e < len(p.elements) && p.fits(p.elements[e], name[n]):
			e, n = e+1, n+1
		case star < 0 || work <= 0:
			return false
		case star == len(p.elements):
			return true
		default:
			retry++
			e, n = star, retry
		}
	}
	return e == len(p.elements) || e == len(p.elements)-1 && p.elements[e].kind == kindStar
}

// fits reports whether c is a byte that an element other than a star stands for.
func (p *Pattern) fits(e element, c byte) bool {
	switch e.kind {
	case kindAny:
		return true
	case kindClass:
		return p.classes[e.class].has(c)
	}
	return e.c == c
}
