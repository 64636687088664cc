package diff

import (
	"slices"
	"strings"
)

// spoil makes a valid line wrong, or at least unusual.
func (g *generator) spoil(c generated, args []arg) []arg {
	first := len(c.words)
	if len(args) == first {
		if g.IntN(4) == 0 {
			return []arg{{text: g.pick("NOSUCH", "GETT", "", "get ", "no\r\nsuch", "\x00")}, {text: g.text()}}
		}
		return append(args, arg{text: g.text()})
	}
	at := first + g.IntN(len(args)-first)
	switch g.IntN(8) {
	case 0: // one argument less
		return slices.Delete(args, at, at+1)
	case 1: // one twice
		return slices.Insert(args, at, args[at])
	case 2: // one more
		return append(args, arg{text: g.text()})
	case 3: // two exchanged
		other := first + g.IntN(len(args)-first)
		args[at], args[other] = args[other], args[at]
		return args
	case 4: // cut short
		return args[:at]
	case 5: // options that may not go together
		return g.again(c, args)
	case 6: // a word where an option belongs
		args[at].text = g.pick("BOGUS", "", "NX", "XX", "EX", "10", "GET", "KEEPTTL", "COUNT", "\xff")
		return args
	}
	return g.wrongNumber(args)
}

// again adds the options of a second line.
func (g *generator) again(c generated, args []arg) []arg {
	for i, part := range c.syntax {
		if isOption(part) {
			return g.expand(args, c, g.shuffled(c.syntax[i:]))
		}
	}
	return args
}

// wrongNumber puts something else in the place of a number.
func (g *generator) wrongNumber(args []arg) []arg {
	var numbers []int
	for i, a := range args {
		if isNumber(a.name) {
			numbers = append(numbers, i)
		}
	}
	if len(numbers) == 0 {
		return args
	}
	a := &args[numbers[g.IntN(len(numbers))]]
	a.text = g.pick(
		"abc", "", "1.5", " 1", "1 ", "+1", "01", "1e3", "0x1", "0", "-1", "-0", "16", "1\x00", "2147483648",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
		"18446744073709551616", "99999999999999999999999", "nan", "inf", "-inf", "1e400", "1e5000")
	if a.text == "2147483648" && strings.HasSuffix(a.name, "seconds") {
		a.text = g.deadline(a.name) // no relative deadline comes twice: GT would depend on the millisecond
	}
	return args
}

var numberNames = strings.Fields("seconds milliseconds unix-time-seconds unix-time-milliseconds increment decrement " +
	"offset start end index index1 index2 db destination-db cursor count protover")

func isNumber(name string) bool { return slices.Contains(numberNames, name) }
