package diff

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
)

// generator makes lines from the syntax of the commands. The same seed makes the same lines.
type generator struct {
	*rand.Rand
	commands []generated
	total    int         // of the weights
	open     map[int]int // connections inside MULTI: lines still to come before EXEC
}

// generated is a command the generator uses.
type generated struct {
	name   string
	words  []string // of the name: CLIENT SETNAME has two
	syntax sequence
	weight int
}

// leftOut of the random run: what ends connections or silences them, what works on the whole
// process, what answers with a text of its own, what the oracle has not, and MEMORY USAGE,
// for which the oracle shows keys that are dead but not swept. Stories have them.
var leftOut = map[string]bool{
	"quit": true, "shutdown": true, "debug": true, "save": true, "bgsave": true, "client kill": true, "client pause": true, "client reply": true,
	"config set": true, "config get": true, "config rewrite": true, "config resetstat": true, "client setinfo": true, "client no-touch": true, "memory usage": true,
}

// weights of the commands that are to come more or less often than defaultWeight.
const defaultWeight = 8

var weights = map[string]int{
	"set": 50, "get": 25, "getex": 15, "expire": 15, "mset": 12, "del": 10, "incr": 10, "append": 10, "multi": 18,
	"watch": 12, "select": 4, "flushall": 1, "flushdb": 1, "swapdb": 2, "exec": 1, "discard": 1, "unwatch": 2, "reset": 1,
	"hello": 4, "auth": 1, "readonly": 1, "readwrite": 1, "info": 1, "role": 1, "time": 1, "lastsave": 1, "dbsize": 2,
	"client list": 1, "client info": 1, "client id": 1, "client no-evict": 1,
	"client getname": 2, "client setname": 2, "client": 1, "config": 1, "object": 1, "memory": 1, "ping": 3, "echo": 3,
}

// plan makes commands ready for generators. Help texts, COMMAND, CLUSTER and ACL are left out.
func plan(commands []Command) ([]generated, error) {
	var planned []generated
	for _, c := range commands {
		group, sub, _ := strings.Cut(c.Name, " ")
		if leftOut[c.Name] || sub == "help" || group == "command" || group == "cluster" || group == "acl" {
			continue
		}
		syntax, err := parseSyntax(c.Syntax)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		weight, ok := weights[c.Name]
		if !ok {
			weight = defaultWeight
		}
		words := strings.Fields(strings.ToUpper(c.Name))
		planned = append(planned, generated{name: c.Name, words: words, syntax: syntax, weight: weight})
	}
	sort.Slice(planned, func(i, j int) bool { return planned[i].name < planned[j].name })
	return planned, nil
}

func newGenerator(commands []generated, seed, episode uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, episode)), commands: commands, open: map[int]int{}}
	for _, c := range commands {
		g.total += c.weight
	}
	return g
}

// line makes the next line of a connection. A transaction that was opened gets a few lines
// and is ended.
func (g *generator) line(conn int) Line {
	if left, ok := g.open[conn]; ok {
		g.open[conn]--
		if left == 0 {
			delete(g.open, conn)
			return Line{conn, []string{g.pick("EXEC", "EXEC", "exec", "EXEC", "DISCARD")}}
		}
	}
	c := g.command()
	if _, ok := g.open[conn]; c.name == "multi" && !ok {
		g.open[conn] = g.IntN(7)
	}
	for {
		args := g.valid(c)
		if g.IntN(8) == 0 {
			args = g.spoil(c, args)
		}
		if line := texts(args); settled(line) {
			return Line{conn, line}
		}
	}
}

func (g *generator) command() generated {
	n := g.IntN(g.total)
	for _, c := range g.commands {
		if n -= c.weight; n < 0 {
			return c
		}
	}
	panic("weights do not add up")
}

// arg is a word of a generated line and what the syntax calls it.
type arg struct {
	text string
	name string // "" for a literal
}

func texts(args []arg) []string {
	line := make([]string, len(args))
	for i, a := range args {
		line[i] = a.text
	}
	return line
}

// valid makes a line as the syntax has it.
func (g *generator) valid(c generated) []arg {
	var args []arg
	for _, w := range c.words {
		args = append(args, arg{text: g.letters(w)})
	}
	return g.expand(args, c, c.syntax)
}

func (g *generator) expand(args []arg, c generated, n node) []arg {
	switch n := n.(type) {
	case literal:
		return append(args, arg{text: g.letters(string(n))})
	case argument:
		return append(args, arg{text: g.value(c.name, string(n)), name: string(n)})
	case choice:
		return g.expand(args, c, n[g.IntN(len(n))])
	case optional:
		for times := g.times(n); times > 0; times-- {
			args = g.expand(args, c, n.node)
		}
	case sequence:
		for _, part := range g.shuffled(n) {
			args = g.expand(args, c, part)
		}
	}
	return args
}

func (g *generator) times(n optional) int {
	if n.repeats {
		return g.IntN(4)
	}
	return g.IntN(2)
}

// shuffled returns the parts with the options at the end in any order.
func (g *generator) shuffled(parts sequence) sequence {
	first := len(parts)
	for first > 0 && isOption(parts[first-1]) {
		first--
	}
	mixed := append(sequence(nil), parts...)
	g.Shuffle(len(parts)-first, func(i, j int) {
		mixed[first+i], mixed[first+j] = mixed[first+j], mixed[first+i]
	})
	return mixed
}

// isOption reports whether the node is optional and known by its first word.
func isOption(n node) bool {
	switch n := n.(type) {
	case optional:
		return !n.repeats && isOption(n.node)
	case choice:
		return isOption(n[0])
	case sequence:
		return len(n) > 0 && isOption(n[0])
	case literal:
		return true
	}
	return false
}

// letters returns the word in some letter case.
func (g *generator) letters(word string) string {
	switch g.IntN(6) {
	case 0:
		return strings.ToLower(word)
	case 1:
		mixed := []byte(strings.ToLower(word))
		for i := range mixed {
			if g.IntN(2) == 0 {
				mixed[i] = word[i]
			}
		}
		return string(mixed)
	}
	return word
}

func (g *generator) pick(words ...string) string { return words[g.IntN(len(words))] }
