package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// defaultUser is the user that connections begin as and that AUTH with a bare password
// means. It can be changed and switched off, but not deleted.
const defaultUser = "default"

// user is an ACL user. A connection keeps the one it logged in as, so that a change of its
// rules holds from the next command on.
type user struct {
	name  string
	rules atomic.Pointer[userRules]
}

// newUser takes rules that are sealed.
func newUser(name string, rules *userRules) *user {
	u := &user{name: name}
	u.rules.Store(rules)
	return u
}

// deletedRules are those of a user that was deleted.
var deletedRules = &userRules{selectors: make([]selector, 1), deleted: true}

// acl holds the users. It is safe for concurrent use. Lock order: fileMu -> mu.
type acl struct {
	table *table
	first *user // the default user
	log   aclLog

	file   ACLFile    // nil if there is none
	fileMu sync.Mutex // held while the file is written or read

	mu    sync.RWMutex
	users map[string]*user
}

// newACL takes over users, which may be nil. The password is the default user's unless
// users say what that has.
func newACL(t *table, users *Users, password string, file ACLFile) *acl {
	a := &acl{table: t, file: file, users: map[string]*user{}}
	rules := map[string]*userRules{}
	if users != nil {
		rules = users.rules
	}
	for name, r := range rules {
		a.users[name] = newUser(name, r)
	}
	if a.first = a.users[defaultUser]; a.first == nil {
		a.first = newUser(defaultUser, openRules())
		a.users[defaultUser] = a.first
		if password != "" {
			a.setDefaultPassword([]byte(password))
		}
	}
	return a
}

// find returns a user, nil if there is none.
func (a *acl) find(name string) *user {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.users[name]
}

// sorted returns the users by name.
func (a *acl) sorted() []*user {
	a.mu.RLock()
	defer a.mu.RUnlock()
	list := make([]*user, 0, len(a.users))
	for _, name := range slices.Sorted(maps.Keys(a.users)) {
		list = append(list, a.users[name])
	}
	return list
}

// lines describes the users as ACL LIST does.
func (a *acl) lines() []string {
	users := a.sorted()
	lines := make([]string, len(users))
	for i, u := range users {
		lines[i] = u.rules.Load().describe(u.name)
	}
	return lines
}

// nobody stands for users that do not exist and those without a password: the time of a
// refusal must not tell them from others.
var nobody = &userRules{passwords: make([]passwordHash, 1)}

// authenticate returns the user if the password is one of its passwords, and otherwise
// nil, after the same time whether or not there is such a user.
func (a *acl) authenticate(name string, password []byte) *user {
	got := passwordHash(sha256.Sum256(password))
	u := a.find(name)
	rules := nobody
	if u != nil {
		rules = u.rules.Load()
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

// setDefaultPassword is requirepass: it replaces all passwords of the default user. An
// empty one lets it log in without.
func (a *acl) setDefaultPassword(password []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rules := a.first.rules.Load().clone()
	rules.passwords, rules.nopass = nil, len(password) == 0
	if !rules.nopass {
		rules.passwords = []passwordHash{sha256.Sum256(password)}
	}
	a.first.rules.Store(rules.sealed())
}

// set makes a user or changes it by the words of ACL SETUSER, all of them or none. public
// says that taking the default user's password away is refused.
func (a *acl) set(name string, words []string, public bool) error {
	words, ok := joinSelectors(words)
	if !ok {
		return errSelector(words[0])
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u, rules := a.users[name], newRules()
	if u != nil {
		rules = u.rules.Load().clone()
	}
	for _, word := range words {
		if err := rules.apply(a.table, word); err != nil {
			return errSetUser(word, err)
		}
	}
	if u == a.first && public && rules.open() && !u.rules.Load().open() {
		return errOpenDefault
	}
	if u == nil {
		a.users[name] = newUser(name, rules.sealed())
	} else {
		u.rules.Store(rules.sealed())
	}
	return nil
}

// remove deletes users and returns those that existed. Who is logged in as one of them
// can do nothing from now on.
func (a *acl) remove(names []string) []*user {
	a.mu.Lock()
	defer a.mu.Unlock()
	var removed []*user
	for _, name := range names {
		if u := a.users[name]; u != nil {
			delete(a.users, name)
			u.rules.Store(deletedRules)
			removed = append(removed, u)
		}
	}
	return removed
}

// replace gives the server the users of a file in place of those it has, which it returns.
// Only the default user stays itself, because connections that are not logged in are it.
func (a *acl) replace(users *Users) (removed []*user) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := openRules()
	if rules := users.rules[defaultUser]; rules != nil {
		first = rules
	}
	a.first.rules.Store(first)
	for name, u := range a.users {
		if name != defaultUser {
			u.rules.Store(deletedRules)
			removed = append(removed, u)
		}
	}
	a.users = map[string]*user{defaultUser: a.first}
	for name, rules := range users.rules {
		if name != defaultUser {
			a.users[name] = newUser(name, rules)
		}
	}
	return removed
}

// load replaces the users by those of the file. It changes nothing if a line is wrong.
func (a *acl) load(public bool) (removed []*user, err error) {
	a.fileMu.Lock()
	defer a.fileMu.Unlock()
	users, err := LoadUsers(a.file)
	switch {
	case err != nil:
		return nil, err
	case public && users.Open() && !a.first.rules.Load().open():
		return nil, errOpenDefault
	}
	return a.replace(users), nil
}

func (a *acl) save() error {
	a.fileMu.Lock()
	defer a.fileMu.Unlock()
	return a.file.Save(a.lines())
}
