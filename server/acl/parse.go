package acl

import (
	"errors"
	"fmt"
	"strings"
)

// File stores users, one on each line, as Redis' aclfile does. Users calls one method at a time.
type File interface {
	// Name returns the name of the file for errors.
	Name() string
	// Load returns the lines.
	Load() ([]string, error)
	// Save replaces all lines. If it fails, the file is as it was.
	Save(lines []string) error
}

// Definitions are the users of a configuration or a file. They never change.
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

// showRule returns rule i in a form that may be logged. A word that does not look like a rule about
// commands, keys or channels may be a mistyped password, so only its number is shown.
func showRule(i int, word string) string {
	if strings.ContainsAny(word[:1], "+-~%&(") {
		return word
	}
	return fmt.Sprintf("rule %d", i+1)
}

// LoadUsers reads the users of a file. The error names every line that is wrong.
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

// addLine reads a line of a file: the word "user", a name and rules, separated by single blanks. It
// returns what is wrong with the line, in Redis' words.
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

// applyAll reports every command that does not exist. Of other mistakes it reports only the first
// one, which may have caused the later ones.
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

// Open reports whether a client can be the default user without a password.
func (d *Definitions) Open() bool {
	rules := d.rules[DefaultName]
	return rules == nil || rules.Open()
}

// DefinesDefault reports whether the default user is among them.
func (d *Definitions) DefinesDefault() bool { return d.rules[DefaultName] != nil }
