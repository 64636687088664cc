package acl

import (
	"maps"
	"slices"
	"strings"

	"github.com/sessiond/sessiond/server/glob"
)

// Selector is one set of permissions: commands, keys and channels. The zero Selector
// permits nothing.
type Selector struct {
	allCommands bool // every command is permitted
	commands    []uint64
	// firstArgs permit a command that is not in commands if its first argument is in the list. They
	// are indexed by Command.id.
	firstArgs map[int][]string
	// future says that +@all came after the last -@all. The description begins with +@all then.
	future bool
	// rules are the rules after that, such as "+get" or "-@read". Redis 7.0 shows rules that it
	// derives from the set of commands. Redis 7.2 shows the rules that it was given, without those
	// that later rules cancel, and so do we: "-@dangerous" in a file must still mean the whole
	// category when a later version adds commands to it.
	rules []string

	allKeys bool
	keys    []keyPattern

	allChannels bool // stored and shown; there are no channels
	channels    []string
}

type keyPattern struct {
	text string
	glob *glob.Pattern
	may  Permission
}

func (p *keyPattern) describe() string {
	switch p.may {
	case MayRead:
		return "%R~" + p.text
	case MayWrite:
		return "%W~" + p.text
	}
	return "~" + p.text
}

func (s *Selector) clone() Selector {
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
func (s *Selector) apply(c *Commands, word string) error {
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
		s.setAll(c, true)
	case "nocommands", "-@all":
		s.setAll(c, false)
	default:
		return s.applyOther(c, word)
	}
	return nil
}

func (s *Selector) applyOther(c *Commands, word string) error {
	switch word[0] {
	case '~', '%':
		return s.addKeys(word)
	case '&':
		return s.addChannel(word[1:])
	case '+', '-':
		name := strings.ToLower(word[1:])
		if category, ok := strings.CutPrefix(name, "@"); ok {
			return s.setCategory(c, category, word[0] == '+')
		}
		cmd := c.byName[name]
		if cmd == nil && word[0] == '+' && strings.Contains(name, "|") {
			return s.addFirstArg(c, word[1:])
		}
		if cmd == nil {
			return errUnknown
		}
		s.setCommand(cmd, word[0] == '+')
		s.addRule(word[:1] + name)
		return nil
	}
	return errSyntax
}

// setAll permits or forbids every command, including those of later versions.
func (s *Selector) setAll(c *Commands, allowed bool) {
	s.allCommands, s.future = allowed, allowed
	s.rules, s.firstArgs = nil, nil
	s.commands = make([]uint64, (len(c.byName)+63)/64)
	if allowed {
		for i := range s.commands {
			s.commands[i] = ^uint64(0)
		}
	}
}

// setCommand permits or forbids a command and all its subcommands.
func (s *Selector) setCommand(cmd *Command, allowed bool) {
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
	for _, sub := range cmd.subs {
		s.setCommand(sub, allowed)
	}
}

func (s *Selector) setCategory(c *Commands, category string, allowed bool) error {
	if !slices.Contains(categories[:], category) {
		return errUnknown
	}
	for _, cmd := range c.byCategory[category] {
		s.setCommand(cmd, allowed)
	}
	if allowed {
		s.addRule("+@" + category)
	} else {
		s.addRule("-@" + category)
	}
	return nil
}

// addFirstArg permits a command with a given first argument: "select|0".
func (s *Selector) addFirstArg(c *Commands, rule string) error {
	last := strings.LastIndexByte(rule, '|')
	name, arg := strings.ToLower(rule[:last]), rule[last+1:]
	cmd := c.byName[name]
	switch {
	case cmd == nil:
		return errUnknown
	case cmd.sub:
		return errSubFirstArg
	case arg == "" || hasSpaces(arg):
		return errSyntax
	case len(cmd.subs) > 0:
		return errUnknown
	}
	same := func(other string) bool { return strings.EqualFold(arg, other) }
	if s.permits(cmd) || slices.ContainsFunc(s.firstArgs[cmd.id], same) {
		return nil
	}
	if len(s.firstArgs[cmd.id]) == maxRules {
		return errTooMany
	}
	if s.firstArgs == nil {
		s.firstArgs = map[int][]string{}
	}
	s.firstArgs[cmd.id] = append(s.firstArgs[cmd.id], arg)
	s.rules = append(s.rules, "+"+name+"|"+arg)
	return nil
}

// addRule adds a rule and removes earlier rules about the same command, its subcommands or the same
// category.
func (s *Selector) addRule(rule string) {
	name := rule[1:]
	s.rules = slices.DeleteFunc(s.rules, func(earlier string) bool {
		return earlier[1:] == name || strings.HasPrefix(earlier[1:], name+"|")
	})
	s.rules = append(s.rules, rule)
}

// addKeys reads "~pattern", or "%R~pattern" with R, W or both.
func (s *Selector) addKeys(word string) error {
	if s.allKeys {
		return errAllKeys
	}
	may, text := mayAll, word[1:]
	if word[0] == '%' {
		if may, text = cutPermission(text); may == 0 {
			return errSyntax
		}
	}
	if hasSpaces(text) {
		return errSyntax
	}
	i := slices.IndexFunc(s.keys, func(p keyPattern) bool { return p.text == text })
	if i < 0 {
		if len(s.keys) == maxRules {
			return errTooMany
		}
		pattern, err := glob.Compile([]byte(text))
		if err != nil {
			return errPattern
		}
		i = len(s.keys)
		s.keys = append(s.keys, keyPattern{text: text, glob: pattern})
	}
	s.keys[i].may |= may
	if text == "*" && s.keys[i].may == mayAll {
		s.allKeys, s.keys = true, nil // ~* describes the same
	}
	return nil
}

// cutPermission reads the letters of "RW~pattern", each at most once. As in Redis, the tilde may be
// missing if the pattern is empty. A permission of 0 means that the text is wrong.
func cutPermission(text string) (may Permission, pattern string) {
	for i := range len(text) {
		var letter Permission
		switch text[i] {
		case 'R', 'r':
			letter = MayRead
		case 'W', 'w':
			letter = MayWrite
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

func (s *Selector) addChannel(pattern string) error {
	switch {
	case s.allChannels:
		return errAllChannels
	case hasSpaces(pattern):
		return errSyntax
	case slices.Contains(s.channels, pattern):
	case len(s.channels) == maxRules:
		return errTooMany
	default:
		s.channels = append(s.channels, pattern)
	}
	return nil
}

// hasSpaces reports whether a name or a pattern would break a line of an ACL file.
func hasSpaces(text string) bool { return strings.ContainsAny(text, " \t\n\v\f\r\x00") }

// Commands returns the rules about commands, as in ACL GETUSER.
func (s *Selector) Commands() string {
	base := "-@all"
	if s.future {
		base = "+@all"
	}
	return strings.Join(append([]string{base}, s.rules...), " ")
}

// Keys returns the rules about keys.
func (s *Selector) Keys() string {
	if s.allKeys {
		return "~*"
	}
	words := make([]string, len(s.keys))
	for i := range s.keys {
		words[i] = s.keys[i].describe()
	}
	return strings.Join(words, " ")
}

// Channels returns the rules about channels.
func (s *Selector) Channels() string {
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

// describe returns the rules that define the same selector again.
func (s *Selector) describe() string {
	var words []string
	if keys := s.Keys(); keys != "" {
		words = append(words, keys)
	}
	if !s.allChannels {
		words = append(words, "resetchannels")
	}
	if channels := s.Channels(); channels != "" {
		words = append(words, channels)
	}
	return strings.Join(append(words, s.Commands()), " ")
}
