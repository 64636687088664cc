package acl

import (
	"bytes"
	"slices"
	"strings"
)

// Command is the part of a command that rules need. It must not change after NewCommands has taken
// it.
type Command struct {
	Name       string   // in lower case; a subcommand is called "client|id"
	Categories []string // some of those that the function Categories returns
	NoAuth     bool     // every user may run it, because logging in needs it
	Keys       []KeyNeed

	id   int // numbers the commands from 0
	sub  bool
	subs []*Command
}

// KeyNeed says which permission a command needs for some of its keys.
type KeyNeed struct {
	// The keys are every Step-th argument from First, which is at least 1, to Last. A negative Last
	// counts from the end.
	First, Last, Step int

	Need Permission
	// ReadIfGet says that reading is needed only with the option GET: SET.
	ReadIfGet bool
}

// Permission is a set of operations on a key. A key whose existence a command checks needs none of
// them, but it must match a pattern.
type Permission byte

// The operations on a key.
const (
	MayRead Permission = 1 << iota
	MayWrite
	mayAll = MayRead | MayWrite
)

// of returns the permission that a command line needs.
func (n *KeyNeed) of(args [][]byte) Permission {
	if !n.ReadIfGet {
		return n.Need
	}
	for _, arg := range args[min(3, len(args)):] {
		if bytes.EqualFold(arg, []byte("GET")) {
			return n.Need
		}
	}
	return n.Need &^ MayRead
}

// Commands are all commands that rules can name. They never change.
type Commands struct {
	byName     map[string]*Command
	byCategory map[string][]*Command
}

// NewCommands takes over a list in which a container stands before its subcommands.
func NewCommands(list []*Command) *Commands {
	c := &Commands{byName: map[string]*Command{}, byCategory: map[string][]*Command{}}
	for i, cmd := range list {
		cmd.id = i
		if name, _, ok := strings.Cut(cmd.Name, "|"); ok {
			container := c.byName[name]
			cmd.sub, container.subs = true, append(container.subs, cmd)
		}
		c.byName[cmd.Name] = cmd
		for _, category := range cmd.Categories {
			c.byCategory[category] = append(c.byCategory[category], cmd)
		}
	}
	return c
}

var categories = [...]string{
	"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap",
	"hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking",
	"dangerous", "connection", "transaction", "scripting",
}

// Categories returns the names of all categories, in the order in which Redis lists them.
func Categories() []string { return slices.Clone(categories[:]) }
