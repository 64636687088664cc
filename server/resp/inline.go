package resp

import "bytes"

// splitInline splits a line into arguments by Redis' rules: blanks separate; "double"
// quotes take \n \r \t \b \a \" \\ and \xNN; 'single' quotes take only \'. A closing quote
// must be followed by a blank or the end. The arguments are written over the line itself
// and appended to spans. ok is false if a quote is not closed.
func splitInline(line []byte, spans []span) (_ []span, ok bool) {
	line, _, _ = bytes.Cut(line, []byte{0}) // Redis reads the line as a C string
	in, out := 0, 0
	for {
		for in < len(line) && isSpace(line[in]) {
			in++
		}
		if in == len(line) {
			return spans, true
		}
		from := out
		for in < len(line) && !endsWord(line[in]) {
			if c := line[in]; c != '"' && c != '\'' {
				line[out] = c
				in, out = in+1, out+1
				continue
			}
			if in, out, ok = unquote(line, in, out); !ok {
				return spans, false
			}
			if in < len(line) && !isSpace(line[in]) {
				return spans, false
			}
			break // a closing quote ends the word
		}
		spans = append(spans, span{from, out - from})
	}
}

// unquote copies the quoted text that begins at line[in] to line[out:] and returns both
// offsets behind it.
func unquote(line []byte, in, out int) (int, int, bool) {
	quote := line[in]
	for in++; in < len(line); in++ {
		c := line[in]
		switch {
		case c == quote:
			return in + 1, out, true
		case c == '\\' && quote == '\'' && in+1 < len(line) && line[in+1] == '\'':
			in++
			c = '\''
		case c == '\\' && quote == '"' && isHexEscape(line[in:]):
			c = hexDigit(line[in+2])<<4 | hexDigit(line[in+3])
			in += 3
		case c == '\\' && quote == '"' && in+1 < len(line):
			in++
			c = unescape(line[in])
		}
		line[out] = c
		out++
	}
	return in, out, false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func isHexEscape(b []byte) bool {
	return len(b) >= 4 && b[1] == 'x' && isHex(b[2]) && isHex(b[3])
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexDigit(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// endsWord reports whether c ends a word that is not quoted. As in Redis, \v and \f do not, although
// they are skipped before a word.
func endsWord(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// isSpace is isspace of the C locale.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
