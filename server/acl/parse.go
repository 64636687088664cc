package acl

import (
	"errors"
	"fmt"
	"strings"
)

// File keeps users, a line for each, as Redis' aclfile does. Users call its methods one after
// the other.
type File interface {
	// Name is what errors call the file.
	Name() string
	// Load returns the lines.
	Load() ([]string, error)
	// Save replaces all lines. If it fails, the file is as it was.
	Save(lines []string) error
}

// Definitions are what a configuration or a file says of users. They do not change once made.
type Definitions struct{ rules map[string]*Rules } // by name

// ParseUsers reads users as the directive user of redis.conf has them: a name and its
// rules, "alice on >secret ~sess:* +@read +set".
func ParseUsers(c *Commands, lines []string) (*Definitions, error) {
	d := &Definitions{map[string]*Rules{}}
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) == 0 {
			return nil, errors.New("a user needs a name")
		}
		name := words[0]
		if d.rules[name] != nil {
			return nil, fmt.Errorf("user %s: %w", name, errDuplicate)
		}
		rules := newRules()
		if name == DefaultName {
			_ = rules.apply(c, "reset") // it is never wrong
		}
		words, ok := joinSelectors(words[1:])
		if !ok {
			return nil, fmt.Errorf("user %s: %w", name, errUnmatched(words[0]))
		}
		for i, word := range words {
			if err := rules.apply(c, word); err != nil {
				return nil, fmt.Errorf("user %s: %s: %w", name, showRule(i, word), err)
			}
		}
		d.rules[name] = rules.sealed()
	}
	return d, nil
}

// showRule returns rule i as it may be shown. What does not look like a rule about
// commands, keys or channels may be a password, mistyped perhaps, and is only counted.
func showRule(i int, word string) string {
	if strings.ContainsAny(word[:1], "+-~%&(") {
		return word
	}
	return fmt.Sprintf("rule %d", i+1)
}

// LoadUsers reads the users of a file. The error names all lines that are wrong.
func LoadUsers(c *Commands, file File) (*Definitions, error) {
	lines, err := file.Load()
	if err != nil {
		return nil, fmt.Errorf("Error loading ACLs, opening file '%s': %w", file.Name(), err)
	}
	d := &Definitions{map[string]*Rules{}}
	var wrong strings.Builder
	for i, line := range lines {
		wrong.WriteString(d.addLine(c, fmt.Sprintf("%s:%d", file.Name(), i+1), i+1, line))
	}
	if wrong.Len() > 0 {
		return nil, LinesError(strings.TrimSpace(wrong.String()))
	}
	return d, nil
}

// addLine reads a line of a file: the word "user", a name and rules, one blank between
// them. It returns what is wrong with it, in Redis' words.
func (d *Definitions) addLine(c *Commands, where string, number int, line string) string {
	line = strings.Trim(line, " \t\r\n")
	if line == "" {
		return ""
	}
	words := strings.Split(line, " ")
	if words[0] != "user" || len(words) < 2 {
		return where + " should start with user keyword followed by the username. "
	}
	name := words[1]
	if hasSpaces(name) {
		return "'" + where + ": username '" + cString(name) + "' contains invalid characters. "
	}
	if d.rules[name] != nil {
		return fmt.Sprintf("WARNING: Duplicate user '%s' found on line %d. ", name, number)
	}
	words, ok := joinSelectors(words[2:])
	if !ok {
		return where + ": Unmatched parenthesis in selector definition. "
	}
	rules := newRules()
	wrong := applyAll(c, rules, where, words)
	d.rules[name] = rules.sealed()
	return wrong
}

// applyAll names every command that does not exist, but only the first of other mistakes,
// which may be the cause of later ones.
func applyAll(c *Commands, rules *Rules, where string, words []string) string {
	var wrong strings.Builder
	other := false
	for _, word := range words {
		word = strings.Trim(word, "\t\r\n")
		err := rules.apply(c, word)
		switch {
		case err == nil:
		case errors.Is(err, errUnknown):
			fmt.Fprintf(&wrong, "%s: Error in applying operation '%s': %s. ", where, word, err)
		case !other:
			fmt.Fprintf(&wrong, "%s: %s. ", where, err)
			other = true
		}
	}
	return wrong.String()
}

// Open reports whether a client that sends no password may be the default user.
func (d *Definitions) Open() bool {
	rules := d.rules[DefaultName]
	return rules == nil || rules.Open()
}

// DefinesDefault reports whether the default user is among them.
func (d *Definitions) DefinesDefault() bool { return d.rules[DefaultName] != nil }
