// Package acl decides which user may run which command with which keys. It holds the users of
// a server and their rules, reads and writes them as Redis does, checks passwords and command
// lines, and logs the latest refusals.
//
// It knows nothing of connections, nor of what commands do: a Command is a name, categories, and the
// permissions that its keys need. Its errors have Redis' texts without the error code.
package acl

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultName is the name of the default user. A new connection has that user, and AUTH with only a
// password logs in as it. The default user can be changed and switched off, but not deleted.
const DefaultName = "default"

// User is a user. A connection holds a pointer to its User, so that a change of the rules applies to
// its next command. It is safe for concurrent use.
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

// NewUsers returns the defined users, and the default user if it is not defined. In that case the
// default user gets the password; if the password is empty it needs none. The definitions and the file
// may be nil.
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

// Default returns the default user, which is never replaced by another User.
func (users *Users) Default() *User { return users.first }

// Find returns the user of a name, or nil if there is none.
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

// nobody stands for users that do not exist and for users without a password, so that the time of a
// refusal does not reveal them.
var nobody = &Rules{passwords: make([]passwordHash, 1)}

// Authenticate returns the user if the password is one of its passwords, and nil if not. It takes the
// same time whether or not the user exists.
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

// SetDefaultPassword replaces all passwords of the default user, as requirepass does. With an empty
// password the user needs none.
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

// Set creates or changes a user by the words of ACL SETUSER. It applies all of them or none. If the
// server is public, Set does not let the default user be without a password.
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

// Remove deletes users and returns those that existed. A connection that is logged in as one of them
// cannot run any more commands. The default user must not be among them.
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

// replace replaces the users by those of a file and returns the former ones. The default user only
// gets new rules, because connections that are not logged in point to it.
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

// Load replaces the users by those of the file and returns the former ones. It changes nothing if a
// line is wrong, or if the default user of a public server would need no password.
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
