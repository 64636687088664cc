package server

import (
	"strings"

	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/storage"
)

// command is one row of the command table.
type command struct {
	name string
	// arity counts the command's own name; -n means at least n. A subcommand's arity
	// counts the container's name, too.
	arity int
	flags flags
	keys  keySpec
	// access says for each key specification what the command does with the keys, in the words of
	// Redis' COMMAND: a pair of letters and flags, such as "RW access update".
	access string
	// find finds the keys for COMMAND GETKEYS if keys and access cannot describe them.
	find  keyFinder
	tips  []string
	group group
	since string // the Redis version that brought the command
	// acl names categories that do not follow from flags and group.
	acl     string
	syntax  string
	summary string
	run     func(*call) error
	// scope overrides the scope that follows from keys, for commands that name keys of
	// other databases.
	scope func(*call) (storage.Scope, error)
	subs  []command

	// container is the name of the command this is a subcommand of, or "". It is filled in
	// by newTable.
	container string
	// id numbers the rows from 0, for counters. It is filled in by newTable.
	id int
	// rights are what the rules of users know of the row. They are filled in by newTable.
	rights acl.Command
}

// keySpec says which arguments are keys: every step-th one from first to last. A negative last counts
// from the end. The zero keySpec means that there are none.
type keySpec struct{ first, last, step int }

type flags uint32

const (
	write flags = 1 << iota
	readonly
	denyOOM
	admin
	fast
	noScript
	loading
	stale
	noAuth
	noMulti
	noAsyncLoading
	allowBusy
	skipSlowlog

	// The flags below are the server's own: no reply lists them.

	// immediate is for commands that run at once inside MULTI. All others are queued.
	immediate
	// runsQueue is for EXEC: it runs the queued commands. If a gate refuses it, the transaction is
	// discarded.
	runsQueue
	// selects is for commands whose first argument is the database of the commands after it.
	selects
	// inSubscription is for commands that a subscriber may send in RESP2.
	inSubscription
	// hangsUp is for commands that end the connection once the replies are sent.
	hangsUp
	// fraction is for commands whose increment may have a fraction.
	fraction
)

// flagNames are Redis' names, in the order COMMAND INFO lists them. A flag without a name is
// the server's own.
var flagNames = [...]struct {
	flag flags
	name string
}{
	{write, "write"}, {readonly, "readonly"}, {denyOOM, "denyoom"}, {admin, "admin"},
	{noScript, "noscript"}, {loading, "loading"}, {stale, "stale"}, {fast, "fast"},
	{noAuth, "no_auth"}, {noAsyncLoading, "no_async_loading"}, {noMulti, "no_multi"},
	{allowBusy, "allow_busy"}, {skipSlowlog, "skip_slowlog"},
}

type group string

const (
	groupConnection   group = "connection"
	groupString       group = "string"
	groupGeneric      group = "generic"
	groupServer       group = "server"
	groupTransactions group = "transactions"
	groupCluster      group = "cluster"
)

// fullName is the name in errors, statistics and COMMAND: "get", "client|setname".
func (cmd *command) fullName() string {
	if cmd.container == "" {
		return cmd.name
	}
	return cmd.container + "|" + cmd.name
}

func (cmd *command) is(f flags) bool { return cmd.flags&f != 0 }

// takes reports whether n arguments, names included, fit the arity.
func (cmd *command) takes(n int) bool {
	if cmd.arity < 0 {
		return n >= -cmd.arity
	}
	return n == cmd.arity
}

// positions calls fn with the index of each key among args, in order.
func (spec keySpec) positions(args int, fn func(i int)) {
	if spec.first == 0 {
		return
	}
	last := spec.last
	if last < 0 {
		last += args
	}
	for i := spec.first; i <= last && i < args; i += spec.step {
		fn(i)
	}
}

// table finds rows by name. It does not change after it was built.
type table struct {
	rows    []command
	byName  map[string]*command // lower case; subcommands as "client|id"
	called  map[string]*command // by the names that clients use: byName after rename-command
	all     []*command          // by id
	acl     *acl.Commands
	foreign map[string]*command // Redis' commands that are not served, lower case
}

func newTable() *table {
	t := &table{rows: commandTable(), byName: map[string]*command{}, called: map[string]*command{}, foreign: map[string]*command{}}
	t.addForeign(foreignCommands())
	for i := range t.rows {
		cmd := &t.rows[i]
		t.add(cmd)
		for j := range cmd.subs {
			cmd.subs[j].container = cmd.name
			t.add(&cmd.subs[j])
		}
	}
	t.acl = aclCommands(t.all)
	return t
}

func (t *table) add(cmd *command) {
	cmd.id = len(t.all)
	t.all = append(t.all, cmd)
	t.byName[cmd.fullName()] = cmd
	t.called[cmd.fullName()] = cmd
}

// find returns the row of a command line, which may be that of a subcommand. It returns Redis' error
// for an unknown name, or for a wrong number of arguments; with the latter error comes the row.
func (t *table) find(args [][]byte) (*command, error) {
	cmd := t.lookup("", args[0])
	if cmd == nil {
		return nil, errUnknownCommand(args)
	}
	if len(cmd.subs) > 0 && len(args) > 1 {
		container := cmd
		if cmd = t.lookup(container.name, args[1]); cmd == nil {
			return nil, errUnknownSubcommand(container.name, args[1])
		}
	}
	if !cmd.takes(len(args)) {
		return cmd, errArity(cmd.fullName())
	}
	return cmd, nil
}

// lookup finds a name in any case. It allocates nothing.
func (t *table) lookup(container string, name []byte) *command {
	var b [64]byte
	if len(container)+1+len(name) > len(b) {
		return nil
	}
	key := b[:0]
	if container != "" {
		key = append(append(key, container...), '|')
	}
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		key = append(key, c)
	}
	cmd := t.called[string(key)]
	if cmd != nil && cmd.container != container {
		return nil // "client|id" given as the name of a command
	}
	return cmd
}

// CommandInfo is the public part of a row, for documentation and tests.
type CommandInfo struct {
	Name    string // "get", or "client id"
	Arity   int
	Flags   []string
	Group   string
	Since   string
	Syntax  string
	Summary string
}

// Commands returns all commands in the order of the table; subcommands follow their
// container.
func Commands() []CommandInfo {
	var infos []CommandInfo
	for _, cmd := range newTable().all {
		infos = append(infos, CommandInfo{
			Name:  strings.ReplaceAll(cmd.fullName(), "|", " "),
			Arity: cmd.arity, Flags: cmd.flagList(), Group: string(cmd.group),
			Since: cmd.since, Syntax: cmd.syntax, Summary: cmd.summary,
		})
	}
	return infos
}

func (cmd *command) flagList() []string {
	var names []string
	for _, f := range flagNames {
		if cmd.is(f.flag) {
			names = append(names, f.name)
		}
	}
	return names
}
