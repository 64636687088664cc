package server

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Ensure that every row's syntax is understood completely: written out again, it is the
// same.
func TestParseSyntax_EveryRow(t *testing.T) {
	t.Parallel()
	for _, cmd := range newTable().all {
		arguments, err := cmd.arguments()
		if err != nil {
			t.Error(err)
			continue
		}
		if got := spell(arguments); got != cmd.syntax {
			t.Errorf("%s: syntax %q is read as %q", cmd.fullName(), cmd.syntax, got)
		}
	}
}

// spell writes arguments in the form that parseSyntax reads.
func spell(list []argument) string {
	var words []string
	for i := range list {
		words = append(words, list[i].spell())
	}
	return strings.Join(words, " ")
}

func (a *argument) spell() string {
	text := a.name
	switch a.kind {
	case "pure-token":
		text = a.token
	case "block":
		text = spell(a.parts)
	case "oneof":
		var choices []string
		for i := range a.parts {
			choices = append(choices, a.parts[i].spell())
		}
		text = strings.Join(choices, " | ")
		if !a.optional || a.token != "" || a.multiple {
			text = "<" + text + ">"
		}
	}
	if a.multiple {
		text += " [" + text + " ...]"
	}
	if a.token != "" && a.kind != "pure-token" {
		text = a.token + " " + text
	}
	if a.optional {
		text = "[" + text + "]"
	}
	return text
}

func TestParseSyntax(t *testing.T) {
	t.Parallel()
	key := argument{name: "key", kind: "key"}
	value := argument{name: "value", kind: "string"}
	nx := argument{name: "nx", kind: "pure-token", token: "NX"}
	tests := []struct {
		syntax string
		want   []argument
	}{
		{"", nil},
		{"key", []argument{key}},
		{"key value", []argument{key, value}},
		{"key [NX]", []argument{key, {name: "nx", kind: "pure-token", token: "NX", optional: true}}},
		{"[key | NX]", []argument{{name: "key_nx", kind: "oneof", optional: true, parts: []argument{key, nx}}}},
		{"<NX | key>", []argument{{name: "nx_key", kind: "oneof", parts: []argument{nx, key}}}},
		{"key [key ...]", []argument{{name: "key", kind: "key", multiple: true}}},
		{"key value [key value ...]", []argument{
			{name: "key_value", kind: "block", multiple: true, parts: []argument{key, value}},
		}},
		{"[DB value]", []argument{{name: "value", kind: "string", token: "DB", optional: true}}},
		{"[AUTH key value]", []argument{
			{name: "key_value", kind: "block", token: "AUTH", optional: true, parts: []argument{key, value}},
		}},
	}
	for _, test := range tests {
		if got, err := parseSyntax(test.syntax); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("parseSyntax(%q) = %+v, %v, want %+v", test.syntax, got, err, test.want)
		}
	}
	for _, syntax := range []string{
		"[key", "<key", "key]", "[key>", "<key]", "[]", "<a |>", "[ | a]", "[key ...]",
		"key [value ...]", "key [key ... | value]", "|", "a | b",
	} {
		if got, err := parseSyntax(syntax); err == nil {
			t.Errorf("parseSyntax(%q) = %+v, want an error", syntax, got)
		}
	}
}

// Ensure that every key argument names a key specification the row has, and every row with
// keys says where they are.
func TestArguments_KeySpecs(t *testing.T) {
	t.Parallel()
	for _, cmd := range newTable().all {
		arguments, err := cmd.arguments()
		if err != nil {
			t.Fatal(err)
		}
		specs := len(cmd.keySpecs())
		var named []int
		var walk func([]argument)
		walk = func(list []argument) {
			for _, a := range list {
				if a.kind == "key" {
					named = append(named, a.keySpec)
				}
				walk(a.parts)
			}
		}
		walk(arguments)
		for spec := range specs {
			if !slices.Contains(named, spec) {
				t.Errorf("%s: no argument for key specification %d", cmd.fullName(), spec)
			}
		}
		if len(named) != specs {
			t.Errorf("%s: %d key arguments, %d key specifications", cmd.fullName(), len(named), specs)
		}
	}
}
