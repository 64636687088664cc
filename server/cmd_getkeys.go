package server

import "strings"

// foundKey is an argument that is a key, and what is done to it, as keyUse says it.
type foundKey struct {
	at     int
	access string
}

// keyFinder finds the keys of a command line, which has the right number of arguments. It returns
// nil where Redis says that the arguments are wrong, and an empty list if the line has no keys.
type keyFinder func(args [][]byte) []foundKey

// keyRange returns which arguments of a command line are keys, by one key specification of Redis.
// first is 0 if the line has none of these keys, and negative if the line is wrong.
type keyRange func(args [][]byte) (first, last, step int, access string)

// rangeOf converts a key specification of a row.
func rangeOf(u keyUse) keyRange {
	return func(args [][]byte) (first, last, step int, access string) {
		first, last, step = u.keys.first, u.keys.last, u.keys.step
		if last < 0 {
			last += len(args)
		}
		return first, last, step, u.access
	}
}

// keys finds the keys of all ranges. A line is wrong if it has no key or ends before its last one.
func keys(ranges ...keyRange) keyFinder {
	return func(args [][]byte) []foundKey {
		var found []foundKey
		for _, find := range ranges {
			first, last, step, access := find(args)
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

// finder returns the function that finds the keys in lines of this command, or nil if it has no keys.
func (cmd *command) finder() keyFinder {
	uses := cmd.keySpecs()
	if cmd.find != nil || len(uses) == 0 {
		return cmd.find
	}
	ranges := make([]keyRange, len(uses))
	for i, use := range uses {
		ranges[i] = rangeOf(use)
	}
	return keys(ranges...)
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

// meant returns the row of a command line, which may be that of a foreign command, or nil. It
// returns nil for a command that rename-command has taken away.
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

// listKeys replies with an array. For each key of the line that the client asks about, element
// writes one element.
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
