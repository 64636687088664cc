package server

import "strings"

// foundKey is an argument that is a key, and what is done to it, as keyUse says it.
type foundKey struct {
	at     int
	access string
}

// keyFinder finds the keys of a command line that has the right number of arguments, its names
// included. It returns nil where Redis says that the arguments are wrong, which is not the same
// as no keys.
type keyFinder func(args [][]byte) []foundKey

// keyPlace says where some keys of a command line stand: one key specification of Redis. A first
// of 0 says that the line has none of them, a negative one that it is wrong.
type keyPlace func(args [][]byte) (first, last, step int, access string)

// within makes the key specifications of a row a place.
func within(u keyUse) keyPlace {
	return func(args [][]byte) (first, last, step int, access string) {
		first, last, step = u.keys.first, u.keys.last, u.keys.step
		if last < 0 {
			last += len(args)
		}
		return first, last, step, u.access
	}
}

// keys finds the keys of all places. A line with none, or that ends before all keys, is wrong.
func keys(places ...keyPlace) keyFinder {
	return func(args [][]byte) []foundKey {
		var found []foundKey
		for _, place := range places {
			first, last, step, access := place(args)
			if first == 0 {
				continue
			}
			if first < 0 || last < first || last >= len(args) {
				return nil
			}
			for i := first; i <= last; i += step {
				found = append(found, foundKey{i, access})
			}
		}
		return found
	}
}

// finder returns how the keys of a row's lines are found, nil if they have none.
func (cmd *command) finder() keyFinder {
	uses := cmd.keySpecs()
	if cmd.find != nil || len(uses) == 0 {
		return cmd.find
	}
	places := make([]keyPlace, len(uses))
	for i, use := range uses {
		places[i] = within(use)
	}
	return keys(places...)
}

// setKeys is the finder of SET: the old value is read only if GET asks for it.
func setKeys(args [][]byte) []foundKey {
	for _, arg := range args[3:] {
		if equalFold(arg, "GET") {
			return []foundKey{{1, "RW access update"}}
		}
	}
	return []foundKey{{1, "OW update"}}
}

// meant returns the row of a command line, that of a foreign command, too, or nil. A command that
// was taken away by rename-command is not one of them.
func (t *table) meant(line [][]byte) *command {
	cmd := t.lookup("", line[0])
	if name := strings.ToLower(string(line[0])); cmd == nil && t.byName[name] == nil {
		cmd = t.foreign[name]
	}
	if cmd == nil || len(cmd.subs) == 0 || len(line) == 1 {
		return cmd
	}
	if sub := t.lookup(cmd.name, line[1]); sub != nil {
		return sub
	}
	return t.foreign[cmd.name+"|"+strings.ToLower(string(line[1]))]
}

// keysOf finds the keys of a command line, with Redis' order of refusals: unknown, without
// keys, arity, arguments.
func (t *table) keysOf(line [][]byte) ([]foundKey, error) {
	cmd := t.meant(line)
	if cmd == nil {
		return nil, errGetKeysCommand
	}
	find := cmd.finder()
	switch {
	case find == nil:
		return nil, errGetKeysNone
	case !cmd.takes(len(line)):
		return nil, errGetKeysArity
	}
	found := find(line)
	if found == nil {
		return nil, errGetKeysArguments
	}
	return found, nil
}

func runCommandGetKeys(c *call) error {
	return c.listKeys(func(key []byte, _ string) { c.out.Bulk(key) })
}

func runCommandGetKeysAndFlags(c *call) error {
	return c.listKeys(func(key []byte, access string) {
		c.out.Array(2)
		c.out.Bulk(key)
		c.out.SimpleSet(strings.Fields(access))
	})
}

// listKeys answers with an array of what element writes for each key of the line that is asked
// about.
func (c *call) listKeys(element func(key []byte, access string)) error {
	line := c.args[2:]
	found, err := c.srv.table.keysOf(line)
	if err != nil {
		return err
	}
	c.out.Array(len(found))
	for _, f := range found {
		element(line[f.at], f.access)
	}
	return nil
}
