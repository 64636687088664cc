package diff

import (
	"slices"
	"strings"
)

// Lines makes n lines for one connection of a server that starts empty. Neither time, nor
// chance, nor who asks has a part in their replies, so that each server of the same kind
// gives the same ones: see Compare.
func Lines(commands []Command, seed uint64, n int) ([]Line, error) {
	planned, err := plan(commands)
	if err != nil {
		return nil, err
	}
	g := newGenerator(planned, seed, 0)
	var lines []Line
	for len(lines) < n {
		if l := g.line(1); timeless(l.Args) {
			lines = append(lines, l)
		}
	}
	return lines, nil
}

// timeless reports whether the reply to a line is the same whenever and wherever it is asked,
// and leaves no deadline that is not.
func timeless(args []string) bool {
	switch name := strings.ToLower(args[0]); name {
	case "hello", "ttl", "pttl", "setex", "psetex", "expire", "pexpire":
		return false
	case "set", "getex":
		return !slices.ContainsFunc(args, func(a string) bool {
			return strings.EqualFold(a, "ex") || strings.EqualFold(a, "px")
		})
	case "dbsize", "expiretime", "pexpiretime":
		return true
	case "select", "swapdb", "move", "copy":
		return !slices.Contains(args, "16") // some servers have that many databases
	}
	kind := naturalRule(args).kind
	return kind == exact || kind == sorted
}

// Compare returns the first line of Lines that was answered in different ways, or nil.
func Compare(lines []Line, first, second []string) *Difference {
	var p Pair
	var queue []queuedLine
	for i, l := range lines {
		rule := Rule{kind: naturalRule(l.Args).kind}
		if rule.kind != sorted {
			rule = Rule{}
		}
		if !p.judge(&queue, l.Args, rule, first[i], second[i]) {
			return &Difference{Line: l, Rule: rule, Oracle: first[i], Subject: second[i], Before: lines[max(0, i-30):i]}
		}
	}
	return nil
}
