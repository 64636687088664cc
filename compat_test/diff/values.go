package diff

import (
	"strconv"
	"strings"
	"time"
)

// value makes a word for an argument of a command, by its name in the syntax. Few keys, so
// that commands meet.
func (g *generator) value(command, name string) string {
	switch name {
	case "key", "newkey", "source", "destination":
		return g.key()
	case "seconds", "milliseconds", "unix-time-seconds", "unix-time-milliseconds":
		return g.deadline(name)
	case "increment", "decrement":
		if command == "incrbyfloat" {
			return g.float()
		}
		return g.integer()
	case "start", "end":
		return strconv.Itoa(g.IntN(60) - 30)
	case "offset":
		if g.IntN(50) == 0 {
			return "100000"
		}
		return strconv.Itoa(g.IntN(30))
	case "index", "index1", "index2", "db", "destination-db":
		if g.IntN(20) == 0 {
			return "15"
		}
		return strconv.Itoa(g.IntN(3))
	case "cursor":
		return "0"
	case "count":
		return g.pick("1000", "1000", "1000", "5000", "1", "3")
	case "pattern":
		return g.pick("*", "*", "k*", "k?", "k[1-3]", "k[^1-3]", "*[ab]*", "**", "\\k1", "k[1", "", "k1", "*\xff*", "[a-", "?")
	case "type":
		return g.pick("string", "string", "STRING", "hash", "list", "nosuch")
	case "protover":
		return g.pick("2", "3")
	case "username":
		if g.IntN(200) == 0 {
			return "nobody" // seldom: failed logins are slowed down
		}
		return "default"
	case "connection-name", "clientname":
		return g.pick("me", "you", "", "a-b:c")
	case "section":
		return g.pick("server", "keyspace", "everything", "nosuch")
	case "client-id":
		return "999999999"
	}
	return g.text()
}

func (g *generator) key() string {
	if g.IntN(12) == 0 {
		return g.pick("", "a b", "k\x00\xff\r\n", "{k}1", "K1", "0", strings.Repeat("long", 100))
	}
	return "k" + strconv.Itoa(g.IntN(8))
}

// text makes what a string can hold.
func (g *generator) text() string {
	switch g.IntN(12) {
	case 0, 1, 2:
		return g.integer()
	case 3, 4:
		return g.float()
	case 5:
		return ""
	case 6:
		return g.pick("\x00", "\xff\xfe", "a\r\nb", "\x00\x01\x02 \x7f\x80", "+OK\r\n", "$-1\r\n", "\"quoted\"", "caf\xc3\xa9")
	case 7:
		return strings.Repeat("x", g.IntN(4)+43) // around the longest embstr
	case 8:
		if g.IntN(6) > 0 {
			return strings.Repeat("0123456789", g.IntN(20))
		}
		return strings.Repeat("large ", 2000+g.IntN(4000))
	}
	return g.pick("value", "v", "hello world", "Session", "abc", "{\"user\":1}")
}

func (g *generator) integer() string {
	switch g.IntN(10) {
	case 0:
		return g.pick("9223372036854775807", "-9223372036854775808", "9223372036854775806", "4294967296", "-1", "0", "9999", "10000")
	case 1:
		return strconv.FormatInt(int64(g.Uint64()), 10)
	}
	return strconv.Itoa(g.IntN(200) - 50)
}

func (g *generator) float() string {
	switch g.IntN(6) {
	case 0:
		return g.pick("5.0e3", "1e17", "1e-17", "3.0e300", "-0", "0.1", ".5", "5.", "+5", "1e20", "-1e100", "0x10", "100000000000000000000")
	case 1:
		return strconv.FormatFloat(g.NormFloat64(), 'g', -1, 64)
	case 2:
		return strconv.FormatFloat(g.NormFloat64()*1e6, 'f', g.IntN(18), 64)
	}
	return strconv.FormatFloat(float64(g.IntN(2000)-1000)/8, 'f', -1, 64)
}

// Deadlines are far from each other and from now, so that it does not matter which server
// hears a line a little later: relative ones of hours to 30 years, absolute ones from the
// year 2096 on, or long past.
func (g *generator) deadline(name string) string {
	far := int64(g.IntN(1_000_000_000))
	switch name {
	case "seconds":
		return strconv.FormatInt(7200+far, 10)
	case "milliseconds":
		return strconv.FormatInt((7200+far)*1000, 10)
	}
	at := 4_000_000_000 + far
	if g.IntN(5) == 0 {
		at = 1 + far
	}
	if name == "unix-time-milliseconds" {
		at *= 1000
	}
	return strconv.FormatInt(at, 10)
}

// settled reports whether no deadline in the line comes due within an hour or did within
// the last. Spoiled lines can have such deadlines.
func settled(line []string) bool {
	switch name := strings.ToLower(line[0]); name {
	case "setex", "expire":
		return len(line) < 3 || farFromNow("ex", line[2])
	case "psetex", "pexpire":
		return len(line) < 3 || farFromNow("px", line[2])
	case "expireat":
		return len(line) < 3 || farFromNow("exat", line[2])
	case "pexpireat":
		return len(line) < 3 || farFromNow("pxat", line[2])
	case "set", "getex":
		for i := 2; i+1 < len(line); i++ {
			if !farFromNow(strings.ToLower(line[i]), line[i+1]) {
				return false
			}
		}
	}
	return true
}

func farFromNow(option, number string) bool {
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return true
	}
	switch option {
	case "px":
		n /= 1000
	case "exat":
		n -= time.Now().Unix()
	case "pxat":
		n = n/1000 - time.Now().Unix()
	case "ex":
	default:
		return true
	}
	const hour = 3600
	return n < -hour || n > hour || (n <= 0 && strings.HasPrefix(number, "-")) || number == "0"
}
