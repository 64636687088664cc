package diff

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Ensure that the syntax column is understood: options, alternatives, repetition, nesting.
func TestParseSyntax(t *testing.T) {
	t.Parallel()
	key, value := argument("key"), argument("value")
	tests := []struct {
		text string
		want string
	}{
		{"", fmt.Sprint(sequence(nil))},
		{"key", fmt.Sprint(sequence{key})},
		{"key value [key value ...]", fmt.Sprint(sequence{key, value, optional{sequence{key, value}, true}})},
		{"key [NX | XX]", fmt.Sprint(sequence{key, optional{choice{sequence{literal("NX")}, sequence{literal("XX")}}, false}})},
		{"<ON | OFF>", fmt.Sprint(sequence{choice{sequence{literal("ON")}, sequence{literal("OFF")}}})},
		{"[a [B b]]", fmt.Sprint(sequence{optional{sequence{argument("a"), optional{sequence{literal("B"), argument("b")}, false}}, false}})},
	}
	for _, tt := range tests {
		got, err := parseSyntax(tt.text)
		if err != nil || fmt.Sprint(got) != tt.want {
			t.Errorf("parseSyntax(%q) = %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"[key", "key]", "<a | b]", "a >"} {
		if got, err := parseSyntax(text); err == nil {
			t.Errorf("parseSyntax(%q) = %v, want an error", text, got)
		}
	}
}

func testPlan(t *testing.T) []generated {
	t.Helper()
	commands, err := plan([]Command{
		{"set", "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]"},
		{"expire", "key seconds [NX | XX | GT | LT]"},
		{"multi", ""},
		{"client setname", "connection-name"},
		{"scan", "cursor [MATCH pattern] [COUNT count] [TYPE type]"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return commands
}

// Ensure that a seed makes the same lines again, and another seed others.
func TestGenerator_Repeats(t *testing.T) {
	t.Parallel()
	commands := testPlan(t)
	first, again := newGenerator(commands, 1, 2).packets(500), newGenerator(commands, 1, 2).packets(500)
	if !reflect.DeepEqual(first, again) {
		t.Error("the same seed made other lines")
	}
	if reflect.DeepEqual(first, newGenerator(commands, 1, 3).packets(500)) {
		t.Error("another episode made the same lines")
	}
}

// Ensure that the options come in every order and letter case, that lines are spoilt, and
// that what was opened by MULTI is ended.
func TestGenerator_Variety(t *testing.T) {
	t.Parallel()
	g := newGenerator(testPlan(t), 1, 1)
	seen := map[string]int{}
	for range 20_000 {
		line := g.line(1).Args
		upper := strings.ToUpper(strings.Join(line, " "))
		if ex, nx := strings.Index(upper, " EX "), strings.Index(upper, " NX"); ex > 0 && nx > 0 {
			seen[fmt.Sprint("EX before NX: ", ex < nx)]++
		}
		seen[line[0]]++
		if slices.Contains(line, "BOGUS") {
			seen["spoilt"]++
		}
	}
	for _, want := range []string{"EX before NX: true", "EX before NX: false", "SET", "set", "spoilt", "MULTI", "EXEC", "DISCARD", "CLIENT"} {
		if seen[want] == 0 {
			t.Errorf("no line with %s", want)
		}
	}
	if begun, ended := seen["MULTI"], seen["EXEC"]+seen["exec"]+seen["DISCARD"]; ended < begun/2 {
		t.Errorf("%d transactions begun, %d ended", begun, ended)
	}
}

// Ensure that no line depends on when exactly it is heard.
func TestSettled(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want bool
	}{
		{"SET k v EX 100000", true},
		{"SET k v EX 10", false},
		{"set k v nx px 10", false},
		{"SET k v PX 9000000", true},
		{"SET k v EX 0", true},
		{"SET k v EX -5", true},
		{"SET k v EXAT 1", true},
		{"SET k v EXAT 4000000000", true},
		{"EXPIRE k 60", false},
		{"EXPIRE k -60", true},
		{"EXPIRE k abc", true},
		{"SETEX k 7 v", false},
		{"GETEX k PX 100", false},
		{"GET k 10", true},
	}
	for _, tt := range tests {
		if got := settled(strings.Fields(tt.line)); got != tt.want {
			t.Errorf("settled(%q) = %v, want %v", tt.line, got, tt.want)
		}
	}
}
