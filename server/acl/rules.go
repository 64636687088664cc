package acl

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Rules say how a user logs in and what it may do. The rules of a User never change: a change replaces
// them by a changed copy, so that a check needs no lock.
type Rules struct {
	on     bool
	nopass bool // every password is accepted
	// payload is a rule about RESTORE: sanitize-payload or skip-sanitize-payload. It is stored and
	// shown but has no effect.
	payload   string
	passwords []passwordHash
	// selectors permit a command if one of them permits it. The first is the user's own; the
	// others were given in parentheses.
	selectors []Selector
	unlimited bool // filled in by sealed
	deleted   bool
}

// passwordHash is stored in place of a password.
type passwordHash [sha256.Size]byte

// newRules returns the rules of a new user, which is off and has no rights.
func newRules() *Rules { return &Rules{selectors: make([]Selector, 1)} }

// openRules returns the rules of the default user of a server without a password.
func openRules() *Rules {
	r := newRules()
	r.on, r.nopass = true, true
	r.selectors[0] = Selector{allCommands: true, future: true, allKeys: true, allChannels: true}
	return r.sealed()
}

func (r *Rules) clone() *Rules {
	c := *r
	c.passwords = slices.Clone(r.passwords)
	c.selectors = make([]Selector, len(r.selectors))
	for i := range r.selectors {
		c.selectors[i] = r.selectors[i].clone()
	}
	return &c
}

// sealed prepares the rules for a user and returns them.
func (r *Rules) sealed() *Rules {
	own := &r.selectors[0]
	r.unlimited = own.allCommands && own.allKeys
	return r
}

// Unlimited reports whether the user may run every command with every key, so that a check can be
// skipped.
func (r *Rules) Unlimited() bool { return r.unlimited }

// Deleted reports whether the user was deleted. A connection must not be logged in as a deleted user.
func (r *Rules) Deleted() bool { return r.deleted }

// NoPassword reports whether every password is accepted.
func (r *Rules) NoPassword() bool { return r.nopass }

// Open reports whether a client can log in as this user without a password.
func (r *Rules) Open() bool { return r.on && r.nopass }

// maxRules is how many rules of a kind a user may have. Each new rule is compared with those before
// it, and each command of the user with all of them.
const maxRules = 4096

// apply changes the rules by one word, as ACL SETUSER does. The caller owns r.
func (r *Rules) apply(c *Commands, word string) error {
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
		return r.applyOther(c, word)
	}
	return nil
}

func (r *Rules) applyOther(c *Commands, word string) error {
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
			return errSyntax
		}
		s, err := parseSelector(c, word)
		if err != nil {
			return err
		}
		if len(r.selectors) > maxRules { // the user's own is one of them
			return errTooMany
		}
		r.selectors = append(r.selectors, s)
	default:
		return r.selectors[0].apply(c, word)
	}
	return nil
}

func (r *Rules) addPassword(hash passwordHash) error {
	switch {
	case slices.Contains(r.passwords, hash):
	case len(r.passwords) == maxRules:
		return errTooMany
	default:
		r.passwords = append(r.passwords, hash)
	}
	r.nopass = false
	return nil
}

func (r *Rules) removePassword(hash passwordHash) error {
	i := slices.Index(r.passwords, hash)
	if i < 0 {
		return errNoPassword
	}
	r.passwords = slices.Delete(r.passwords, i, i+1)
	return nil
}

// parseHash reads 64 hexadecimal digits, which Redis wants in lower case.
func parseHash(text string) (hash passwordHash, err error) {
	if len(text) != hex.EncodedLen(len(hash)) || strings.ToLower(text) != text {
		return hash, errHash
	}
	if _, err := hex.Decode(hash[:], []byte(text)); err != nil {
		return hash, errHash
	}
	return hash, nil
}

// parseSelector reads the rules between parentheses. A rule must not end with a parenthesis, which
// Redis sometimes allows, because ACL LOAD could not read the selector again.
func parseSelector(c *Commands, word string) (Selector, error) {
	var s Selector
	for _, rule := range strings.Split(strings.Trim(word, "()"), " ") {
		if strings.HasSuffix(rule, ")") {
			return s, errSyntax
		}
		if rule == "" {
			continue
		}
		if err := s.apply(c, rule); err != nil {
			return s, err
		}
	}
	return s, nil
}

// joinSelectors joins the words of each selector, "(+get", "~x)", into one. If a parenthesis is never
// closed, ok is false and it returns only the first word of that selector.
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

// Flags returns the flags of ACL GETUSER. The description of a user begins with them.
func (r *Rules) Flags() []string {
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

// Passwords returns the hashes of the passwords as hexadecimal digits.
func (r *Rules) Passwords() []string {
	words := make([]string, len(r.passwords))
	for i, hash := range r.passwords {
		words[i] = hex.EncodeToString(hash[:])
	}
	return words
}

// Selectors returns the selectors: the user's own, and those given in parentheses. The caller
// must not change the slice.
func (r *Rules) Selectors() []Selector { return r.selectors }

// describe returns the line of the user in ACL LIST and in an ACL file. The line defines the same user
// again.
func (r *Rules) describe(name string) string {
	words := append([]string{"user", name}, r.Flags()...)
	for _, password := range r.Passwords() {
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
