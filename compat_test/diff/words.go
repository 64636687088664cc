package diff

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var errQuotes = errors.New("unbalanced quotes")

// Split cuts a line into words. A word in double quotes knows \xNN, \n, \r, \t, \\ and \";
// one in single quotes is taken as it stands.
func Split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" {
			return words, nil
		}
		word, rest, err := cutWord(line)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, line)
		}
		words, line = append(words, word), rest
	}
}

func cutWord(line string) (word, rest string, err error) {
	switch line[0] {
	case '"':
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return "", "", errQuotes
		}
		word, err = strconv.Unquote(quoted)
		return word, line[len(quoted):], err
	case '\'':
		end := strings.IndexByte(line[1:], '\'')
		if end < 0 {
			return "", "", errQuotes
		}
		return line[1 : 1+end], line[end+2:], nil
	}
	if end := strings.IndexAny(line, " \t"); end >= 0 {
		return line[:end], line[end:], nil
	}
	return line, "", nil
}

// Quote joins words so that Split returns them again.
func Quote(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quoteWord(w)
	}
	return strings.Join(quoted, " ")
}

func quoteWord(w string) string {
	plain := w != "" && w[0] != '#' && w[0] != '\''
	for i := 0; i < len(w) && plain; i++ {
		plain = w[i] > ' ' && w[i] < 0x7f && w[i] != '"' && w[i] != '\\'
	}
	if plain {
		return w
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(w); i++ {
		switch c := w[i]; {
		case c == '"' || c == '\\':
			b.WriteString("\\" + string(rune(c)))
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, "\\x%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
