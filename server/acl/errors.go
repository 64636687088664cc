package acl

import (
	"errors"
	"fmt"
	"strings"
)

// RuleError is what is wrong with a rule, in Redis' words.
type RuleError string

// Error returns the words.
func (e RuleError) Error() string { return string(e) }

const (
	errSyntax      = RuleError("Syntax error")
	errUnknown     = RuleError("Unknown command or category name in ACL")
	errAllKeys     = RuleError("Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns")
	errAllChannels = RuleError("Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels")
	errNoPassword  = RuleError("The password you are trying to remove from the user does not exist")
	errHash        = RuleError("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")
	errSubFirstArg = RuleError("Allowing first-arg of a subcommand is not supported")
	errPattern     = RuleError("A pattern is too long")
	errTooMany     = RuleError("A user can have at most 4096 passwords, selectors, and in each selector key patterns, channel patterns and first arguments of a command")
	errDuplicate   = RuleError("Duplicate user found. A user can only be defined once in config files")
)

// errUnmatched reports a selector that is never closed, by its first word.
func errUnmatched(word string) RuleError {
	return RuleError("Unmatched parenthesis in acl selector starting at '" + cString(word) + "'.")
}

// errSetUser says which word of ACL SETUSER is wrong.
func errSetUser(word string, err error) error {
	return fmt.Errorf("Error in ACL SETUSER modifier '%s': %w", cString(word), err)
}

var (
	// ErrName is returned by Users.Set for a name that a line of a file could not hold.
	ErrName error = RuleError("Usernames can't contain spaces or null characters")
	// ErrNoFile is returned by Users.Load and Users.Save if the users have no file.
	ErrNoFile = errors.New("there is no ACL file")
	// ErrOpenDefault is returned by Users.Set and Users.Load if the default user of a public
	// server would need no password. It has no counterpart in Redis.
	ErrOpenDefault error = RuleError("The default user would need no password on a server that listens beyond loopback")
)

// LinesError is what is wrong with the lines of a file, in Redis' words.
type LinesError string

// Error returns the words.
func (e LinesError) Error() string { return string(e) }

// cString cuts a text at the first zero byte, as Redis does when it shows one.
func cString(text string) string {
	text, _, _ = strings.Cut(text, "\x00")
	return text
}
