package server

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/server/glob"
	"github.com/sessiond/sessiond/server/resp"
)

// maxCommandNames is how many names COMMAND INFO and COMMAND DOCS take, because a client may repeat
// a name and each one adds to the reply. Redis has no such limit.
const maxCommandNames = 1 << 10

// named finds a row by its full name in any case, "client|id" included; nil if there is
// none.
func (t *table) named(name []byte) *command { return t.byName[strings.ToLower(string(name))] }

// runCommand is COMMAND without a subcommand: COMMAND INFO of everything.
func runCommand(c *call) error {
	rows := c.srv.table.rows
	c.out.Array(len(rows))
	for i := range rows {
		rows[i].describe(&c.out)
	}
	return nil
}

func runCommandCount(c *call) error {
	c.out.Int(int64(len(c.srv.table.rows)))
	return nil
}

// runCommandInfo replies with null for a name that is not a command.
func runCommandInfo(c *call) error {
	names := c.args[2:]
	switch {
	case len(names) == 0:
		return runCommand(c)
	case len(names) > maxCommandNames:
		return errCommandNames
	}
	c.out.Array(len(names))
	for _, name := range names {
		if cmd := c.srv.table.named(name); cmd != nil {
			cmd.describe(&c.out)
		} else {
			c.out.Null()
		}
	}
	return nil
}

// describe appends the ten elements of COMMAND INFO.
func (cmd *command) describe(w *resp.Writer) {
	w.Array(10)
	w.BulkString(cmd.fullName())
	w.Int(int64(cmd.arity))
	w.SimpleSet(cmd.flagList())
	w.Int(int64(cmd.keys.first))
	w.Int(int64(cmd.keys.last))
	w.Int(int64(cmd.keys.step))
	categories := cmd.categories()
	w.Set(len(categories))
	for _, name := range categories {
		w.Simple("@" + name)
	}
	w.Set(len(cmd.tips))
	for _, tip := range cmd.tips {
		w.BulkString(tip)
	}
	specs := cmd.keySpecs()
	w.Set(len(specs))
	for _, spec := range specs {
		spec.describe(w)
	}
	if len(cmd.subs) == 0 {
		w.Set(0)
		return
	}
	w.Array(len(cmd.subs))
	for i := range cmd.subs {
		cmd.subs[i].describe(w)
	}
}

// keyUse is one key specification of Redis: some keys of a command, and what it does with them.
type keyUse struct {
	access string // words, "RW access update"
	keys   keySpec
}

// keySpecs combines the columns access and keys of the row. If access has several parts, each part
// is about one key.
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

func (u keyUse) describe(w *resp.Writer) {
	last := u.keys.last
	if last > 0 {
		last -= u.keys.first // Redis counts from the first key
	}
	w.Map(3)
	w.BulkString("flags")
	w.SimpleSet(strings.Fields(u.access))
	w.BulkString("begin_search")
	w.Map(2)
	w.BulkString("type")
	w.BulkString("index")
	w.BulkString("spec")
	w.Map(1)
	w.BulkString("index")
	w.Int(int64(u.keys.first))
	w.BulkString("find_keys")
	w.Map(2)
	w.BulkString("type")
	w.BulkString("range")
	w.BulkString("spec")
	w.Map(3)
	w.BulkString("lastkey")
	w.Int(int64(last))
	w.BulkString("keystep")
	w.Int(int64(u.keys.step))
	w.BulkString("limit")
	w.Int(0)
}

// categories derives the ACL categories from flags and group and adds those of the row. A
// container that cannot be called has only the categories that follow from its flags.
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
	for _, name := range acl.Categories() {
		if has[name] {
			names = append(names, name)
		}
	}
	return names
}

// commandFilter selects the names that COMMAND LIST returns.
type commandFilter func(*command) bool

// parseCommandList reads at most one filter. As in Redis, a list without a filter has no
// subcommands, and one with a filter does. There are no modules.
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
		return func(cmd *command) bool { return glob.Match(value, []byte(cmd.fullName())) }, nil
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
	c.out.Array(len(names))
	for _, name := range names {
		c.out.BulkString(name)
	}
	return nil
}

// runCommandDocs leaves out names that are not commands.
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
func writeDocs(w *resp.Writer, commands []*command) error {
	w.Map(len(commands))
	for _, cmd := range commands {
		w.BulkString(cmd.fullName())
		if err := cmd.document(w); err != nil {
			return err
		}
	}
	return nil
}

func (cmd *command) document(w *resp.Writer) error {
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
	w.Map(fields)
	w.BulkString("summary")
	w.BulkString(cmd.summary)
	w.BulkString("since")
	w.BulkString(cmd.since)
	w.BulkString("group")
	w.BulkString(string(cmd.group))
	if len(arguments) > 0 {
		w.BulkString("arguments")
		describeArguments(w, arguments)
	}
	if len(cmd.subs) == 0 {
		return nil
	}
	w.BulkString("subcommands")
	subs := make([]*command, len(cmd.subs))
	for i := range cmd.subs {
		subs[i] = &cmd.subs[i]
	}
	return writeDocs(w, subs)
}
