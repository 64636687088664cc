package server

import (
	"maps"
	"slices"
	"strings"

	"github.com/sessiond/sessiond/server/glob"
)

// selector is one set of permissions: commands, keys and channels. The zero selector
// permits nothing.
type selector struct {
	allCommands bool // spares the look at commands
	commands    []uint64
	// firstArgs permit a command that is not in commands with one of these as its first
	// argument, by command.id.
	firstArgs map[int][]string
	// future says that +@all came after the last -@all: the description begins with it.
	future bool
	// rules are what followed, "+get" or "-@read". Redis 7.0 shows rules it has worked out
	// from the set of commands. As of 7.2 it shows those it was given, less what later ones
	// made void, and so do we: "-@dangerous" in a file must still mean all of the category
	// when a later version has more commands in it.
	rules []string

	allKeys bool
	keys    []keyPattern

	allChannels bool // kept and shown: there are no channels
	channels    []string
}

// permission is what may be done with a key.
type permission byte

const (
	mayRead permission = 1 << iota
	mayWrite
	mayAll = mayRead | mayWrite
)

type keyPattern struct {
	text string
	glob *glob.Pattern
	may  permission
}

func (p *keyPattern) describe() string {
	switch p.may {
	case mayRead:
		return "%R~" + p.text
	case mayWrite:
		return "%W~" + p.text
	}
	return "~" + p.text
}

func (s *selector) clone() selector {
	c := *s
	c.commands = slices.Clone(s.commands)
	c.firstArgs = maps.Clone(s.firstArgs)
	for id, args := range c.firstArgs {
		c.firstArgs[id] = slices.Clone(args)
	}
	c.rules = slices.Clone(s.rules)
	c.keys = slices.Clone(s.keys)
	c.channels = slices.Clone(s.channels)
	return c
}

// apply changes the selector by one word.
func (s *selector) apply(t *table, word string) error {
	switch strings.ToLower(word) {
	case "allkeys", "~*":
		s.allKeys, s.keys = true, nil
	case "resetkeys":
		s.allKeys, s.keys = false, nil
	case "allchannels", "&*":
		s.allChannels, s.channels = true, nil
	case "resetchannels":
		s.allChannels, s.channels = false, nil
	case "allcommands", "+@all":
		s.setAll(t, true)
	case "nocommands", "-@all":
		s.setAll(t, false)
	default:
		return s.applyOther(t, word)
	}
	return nil
}

func (s *selector) applyOther(t *table, word string) error {
	switch word[0] {
	case '~', '%':
		return s.addKeys(word)
	case '&':
		return s.addChannel(word[1:])
	case '+', '-':
		name := strings.ToLower(word[1:])
		if category, ok := strings.CutPrefix(name, "@"); ok {
			return s.setCategory(t, category, word[0] == '+')
		}
		cmd := t.named([]byte(name))
		if cmd == nil && word[0] == '+' && strings.Contains(name, "|") {
			return s.addFirstArg(t, word[1:])
		}
		if cmd == nil {
			return errRuleUnknown
		}
		s.setCommand(cmd, word[0] == '+')
		s.note(word[:1] + name)
		return nil
	}
	return errRuleSyntax
}

// setAll permits or forbids every command, those of later versions, too.
func (s *selector) setAll(t *table, allowed bool) {
	s.allCommands, s.future = allowed, allowed
	s.rules, s.firstArgs = nil, nil
	s.commands = make([]uint64, (len(t.all)+63)/64)
	if allowed {
		for i := range s.commands {
			s.commands[i] = ^uint64(0)
		}
	}
}

// setCommand permits or forbids a command and all its subcommands.
func (s *selector) setCommand(cmd *command, allowed bool) {
	word, bit := cmd.id/64, uint64(1)<<(cmd.id%64)
	for len(s.commands) <= word {
		s.commands = append(s.commands, 0)
	}
	if allowed {
		s.commands[word] |= bit
	} else {
		s.commands[word] &^= bit
		s.allCommands = false
	}
	delete(s.firstArgs, cmd.id)
	for i := range cmd.subs {
		s.setCommand(&cmd.subs[i], allowed)
	}
}

func (s *selector) setCategory(t *table, category string, allowed bool) error {
	if !slices.Contains(categoryOrder[:], category) {
		return errRuleUnknown
	}
	for _, cmd := range t.of[category] {
		s.setCommand(cmd, allowed)
	}
	if allowed {
		s.note("+@" + category)
	} else {
		s.note("-@" + category)
	}
	return nil
}

// addFirstArg permits a command with one first argument: "select|0".
func (s *selector) addFirstArg(t *table, rule string) error {
	last := strings.LastIndexByte(rule, '|')
	name, arg := strings.ToLower(rule[:last]), rule[last+1:]
	cmd := t.named([]byte(name))
	switch {
	case cmd == nil:
		return errRuleUnknown
	case cmd.container != "":
		return errRuleSubFirst
	case arg == "" || hasSpaces(arg):
		return errRuleSyntax
	case len(cmd.subs) > 0:
		return errRuleUnknown
	}
	same := func(other string) bool { return strings.EqualFold(arg, other) }
	if s.permits(cmd) || slices.ContainsFunc(s.firstArgs[cmd.id], same) {
		return nil
	}
	if len(s.firstArgs[cmd.id]) == maxRules {
		return errRuleMany
	}
	if s.firstArgs == nil {
		s.firstArgs = map[int][]string{}
	}
	s.firstArgs[cmd.id] = append(s.firstArgs[cmd.id], arg)
	s.rules = append(s.rules, "+"+name+"|"+arg)
	return nil
}

// note remembers a rule in place of earlier ones about the same command, its subcommands
// or the same category.
func (s *selector) note(rule string) {
	name := rule[1:]
	s.rules = slices.DeleteFunc(s.rules, func(earlier string) bool {
		return earlier[1:] == name || strings.HasPrefix(earlier[1:], name+"|")
	})
	s.rules = append(s.rules, rule)
}

// addKeys reads "~pattern", or "%R~pattern" with R, W or both.
func (s *selector) addKeys(word string) error {
	if s.allKeys {
		return errRuleAllKeys
	}
	may, text := mayAll, word[1:]
	if word[0] == '%' {
		if may, text = cutPermission(text); may == 0 {
			return errRuleSyntax
		}
	}
	if hasSpaces(text) {
		return errRuleSyntax
	}
	i := slices.IndexFunc(s.keys, func(p keyPattern) bool { return p.text == text })
	if i < 0 {
		if len(s.keys) == maxRules {
			return errRuleMany
		}
		pattern, err := glob.Compile([]byte(text))
		if err != nil {
			return errRulePattern
		}
		i = len(s.keys)
		s.keys = append(s.keys, keyPattern{text: text, glob: pattern})
	}
	s.keys[i].may |= may
	if text == "*" && s.keys[i].may == mayAll {
		s.allKeys, s.keys = true, nil // it is described as ~*, which means that
	}
	return nil
}

// cutPermission reads the letters of "RW~pattern", each at most once. As in Redis the tilde
// may be missing where the pattern is empty. A permission of 0 is an error.
func cutPermission(text string) (may permission, pattern string) {
	for i := range len(text) {
		var letter permission
		switch text[i] {
		case 'R', 'r':
			letter = mayRead
		case 'W', 'w':
			letter = mayWrite
		case '~':
			return may, text[i+1:]
		}
		if letter == 0 || may&letter != 0 {
			return 0, ""
		}
		may |= letter
	}
	return may, ""
}

func (s *selector) addChannel(pattern string) error {
	switch {
	case s.allChannels:
		return errRuleAllChans
	case hasSpaces(pattern):
		return errRuleSyntax
	case slices.Contains(s.channels, pattern):
	case len(s.channels) == maxRules:
		return errRuleMany
	default:
		s.channels = append(s.channels, pattern)
	}
	return nil
}

// hasSpaces reports whether a name or a pattern would break a line of an ACL file.
func hasSpaces(text string) bool { return strings.ContainsAny(text, " \t\n\v\f\r\x00") }

func (s *selector) describeCommands() string {
	base := "-@all"
	if s.future {
		base = "+@all"
	}
	return strings.Join(append([]string{base}, s.rules...), " ")
}

func (s *selector) describeKeys() string {
	if s.allKeys {
		return "~*"
	}
	words := make([]string, len(s.keys))
	for i := range s.keys {
		words[i] = s.keys[i].describe()
	}
	return strings.Join(words, " ")
}

func (s *selector) describeChannels() string {
	if s.allChannels {
		return "&*"
	}
	var b strings.Builder
	for i, pattern := range s.channels {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("&" + pattern)
	}
	return b.String()
}

// describe returns the rules that make the same selector again.
func (s *selector) describe() string {
	var words []string
	if keys := s.describeKeys(); keys != "" {
		words = append(words, keys)
	}
	if !s.allChannels {
		words = append(words, "resetchannels")
	}
	if channels := s.describeChannels(); channels != "" {
		words = append(words, channels)
	}
	return strings.Join(append(words, s.describeCommands()), " ")
}
