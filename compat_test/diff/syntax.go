package diff

import (
	"fmt"
	"strings"
)

// Command is one row of the command table: what the generator needs of it.
type Command struct {
	Name   string // lower case; a subcommand is "client setname"
	Syntax string // as in the Redis documentation: key [key ...], [NX | XX], <ON | OFF>
}

// node is a piece of a syntax.
type node interface{}

type (
	literal  string   // a word as it stands: NX
	argument string   // a word that stands for another: key
	sequence []node   // one after the other
	choice   []node   // one of them
	optional struct { // perhaps, and once more and more if it repeats
		node
		repeats bool
	}
)

// parseSyntax reads the syntax column of a command.
func parseSyntax(text string) (sequence, error) {
	p := &syntaxParser{tokens: tokens(text)}
	n, err := p.alternatives("")
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("unexpected %q", p.tokens[0])
	}
	if err != nil {
		return nil, fmt.Errorf("syntax %q: %w", text, err)
	}
	if s, ok := n.(sequence); ok {
		return s, nil
	}
	return sequence{n}, nil
}

func tokens(text string) []string {
	for _, mark := range []string{"[", "]", "<", ">"} {
		text = strings.ReplaceAll(text, mark, " "+mark+" ")
	}
	return strings.Fields(text)
}

type syntaxParser struct{ tokens []string }

func (p *syntaxParser) next() string {
	if len(p.tokens) == 0 {
		return ""
	}
	token := p.tokens[0]
	p.tokens = p.tokens[1:]
	return token
}

// alternatives reads sequences divided by | up to the closing mark, which it takes.
func (p *syntaxParser) alternatives(closing string) (node, error) {
	var all choice
	var current sequence
	for {
		switch token := p.next(); token {
		case closing:
			all = append(all, current)
			if len(all) == 1 {
				return all[0], nil
			}
			return all, nil
		case "", "]", ">":
			return nil, fmt.Errorf("%q where %q belongs", token, closing)
		case "|":
			all, current = append(all, current), nil
		case "[":
			n, err := p.alternatives("]")
			if err != nil {
				return nil, err
			}
			current = append(current, asOptional(n))
		case "<":
			n, err := p.alternatives(">")
			if err != nil {
				return nil, err
			}
			current = append(current, n)
		default:
			current = append(current, word(token))
		}
	}
}

// asOptional wraps what stood in brackets; three dots at its end make it repeat.
func asOptional(n node) optional {
	if s, ok := n.(sequence); ok && len(s) > 1 && s[len(s)-1] == argument("...") {
		return optional{s[:len(s)-1], true}
	}
	return optional{n, false}
}

func word(token string) node {
	if token == strings.ToUpper(token) && token != "..." {
		return literal(token)
	}
	return argument(token)
}
