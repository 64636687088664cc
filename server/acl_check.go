package server

import "strings"

// denial is why the ACL refuses something. A larger one is closer to a permission.
type denial int

const (
	allowed denial = iota
	deniedCommand
	deniedKey
	deniedAuth
	denials // how many there are
)

// reason is the word of ACL LOG.
func (d denial) reason() string {
	return [...]string{"", "command", "key", "auth"}[d]
}

// keyNeed says which permission a command needs for some of its keys.
type keyNeed struct {
	keys keySpec
	need permission
	// readIfGet says that reading is needed only with the option GET: SET.
	readIfGet bool
}

// keyNeeds derives the permissions from the access column, by the words of Redis: "access"
// reads, and "update", "insert" and "delete" write. A key that is only looked for needs any
// permission.
func (cmd *command) keyNeeds() []keyNeed {
	var needs []keyNeed
	for _, use := range cmd.keySpecs() {
		need := keyNeed{keys: use.keys}
		for _, word := range strings.Fields(use.access) {
			switch word {
			case "access":
				need.need |= mayRead
			case "update", "insert", "delete":
				need.need |= mayWrite
			case "variable_flags":
				need.readIfGet = true
			}
		}
		needs = append(needs, need)
	}
	return needs
}

// of returns the permission this command line needs.
func (n *keyNeed) of(args [][]byte) permission {
	if !n.readIfGet {
		return n.need
	}
	for _, arg := range args[min(3, len(args)):] {
		if equalFold(arg, "GET") {
			return n.need
		}
	}
	return n.need &^ mayRead
}

// check reports whether a user with these rules may run a command line, and if it is
// denied a key, which argument that is. Of several selectors that deny it, the one that
// came closest is told about, as in Redis. A check allocates nothing: see BenchmarkACL.
func (r *userRules) check(cmd *command, args [][]byte) (denial, int) {
	worst, at := deniedCommand, 0
	for i := range r.selectors {
		d, where := r.selectors[i].check(cmd, args)
		if d == allowed {
			return allowed, 0
		}
		if d > worst || d == worst && where > at {
			worst, at = d, where
		}
	}
	return worst, at
}

func (s *selector) check(cmd *command, args [][]byte) (denial, int) {
	if !s.allCommands && !cmd.is(noAuth) && !s.permits(cmd) && !s.permitsFirstArg(cmd, args) {
		return deniedCommand, 0
	}
	if s.allKeys {
		return allowed, 0
	}
	for i := range cmd.needs {
		if at := s.deniedKey(&cmd.needs[i], args); at > 0 {
			return deniedKey, at
		}
	}
	return allowed, 0
}

func (s *selector) permits(cmd *command) bool {
	word := cmd.id / 64
	return word < len(s.commands) && s.commands[word]&(1<<(cmd.id%64)) != 0
}

func (s *selector) permitsFirstArg(cmd *command, args [][]byte) bool {
	if len(s.firstArgs) == 0 || len(args) < 2 {
		return false
	}
	for _, arg := range s.firstArgs[cmd.id] {
		if strings.EqualFold(arg, string(args[1])) {
			return true
		}
	}
	return false
}

// deniedKey returns the first argument that is a key without the permission it needs, 0 if
// there is none.
func (s *selector) deniedKey(n *keyNeed, args [][]byte) (at int) {
	need := n.of(args)
	n.keys.positions(len(args), func(i int) {
		if at == 0 && !s.permitsKey(args[i], need) {
			at = i
		}
	})
	return at
}

func (s *selector) permitsKey(key []byte, need permission) bool {
	for i := range s.keys {
		p := &s.keys[i]
		if p.may&need == need && p.glob.Match(key) {
			return true
		}
	}
	return false
}
