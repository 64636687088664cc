package server

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/sessiond/sessiond/server/resp"
)

// argument is one argument of a command, as COMMAND DOCS describes it.
type argument struct {
	name     string
	kind     string // Redis' type: string, integer, key, pure-token, oneof, block ...
	token    string // the word before it; for a token the word itself
	keySpec  int    // the key specification it belongs to; only for the kind key
	optional bool
	multiple bool // may be repeated; the token is not
	parts    []argument
}

// parseSyntax reads the syntax column of the table:
//
//	word        an argument           [a b]      may be left out
//	WORD        itself                <a | b>    one of them
//	WORD word   an argument behind    a [a ...]  once or more often
//	            a word, at the start
//	            of a group
//
// Unnamed groups take their name from their parts, joined by "_".
func parseSyntax(syntax string) ([]argument, error) {
	for _, punctuation := range []string{"[", "]", "<", ">", "|"} {
		syntax = strings.ReplaceAll(syntax, punctuation, " "+punctuation+" ")
	}
	p := syntaxParser{words: strings.Fields(syntax)}
	arguments, _, err := p.sequence()
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("unexpected %q", p.words[0])
	}
	return arguments, err
}

type syntaxParser struct{ words []string }

// sequence reads arguments up to a word that ends a group. repeats says whether "..." follows them.
func (p *syntaxParser) sequence() (list []argument, repeats bool, err error) {
	for len(p.words) > 0 {
		word := p.words[0]
		switch word {
		case "]", ">", "|":
			return withToken(list), repeats, nil
		case "...":
			repeats = true
			p.words = p.words[1:]
		case "[", "<":
			p.words = p.words[1:]
			if list, err = p.group(list, word == "["); err != nil {
				return nil, false, err
			}
		default:
			list = append(list, wordArgument(word))
			p.words = p.words[1:]
		}
	}
	return withToken(list), repeats, nil
}

// group reads what follows an opening bracket and adds it to list. "[a ...]" makes the last
// arguments of list repeatable instead.
func (p *syntaxParser) group(list []argument, optional bool) ([]argument, error) {
	closing := ">"
	if optional {
		closing = "]"
	}
	var choices []argument
	for {
		sequence, repeats, err := p.sequence()
		switch {
		case err != nil:
			return nil, err
		case len(p.words) == 0 || len(sequence) == 0:
			return nil, fmt.Errorf("%q is missing", closing)
		}
		end := p.words[0]
		p.words = p.words[1:]
		if repeats {
			if end != closing || len(choices) > 0 {
				return nil, fmt.Errorf("misplaced \"...\"")
			}
			return repeatLast(list, sequence)
		}
		choices = append(choices, joined("block", sequence))
		if end == closing {
			break
		}
		if end != "|" {
			return nil, fmt.Errorf("%q is missing before %q", closing, end)
		}
	}
	group := joined("oneof", choices)
	group.optional = group.optional || optional
	return append(list, group), nil
}

// repeatLast makes the last arguments of list repeatable. They must equal repeated.
func repeatLast(list, repeated []argument) ([]argument, error) {
	at := len(list) - len(repeated)
	if at < 0 || !reflect.DeepEqual(list[at:], repeated) {
		return nil, fmt.Errorf("\"...\" does not repeat what stands before it")
	}
	last := joined("block", repeated)
	last.multiple = true
	return append(list[:at:at], last), nil
}

// withToken puts the word that begins a group before the rest of it.
func withToken(list []argument) []argument {
	if len(list) < 2 || list[0].kind != "pure-token" {
		return list
	}
	rest := joined("block", list[1:])
	if rest.token != "" || rest.optional {
		return list
	}
	rest.token = list[0].token
	return []argument{rest}
}

// joined combines arguments into one.
func joined(kind string, parts []argument) argument {
	if len(parts) == 1 {
		return parts[0]
	}
	var names []string
	for _, part := range parts {
		names = append(names, part.name)
	}
	return argument{name: strings.Join(names, "_"), kind: kind, parts: parts}
}

// wordArgument returns a token if the word is in upper case, and an argument if not.
func wordArgument(word string) argument {
	if word == strings.ToUpper(word) {
		return argument{name: strings.ToLower(word), kind: "pure-token", token: word}
	}
	kind := "string"
	switch word {
	case "key", "newkey", "source", "destination":
		kind = "key"
	case "seconds", "milliseconds", "index", "index1", "index2", "cursor", "count", "offset",
		"start", "end", "increment", "decrement", "client-id", "db", "destination-db", "protover":
		kind = "integer"
	case "unix-time-seconds", "unix-time-milliseconds":
		kind = "unix-time"
	case "pattern":
		kind = "pattern"
	}
	return argument{name: word, kind: kind}
}

// arguments describes the arguments of the command. A word such as "key" is a key only if the command
// has keys.
func (cmd *command) arguments() ([]argument, error) {
	list, err := parseSyntax(cmd.syntax)
	if err != nil {
		return nil, fmt.Errorf("syntax of %s: %w", cmd.fullName(), err)
	}
	specs := len(cmd.keySpecs())
	next := 0
	var settle func([]argument)
	settle = func(list []argument) {
		for i := range list {
			a := &list[i]
			switch {
			case a.kind == "key" && specs == 0:
				a.kind = "string"
			case a.kind == "key":
				a.keySpec = min(next, specs-1)
				next++
			case a.kind == "integer" && cmd.is(fraction):
				a.kind = "double"
			}
			settle(a.parts)
		}
	}
	settle(list)
	return list, nil
}

// describe appends the argument in the form of COMMAND DOCS.
func (a *argument) describe(w *resp.Writer) {
	fields := 2
	for _, present := range []bool{
		a.kind == "key", a.token != "", a.optional || a.multiple, len(a.parts) > 0,
	} {
		if present {
			fields++
		}
	}
	w.Map(fields)
	w.BulkString("name")
	w.BulkString(a.name)
	w.BulkString("type")
	w.BulkString(a.kind)
	if a.kind == "key" {
		w.BulkString("key_spec_index")
		w.Int(int64(a.keySpec))
	}
	if a.token != "" {
		w.BulkString("token")
		w.BulkString(a.token)
	}
	if flags := a.flags(); len(flags) > 0 {
		w.BulkString("flags")
		w.SimpleSet(flags)
	}
	if len(a.parts) > 0 {
		w.BulkString("arguments")
		describeArguments(w, a.parts)
	}
}

func (a *argument) flags() []string {
	var flags []string
	if a.optional {
		flags = append(flags, "optional")
	}
	if a.multiple {
		flags = append(flags, "multiple")
	}
	return flags
}

func describeArguments(w *resp.Writer, list []argument) {
	w.Array(len(list))
	for i := range list {
		list[i].describe(w)
	}
}
