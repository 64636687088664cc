package server

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// userRules say how a user logs in and what it may do. They never change once a user has
// them: a change clones them, so that a check needs no lock.
type userRules struct {
	on     bool
	nopass bool // any password is right
	// payload is a rule about RESTORE, sanitize-payload or skip-sanitize-payload. It is
	// kept and shown; there is nothing to apply it to.
	payload   string
	passwords []passwordHash
	// selectors permit a command if one of them does. The first is the user's own; the
	// others were given in parentheses.
	selectors []selector
	// unlimited spares the check. It is filled in by sealed.
	unlimited bool
	// deleted marks a user that is no more; whoever is still logged in as it is closed.
	deleted bool
}

// passwordHash is all that is kept of a password.
type passwordHash [sha256.Size]byte

// newRules returns those of a user that was just created: off, and without any right.
func newRules() *userRules { return &userRules{selectors: make([]selector, 1)} }

// openRules are those of the default user of a server that asks for no password.
func openRules() *userRules {
	r := newRules()
	r.on, r.nopass = true, true
	r.selectors[0] = selector{allCommands: true, future: true, allKeys: true, allChannels: true}
	return r.sealed()
}

func (r *userRules) clone() *userRules {
	c := *r
	c.passwords = slices.Clone(r.passwords)
	c.selectors = make([]selector, len(r.selectors))
	for i := range r.selectors {
		c.selectors[i] = r.selectors[i].clone()
	}
	return &c
}

// sealed returns the rules ready for a user.
func (r *userRules) sealed() *userRules {
	own := &r.selectors[0]
	r.unlimited = own.allCommands && own.allKeys
	return r
}

// open reports whether one becomes this user without a password.
func (r *userRules) open() bool { return r.on && r.nopass }

// maxRules is how many rules of a kind a user may have. Each is compared with those before it,
// and each command of the user with all of them.
const maxRules = 4096

// ruleError is what is wrong with a rule, in Redis' words.
type ruleError string

func (e ruleError) Error() string { return string(e) }

const (
	errRuleSyntax    = ruleError("Syntax error")
	errRuleUnknown   = ruleError("Unknown command or category name in ACL")
	errRuleAllKeys   = ruleError("Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns")
	errRuleAllChans  = ruleError("Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels")
	errRuleNoPass    = ruleError("The password you are trying to remove from the user does not exist")
	errRuleHash      = ruleError("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")
	errRuleSubFirst  = ruleError("Allowing first-arg of a subcommand is not supported")
	errRulePattern   = ruleError("A pattern is too long")
	errRuleMany      = ruleError("A user can have at most 4096 passwords, selectors, and in each selector key patterns, channel patterns and first arguments of a command")
	errRuleDuplicate = ruleError("Duplicate user found. A user can only be defined once in config files")
)

// apply changes the rules by one word, as ACL SETUSER does. The caller owns r.
func (r *userRules) apply(t *table, word string) error {
	switch strings.ToLower(word) {
	case "":
	case "on":
		r.on = true
	case "off":
		r.on = false
	case "nopass":
		r.nopass, r.passwords = true, nil
	case "resetpass":
		r.nopass, r.passwords = false, nil
	case "sanitize-payload", "skip-sanitize-payload":
		r.payload = strings.ToLower(word)
	case "clearselectors":
		r.selectors = r.selectors[:1]
	case "reset":
		*r = *newRules()
		r.payload = "sanitize-payload"
	default:
		return r.applyOther(t, word)
	}
	return nil
}

func (r *userRules) applyOther(t *table, word string) error {
	switch word[0] {
	case '>':
		return r.addPassword(sha256.Sum256([]byte(word[1:])))
	case '<':
		return r.removePassword(sha256.Sum256([]byte(word[1:])))
	case '#', '!':
		hash, err := parseHash(word[1:])
		if err != nil {
			return err
		}
		if word[0] == '!' {
			return r.removePassword(hash)
		}
		return r.addPassword(hash)
	case '(':
		if !strings.HasSuffix(word, ")") {
			return errRuleSyntax
		}
		s, err := parseSelector(t, word)
		if err != nil {
			return err
		}
		if len(r.selectors) > maxRules { // the user's own is one of them
			return errRuleMany
		}
		r.selectors = append(r.selectors, s)
	default:
		return r.selectors[0].apply(t, word)
	}
	return nil
}

func (r *userRules) addPassword(hash passwordHash) error {
	switch {
	case slices.Contains(r.passwords, hash):
	case len(r.passwords) == maxRules:
		return errRuleMany
	default:
		r.passwords = append(r.passwords, hash)
	}
	r.nopass = false
	return nil
}

func (r *userRules) removePassword(hash passwordHash) error {
	i := slices.Index(r.passwords, hash)
	if i < 0 {
		return errRuleNoPass
	}
	r.passwords = slices.Delete(r.passwords, i, i+1)
	return nil
}

// parseHash reads 64 hexadecimal digits, which Redis wants in lower case.
func parseHash(text string) (hash passwordHash, err error) {
	if len(text) != hex.EncodedLen(len(hash)) || strings.ToLower(text) != text {
		return hash, errRuleHash
	}
	if _, err := hex.Decode(hash[:], []byte(text)); err != nil {
		return hash, errRuleHash
	}
	return hash, nil
}

// parseSelector reads the rules between parentheses. A rule in it must not end with a
// parenthesis, although Redis lets some: the selector could not be read back.
func parseSelector(t *table, word string) (selector, error) {
	var s selector
	for _, rule := range strings.Split(strings.Trim(word, "()"), " ") {
		if strings.HasSuffix(rule, ")") {
			return s, errRuleSyntax
		}
		if rule == "" {
			continue
		}
		if err := s.apply(t, rule); err != nil {
			return s, err
		}
	}
	return s, nil
}

// joinSelectors makes one word of the words of a selector: "(+get", "~x)". When the
// parenthesis is never closed, ok is false and the first of the words is returned alone.
func joinSelectors(words []string) (joined []string, ok bool) {
	begin := -1
	for i, word := range words {
		switch {
		case begin < 0 && strings.HasPrefix(word, "(") && !strings.HasSuffix(word, ")"):
			begin = i
		case begin < 0:
			joined = append(joined, word)
		case strings.HasSuffix(word, ")"):
			joined = append(joined, strings.Join(words[begin:i+1], " "))
			begin = -1
		}
	}
	if begin >= 0 {
		return words[begin : begin+1], false
	}
	return joined, true
}

// flagWords are the flags of ACL GETUSER, which begin the description.
func (r *userRules) flagWords() []string {
	words := []string{"off"}
	if r.on {
		words[0] = "on"
	}
	if r.nopass {
		words = append(words, "nopass")
	}
	if r.payload != "" {
		words = append(words, r.payload)
	}
	return words
}

func (r *userRules) passwordWords() []string {
	words := make([]string, len(r.passwords))
	for i, hash := range r.passwords {
		words[i] = hex.EncodeToString(hash[:])
	}
	return words
}

// describe returns a line of ACL LIST, of an ACL file: it makes the same user again.
func (r *userRules) describe(name string) string {
	words := append([]string{"user", name}, r.flagWords()...)
	for _, password := range r.passwordWords() {
		words = append(words, "#"+password)
	}
	for i := range r.selectors {
		text := r.selectors[i].describe()
		if i > 0 {
			text = "(" + text + ")"
		}
		words = append(words, text)
	}
	return strings.Join(words, " ")
}
