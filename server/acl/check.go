package acl

import "strings"

// Denial is the reason why something is refused. A larger value is closer to a permission.
type Denial int

// The reasons of a refusal.
const (
	Allowed Denial = iota
	DeniedCommand
	DeniedKey
	DeniedAuth
	Denials // how many values there are
)

// Reason returns the word that ACL LOG uses.
func (d Denial) Reason() string {
	return [...]string{"", "command", "key", "auth"}[d]
}

// Check reports whether a user with these rules may run a command line. If a key is denied it also
// returns the index of that argument. If several selectors deny the line, Check returns the denial
// that is closest to a permission, as Redis does. It allocates nothing: see BenchmarkCheck.
func (r *Rules) Check(cmd *Command, args [][]byte) (Denial, int) {
	worst, at := DeniedCommand, 0
	for i := range r.selectors {
		d, where := r.selectors[i].check(cmd, args)
		if d == Allowed {
			return Allowed, 0
		}
		if d > worst || d == worst && where > at {
			worst, at = d, where
		}
	}
	return worst, at
}

func (s *Selector) check(cmd *Command, args [][]byte) (Denial, int) {
	if !s.allCommands && !cmd.NoAuth && !s.permits(cmd) && !s.permitsFirstArg(cmd, args) {
		return DeniedCommand, 0
	}
	if s.allKeys {
		return Allowed, 0
	}
	for i := range cmd.Keys {
		if at := s.deniedKey(&cmd.Keys[i], args); at > 0 {
			return DeniedKey, at
		}
	}
	return Allowed, 0
}

func (s *Selector) permits(cmd *Command) bool {
	word := cmd.id / 64
	return word < len(s.commands) && s.commands[word]&(1<<(cmd.id%64)) != 0
}

func (s *Selector) permitsFirstArg(cmd *Command, args [][]byte) bool {
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

// deniedKey returns the index of the first key without the permission that it needs, or 0 if there is
// none.
func (s *Selector) deniedKey(n *KeyNeed, args [][]byte) int {
	need, last := n.of(args), n.Last
	if last < 0 {
		last += len(args)
	}
	for i := n.First; i <= last && i < len(args); i += n.Step {
		if !s.permitsKey(args[i], need) {
			return i
		}
	}
	return 0
}

func (s *Selector) permitsKey(key []byte, need Permission) bool {
	for i := range s.keys {
		p := &s.keys[i]
		if p.may&need == need && p.glob.Match(key) {
			return true
		}
	}
	return false
}
