// Package acl decides which user may run which command with which keys. It holds the users of
// a server and their rules, reads and writes them as Redis does, checks passwords and command
// lines, and remembers the latest refusals.
//
// It knows nothing of connections, nor of what commands do: to it a Command is a name,
// categories, and the permissions that its keys need. What it says about mistakes are Redis'
// words without the code in front of them.
package acl

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultName is the name of the user that connections begin as and that AUTH with a bare
// password means. That user can be changed and switched off, but not deleted.
const DefaultName = "default"

// User is a user. A connection keeps the one it logged in as, so that a change of the rules
// holds from the next command on. It is safe for concurrent use.
type User struct {
	name  string
	rules atomic.Pointer[Rules]
}

// newUser takes rules that are sealed.
func newUser(name string, rules *Rules) *User {
	u := &User{name: name}
	u.rules.Store(rules)
	return u
}

// Name returns the name.
func (u *User) Name() string { return u.name }

// Rules returns the rules as they are now.
func (u *User) Rules() *Rules { return u.rules.Load() }

// deletedRules are the rules of a user that was deleted.
var deletedRules = &Rules{selectors: make([]Selector, 1), deleted: true}

// Users are the users of a server. They are safe for concurrent use. Lock order:
// fileMu -> mu.
type Users struct {
	// Log holds the latest refusals. The server adds them.
	Log Log

	commands *Commands
	first    *User // the default user

	file   File       // nil if there is none
	fileMu sync.Mutex // held while the file is written or read

	mu     sync.RWMutex
	byName map[string]*User
}

// NewUsers makes the users that are defined, and the default user if it is not. The password
// is the default user's in that case; an empty one lets it log in without. The definitions
// and the file may be nil.
func NewUsers(commands *Commands, defined *Definitions, password string, file File) *Users {
	users := &Users{commands: commands, file: file, byName: map[string]*User{}}
	if defined != nil {
		for name, rules := range defined.rules {
			users.byName[name] = newUser(name, rules)
		}
	}
	if users.first = users.byName[DefaultName]; users.first == nil {
		users.first = newUser(DefaultName, openRules())
		users.byName[DefaultName] = users.first
		if password != "" {
			users.SetDefaultPassword([]byte(password))
		}
	}
	return users
}

// Default returns the default user. It is the same one as long as there are Users.
func (users *Users) Default() *User { return users.first }

// Find returns a user, nil if there is none.
func (users *Users) Find(name string) *User {
	users.mu.RLock()
	defer users.mu.RUnlock()
	return users.byName[name]
}

// Sorted returns the users, sorted by name.
func (users *Users) Sorted() []*User {
	users.mu.RLock()
	defer users.mu.RUnlock()
	list := make([]*User, 0, len(users.byName))
	for _, name := range slices.Sorted(maps.Keys(users.byName)) {
		list = append(list, users.byName[name])
	}
	return list
}

// Lines describes the users as ACL LIST and a file do.
func (users *Users) Lines() []string {
	list := users.Sorted()
	lines := make([]string, len(list))
	for i, u := range list {
		lines[i] = u.Rules().describe(u.name)
	}
	return lines
}

// nobody stands for users that do not exist and those without a password, so that the time
// of a refusal does not tell them from others.
var nobody = &Rules{passwords: make([]passwordHash, 1)}

// Authenticate returns the user if the password is one of its passwords, and otherwise nil,
// after the same time whether or not there is such a user.
func (users *Users) Authenticate(name string, password []byte) *User {
	got := passwordHash(sha256.Sum256(password))
	u := users.Find(name)
	rules := nobody
	if u != nil {
		rules = u.Rules()
	}
	candidates := rules.passwords
	if len(candidates) == 0 {
		candidates = nobody.passwords
	}
	equal := 0
	for i := range candidates {
		equal |= subtle.ConstantTimeCompare(candidates[i][:], got[:])
	}
	if u == nil || !rules.on || !rules.nopass && (equal == 0 || len(rules.passwords) == 0) {
		return nil
	}
	return u
}

// SetDefaultPassword is requirepass: it replaces all passwords of the default user. An
// empty one lets it log in without.
func (users *Users) SetDefaultPassword(password []byte) {
	users.mu.Lock()
	defer users.mu.Unlock()
	rules := users.first.Rules().clone()
	rules.passwords, rules.nopass = nil, len(password) == 0
	if !rules.nopass {
		rules.passwords = []passwordHash{sha256.Sum256(password)}
	}
	users.first.rules.Store(rules.sealed())
}

// Set makes a user or changes it by the words of ACL SETUSER, all of them or none. If the
// server is public, Set refuses to take the default user's password away.
func (users *Users) Set(name string, words []string, public bool) error {
	if hasSpaces(name) {
		return ErrName
	}
	words, ok := joinSelectors(words)
	if !ok {
		return errUnmatched(words[0])
	}
	users.mu.Lock()
	defer users.mu.Unlock()
	u, rules := users.byName[name], newRules()
	if u != nil {
		rules = u.Rules().clone()
	}
	for _, word := range words {
		if err := rules.apply(users.commands, word); err != nil {
			return errSetUser(word, err)
		}
	}
	if u == users.first && public && rules.Open() && !u.Rules().Open() {
		return ErrOpenDefault
	}
	if u == nil {
		users.byName[name] = newUser(name, rules.sealed())
	} else {
		u.rules.Store(rules.sealed())
	}
	return nil
}

// Remove deletes users and returns those that existed. A connection that is logged in as one
// of them can do nothing from now on. The default user must not be among them.
func (users *Users) Remove(names []string) []*User {
	users.mu.Lock()
	defer users.mu.Unlock()
	var removed []*User
	for _, name := range names {
		if u := users.byName[name]; u != nil {
			delete(users.byName, name)
			u.rules.Store(deletedRules)
			removed = append(removed, u)
		}
	}
	return removed
}

// replace puts the users of a file in place of the present ones, which it returns. The
// default user stays the same one, because connections that are not logged in have it.
func (users *Users) replace(defined *Definitions) (removed []*User) {
	users.mu.Lock()
	defer users.mu.Unlock()
	first := openRules()
	if rules := defined.rules[DefaultName]; rules != nil {
		first = rules
	}
	users.first.rules.Store(first)
	for name, u := range users.byName {
		if name != DefaultName {
			u.rules.Store(deletedRules)
			removed = append(removed, u)
		}
	}
	users.byName = map[string]*User{DefaultName: users.first}
	for name, rules := range defined.rules {
		if name != DefaultName {
			users.byName[name] = newUser(name, rules)
		}
	}
	return removed
}

// Load replaces the users by those of the file, and returns those it replaced. It changes
// nothing if a line is wrong, or if the default user of a public server would lose its
// password.
func (users *Users) Load(public bool) (removed []*User, err error) {
	if users.file == nil {
		return nil, ErrNoFile
	}
	users.fileMu.Lock()
	defer users.fileMu.Unlock()
	defined, err := LoadUsers(users.commands, users.file)
	switch {
	case err != nil:
		return nil, err
	case public && defined.Open() && !users.first.Rules().Open():
		return nil, ErrOpenDefault
	}
	return users.replace(defined), nil
}

// Save writes the users to the file.
func (users *Users) Save() error {
	if users.file == nil {
		return ErrNoFile
	}
	users.fileMu.Lock()
	defer users.fileMu.Unlock()
	return users.file.Save(users.Lines())
}
