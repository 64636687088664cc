package server

import (
	"errors"
	"fmt"
	"strings"
)

// ACLFile keeps ACL users, a line for each, as Redis' aclfile does. ACL LOAD and ACL SAVE
// call its methods one after the other.
type ACLFile interface {
	// Name is what errors call it.
	Name() string
	// Load returns the lines.
	Load() ([]string, error)
	// Save replaces all lines. If it fails the file is as it was.
	Save(lines []string) error
}

// Users are ACL users that a server begins with.
type Users struct{ rules map[string]*userRules }

// ParseUsers reads users as the directive user of redis.conf has them: a name and its
// rules, "alice on >secret ~sess:* +@read +set".
func ParseUsers(lines []string) (*Users, error) {
	users, t := &Users{map[string]*userRules{}}, newTable()
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) == 0 {
			return nil, errors.New("a user needs a name")
		}
		name := words[0]
		if users.rules[name] != nil {
			return nil, fmt.Errorf("user %s: %w", name, errRuleDuplicate)
		}
		rules := newRules()
		if name == defaultUser {
			_ = rules.apply(t, "reset") // it is never wrong
		}
		words, ok := joinSelectors(words[1:])
		if !ok {
			return nil, fmt.Errorf("user %s: %s", name, unmatchedParenthesis(words[0]))
		}
		for i, word := range words {
			if err := rules.apply(t, word); err != nil {
				return nil, fmt.Errorf("user %s: %s: %w", name, showRule(i, word), err)
			}
		}
		users.rules[name] = rules.sealed()
	}
	return users, nil
}

// showRule returns rule i as it may be shown. What does not look like a rule about
// commands, keys or channels may be a password, mistyped perhaps, and is only counted.
func showRule(i int, word string) string {
	if strings.ContainsAny(word[:1], "+-~%&(") {
		return word
	}
	return fmt.Sprintf("rule %d", i+1)
}

// linesError is what is wrong with the lines of a file.
type linesError string

func (e linesError) Error() string { return string(e) }

// LoadUsers reads the users of a file. The error names all lines that are wrong.
func LoadUsers(file ACLFile) (*Users, error) {
	lines, err := file.Load()
	if err != nil {
		return nil, fmt.Errorf("Error loading ACLs, opening file '%s': %w", file.Name(), err)
	}
	users, t := &Users{map[string]*userRules{}}, newTable()
	var wrong strings.Builder
	for i, line := range lines {
		wrong.WriteString(users.addLine(t, fmt.Sprintf("%s:%d", file.Name(), i+1), i+1, line))
	}
	if wrong.Len() > 0 {
		return nil, linesError(strings.TrimSpace(wrong.String()))
	}
	return users, nil
}

// addLine reads a line of a file: the word "user", a name and rules, one blank between
// them. It returns what is wrong with it, in Redis' words.
func (users *Users) addLine(t *table, where string, number int, line string) string {
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
		return "'" + where + ": username '" + cString([]byte(name)) + "' contains invalid characters. "
	}
	if users.rules[name] != nil {
		return fmt.Sprintf("WARNING: Duplicate user '%s' found on line %d. ", name, number)
	}
	words, ok := joinSelectors(words[2:])
	if !ok {
		return where + ": Unmatched parenthesis in selector definition. "
	}
	rules := newRules()
	wrong := applyAll(t, rules, where, words)
	users.rules[name] = rules.sealed()
	return wrong
}

// applyAll names every command that does not exist, but only the first of other mistakes,
// which may be the cause of later ones.
func applyAll(t *table, rules *userRules, where string, words []string) string {
	var wrong strings.Builder
	other := false
	for _, word := range words {
		word = strings.Trim(word, "\t\r\n")
		err := rules.apply(t, word)
		switch {
		case err == nil:
		case errors.Is(err, errRuleUnknown):
			fmt.Fprintf(&wrong, "%s: Error in applying operation '%s': %s. ", where, word, err)
		case !other:
			fmt.Fprintf(&wrong, "%s: %s. ", where, err)
			other = true
		}
	}
	return wrong.String()
}

// Open reports whether a client that sends no password may be the default user.
func (users *Users) Open() bool {
	rules := users.rules[defaultUser]
	return rules == nil || rules.open()
}

// DefinesDefault reports whether the default user is among them.
func (users *Users) DefinesDefault() bool { return users.rules[defaultUser] != nil }
