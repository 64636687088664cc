package server

import (
	"fmt"
	"slices"
	"strings"
)

// Renames are the renamings of the directive rename-command.
type Renames struct{ list []renaming }

// renaming gives a command another name, or takes it away if the name is empty. Both names are in
// lower case.
type renaming struct{ from, to string }

// ParseRenames reads renamings in the form of redis.conf. Each line has the name of a command and its
// new name; FLUSHALL "" takes the command away. Two commands cannot have the same name.
func ParseRenames(lines []string) (Renames, error) {
	r, t := Renames{}, newTable()
	for _, line := range lines {
		words := strings.Fields(strings.ToLower(line))
		if len(words) != 2 {
			return r, fmt.Errorf("rename-command %q: give the name of a command and the new name, \"\" for none", line)
		}
		from, to := words[0], strings.Trim(words[1], `"'`)
		cmd := t.byName[from]
		if cmd == nil || cmd.container != "" {
			return r, fmt.Errorf("rename-command: there is no command %s", from)
		}
		if slices.ContainsFunc(r.list, func(other renaming) bool { return other.from == from }) {
			return r, fmt.Errorf("rename-command: %s is renamed twice", from)
		}
		if !t.rename(from, to) {
			return r, fmt.Errorf("rename-command %s: there is a command %s already", from, to)
		}
		r.list = append(r.list, renaming{from, to})
	}
	return r, nil
}

// apply gives the commands of a fresh table their names.
func (r Renames) apply(t *table) {
	for _, one := range r.list {
		t.rename(one.from, one.to) // it succeeds, as it did in ParseRenames
	}
}

// rename gives a command another name if no other command has it. Error texts, ACL rules and counters
// keep the old name, as in Redis.
func (t *table) rename(from, to string) (ok bool) {
	if t.called[to] != nil {
		return false
	}
	cmd := t.called[from]
	delete(t.called, from)
	if to != "" {
		t.called[to] = cmd
	}
	return true
}
