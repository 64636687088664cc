package server

import (
	"bytes"
	"slices"
	"strings"
)

// maxCommandNames bounds the reply to COMMAND INFO and COMMAND DOCS, in which a name may
// come again and again. Redis has no such bound.
const maxCommandNames = 1 << 10

// named finds a row by its full name in any case, "client|id" included; nil if there is
// none.
func (t *table) named(name []byte) *command { return t.byName[strings.ToLower(string(name))] }

// runCommand is COMMAND without a subcommand: COMMAND INFO of everything.
func runCommand(c *call) error {
	rows := c.srv.table.rows
	c.out.array(len(rows))
	for i := range rows {
		rows[i].describe(&c.out)
	}
	return nil
}

func runCommandCount(c *call) error {
	c.out.integer(int64(len(c.srv.table.rows)))
	return nil
}

// runCommandInfo answers with null for a name there is no command for.
func runCommandInfo(c *call) error {
	names := c.args[2:]
	switch {
	case len(names) == 0:
		return runCommand(c)
	case len(names) > maxCommandNames:
		return errCommandNames
	}
	c.out.array(len(names))
	for _, name := range names {
		if cmd := c.srv.table.named(name); cmd != nil {
			cmd.describe(&c.out)
		} else {
			c.out.null()
		}
	}
	return nil
}

// describe appends the ten elements of COMMAND INFO.
func (cmd *command) describe(w *reply) {
	w.array(10)
	w.bulkString(cmd.fullName())
	w.integer(int64(cmd.arity))
	w.words(cmd.flagList())
	w.integer(int64(cmd.keys.first))
	w.integer(int64(cmd.keys.last))
	w.integer(int64(cmd.keys.step))
	categories := cmd.categories()
	w.set(len(categories))
	for _, name := range categories {
		w.simple("@" + name)
	}
	w.set(len(cmd.tips))
	for _, tip := range cmd.tips {
		w.bulkString(tip)
	}
	specs := cmd.keySpecs()
	w.set(len(specs))
	for _, spec := range specs {
		spec.describe(w)
	}
	if len(cmd.subs) == 0 {
		w.set(0)
		return
	}
	w.array(len(cmd.subs))
	for i := range cmd.subs {
		cmd.subs[i].describe(w)
	}
}

// words appends a set of simple strings.
func (w *reply) words(list []string) {
	w.set(len(list))
	for _, word := range list {
		w.simple(word)
	}
}

// keyUse says what a command does with some of its keys: one key specification of Redis.
type keyUse struct {
	access string // words, "RW access update"
	keys   keySpec
}

// keySpecs pairs what the row says about access with its keys. A row with several parts in
// access speaks of one key in each.
func (cmd *command) keySpecs() []keyUse {
	if cmd.keys.first == 0 {
		return nil
	}
	parts := strings.Split(cmd.access, "; ")
	if len(parts) == 1 {
		return []keyUse{{cmd.access, cmd.keys}}
	}
	var uses []keyUse
	for i, part := range parts {
		at := cmd.keys.first + i*cmd.keys.step
		uses = append(uses, keyUse{part, keySpec{at, at, 1}})
	}
	return uses
}

func (u keyUse) describe(w *reply) {
	last := u.keys.last
	if last > 0 {
		last -= u.keys.first // Redis counts from the first key
	}
	w.dict(3)
	w.bulkString("flags")
	w.words(strings.Fields(u.access))
	w.bulkString("begin_search")
	w.dict(2)
	w.bulkString("type")
	w.bulkString("index")
	w.bulkString("spec")
	w.dict(1)
	w.bulkString("index")
	w.integer(int64(u.keys.first))
	w.bulkString("find_keys")
	w.dict(2)
	w.bulkString("type")
	w.bulkString("range")
	w.bulkString("spec")
	w.dict(3)
	w.bulkString("lastkey")
	w.integer(int64(last))
	w.bulkString("keystep")
	w.integer(int64(u.keys.step))
	w.bulkString("limit")
	w.integer(0)
}

// categoryOrder holds all ACL categories, in the order in which Redis lists them.
var categoryOrder = [...]string{
	"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap",
	"hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking",
	"dangerous", "connection", "transaction", "scripting",
}

// categories derives the ACL categories from flags and group and adds those of the row. A
// container that cannot be called has only the ones that follow from flags.
func (cmd *command) categories() []string {
	has := map[string]bool{
		"read":      cmd.is(readonly),
		"write":     cmd.is(write),
		"admin":     cmd.is(admin),
		"dangerous": cmd.is(admin),
		"fast":      cmd.is(fast),
		"slow":      !cmd.is(fast),
	}
	if cmd.run != nil {
		switch cmd.group {
		case groupString:
			has["string"] = true
		case groupGeneric:
			has["keyspace"] = true
		case groupConnection:
			has["connection"] = true
		case groupTransactions:
			has["transaction"] = true
		}
	}
	for _, name := range strings.Fields(cmd.acl) {
		has[name] = true
	}
	var names []string
	for _, name := range categoryOrder {
		if has[name] {
			names = append(names, name)
		}
	}
	return names
}

// commandFilter chooses the names COMMAND LIST returns.
type commandFilter func(*command) bool

// parseCommandList knows one filter. Without one only whole commands are listed, with one
// subcommands, too, as in Redis. There are no modules.
func parseCommandList(args [][]byte) (commandFilter, error) {
	switch {
	case len(args) == 0:
		return func(cmd *command) bool { return cmd.container == "" }, nil
	case len(args) != 3 || !equalFold(args[0], "FILTERBY"):
		return nil, errSyntax
	}
	value := bytes.ToLower(args[2])
	switch {
	case equalFold(args[1], "MODULE"):
		return func(*command) bool { return false }, nil
	case equalFold(args[1], "ACLCAT"):
		return func(cmd *command) bool { return slices.Contains(cmd.categories(), string(value)) }, nil
	case equalFold(args[1], "PATTERN"):
		return func(cmd *command) bool { return globMatch(value, []byte(cmd.fullName())) }, nil
	}
	return nil, errSyntax
}

func runCommandList(c *call) error {
	filter, err := parseCommandList(c.args[2:])
	if err != nil {
		return err
	}
	var names []string
	for _, cmd := range c.srv.table.all {
		if filter(cmd) {
			names = append(names, cmd.fullName())
		}
	}
	c.out.array(len(names))
	for _, name := range names {
		c.out.bulkString(name)
	}
	return nil
}

// runCommandDocs leaves out names there is no command for.
func runCommandDocs(c *call) error {
	names := c.args[2:]
	if len(names) > maxCommandNames {
		return errCommandNames
	}
	var found []*command
	for _, name := range names {
		if cmd := c.srv.table.named(name); cmd != nil {
			found = append(found, cmd)
		}
	}
	if len(names) == 0 {
		for i := range c.srv.table.rows {
			found = append(found, &c.srv.table.rows[i])
		}
	}
	return writeDocs(&c.out, found)
}

// writeDocs appends commands and their documentation as a map.
func writeDocs(w *reply, commands []*command) error {
	w.dict(len(commands))
	for _, cmd := range commands {
		w.bulkString(cmd.fullName())
		if err := cmd.document(w); err != nil {
			return err
		}
	}
	return nil
}

func (cmd *command) document(w *reply) error {
	arguments, err := cmd.arguments()
	if err != nil {
		return err
	}
	fields := 3
	for _, present := range []bool{len(arguments) > 0, len(cmd.subs) > 0} {
		if present {
			fields++
		}
	}
	w.dict(fields)
	w.bulkString("summary")
	w.bulkString(cmd.summary)
	w.bulkString("since")
	w.bulkString(cmd.since)
	w.bulkString("group")
	w.bulkString(string(cmd.group))
	if len(arguments) > 0 {
		w.bulkString("arguments")
		describeArguments(w, arguments)
	}
	if len(cmd.subs) == 0 {
		return nil
	}
	w.bulkString("subcommands")
	subs := make([]*command, len(cmd.subs))
	for i := range cmd.subs {
		subs[i] = &cmd.subs[i]
	}
	return writeDocs(w, subs)
}
