package enginetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Factory opens the engine under test.
type Factory struct {
	// Open returns an engine without records. Whoever calls Open closes the engine.
	Open func(t testing.TB) storage.Engine
	// Reopen closes e and returns an engine over what e stored. Nil means that the
	// engine keeps nothing.
	Reopen func(t testing.TB, e storage.Engine) storage.Engine
}

// rule is one sentence of the contract and the program that holds an engine to it.
type rule struct {
	name  string // of the subtest
	says  string // printed on failure
	check func(s *subject)
}

// Run holds the engine to every rule of the contract, each on an engine of its own.
func Run(t *testing.T, f Factory) {
	groups := []struct {
		name  string
		rules []rule
	}{
		{"Record", recordRules()},
		{"Revision", revisionRules()},
		{"Generation", generationRules()},
		{"Txn", txnRules()},
		{"Scope", scopeRules()},
		{"Isolation", isolationRules()},
		{"Scan", scanRules()},
		{"Sweep", sweepRules()},
		{"Life", lifeRules()},
		{"Reopen", reopenRules()},
		{"Element", elementRules()},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			if group.name == "Reopen" && f.Reopen == nil {
				t.Skip("the engine keeps nothing")
			}
			if group.name == "Element" && !keepsElements(t, f) {
				t.Skip("the engine keeps no elements: it is no storage.ElementTxn")
			}
			for _, r := range group.rules {
				t.Run(r.name, func(t *testing.T) { r.run(t, f) })
			}
		})
	}
}

func (r rule) run(t *testing.T, f Factory) {
	t.Parallel()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("rule: %s", r.says)
		}
	})
	s := &subject{t: t, factory: f, engine: f.Open(t)}
	t.Cleanup(s.close)
	r.check(s)
}

// subject is the engine under test, with calls that end the test on an error.
type subject struct {
	t       *testing.T
	factory Factory
	engine  storage.Engine
}

func (s *subject) close() {
	if err := s.engine.Close(); err != nil && !errors.Is(err, storage.ErrClosed) {
		s.t.Errorf("Close: %v", err)
	}
}

func (s *subject) reopen() {
	s.t.Helper()
	s.engine = s.factory.Reopen(s.t, s.engine)
}

// update runs fn over keys, or over everything if none are given.
func (s *subject) update(fn func(tx storage.Txn) error, keys ...storage.Key) {
	s.t.Helper()
	if _, err := s.engine.Update(s.t.Context(), scope(keys), fn); err != nil {
		s.t.Fatalf("Update: %v", err)
	}
}

// view runs fn over keys, or over everything if none are given.
func (s *subject) view(fn func(r storage.Reader) error, keys ...storage.Key) {
	s.t.Helper()
	if _, err := s.engine.View(s.t.Context(), scope(keys), fn); err != nil {
		s.t.Fatalf("View: %v", err)
	}
}

func scope(keys []storage.Key) storage.Scope {
	if len(keys) == 0 {
		return storage.Whole
	}
	return storage.Scope{Keys: keys}
}

// put stores each row in an Update of its own.
func (s *subject) put(rows ...row) {
	s.t.Helper()
	for _, r := range rows {
		s.update(func(tx storage.Txn) error { return tx.Put(r.key(), r.record()) }, r.key())
	}
}

func (s *subject) setDeadline(k storage.Key, deadline ttl.Instant) {
	s.t.Helper()
	s.update(func(tx storage.Txn) error { return tx.SetDeadline(k, deadline) }, k)
}

func (s *subject) remove(k storage.Key) {
	s.t.Helper()
	s.update(func(tx storage.Txn) error { return tx.Delete(k) }, k)
}

// stat returns the record under k without its value, and whether there is one.
func (s *subject) stat(k storage.Key) (r storage.Record, found bool) {
	s.t.Helper()
	s.view(func(reader storage.Reader) (err error) {
		r, found, err = reader.Stat(k)
		return err
	}, k)
	return r, found
}

func (s *subject) revision(k storage.Key) uint64 {
	s.t.Helper()
	r, found := s.stat(k)
	if !found {
		s.t.Fatalf("no record under %v", idOf(k))
	}
	return r.Revision
}

func (s *subject) generation(k storage.Key) (generation uint64) {
	s.t.Helper()
	s.view(func(r storage.Reader) (err error) {
		generation, err = r.Generation(k)
		return err
	}, k)
	return generation
}

// contents reads every record of the databases that the suite uses.
func (s *subject) contents() (all contents) {
	s.t.Helper()
	s.view(func(r storage.Reader) (err error) {
		all, err = read(r)
		return err
	})
	return all
}

// holds reports an error unless the engine has these rows and no others.
func (s *subject) holds(rows ...row) {
	s.t.Helper()
	if diff := s.contents().diff(rows); diff != "" {
		s.t.Errorf("the engine does not hold what it should:%s", diff)
	}
}

// row is a record and where it is, without what the engine chooses.
type row struct {
	db       int
	name     string
	value    string
	deadline ttl.Instant
}

func key(db int, name string) storage.Key { return id{db, name}.key() }

func (r row) key() storage.Key { return key(r.db, r.name) }

func (r row) record() storage.Record {
	return storage.Record{Kind: storage.KindString, Value: []byte(r.value), Deadline: r.deadline}
}

// databases returns those that read looks into; the suite uses no others.
func databases() []int { return []int{0, 1, 2, 15} }

// entry is a storage.Record that can be compared and outlive its function.
type entry struct {
	kind     storage.Kind
	value    string
	deadline ttl.Instant
	revision uint64
}

func (e entry) String() string {
	end := "for ever"
	if e.deadline != ttl.Never {
		end = fmt.Sprintf("until %d", e.deadline)
	}
	return fmt.Sprintf("kind %d %.40q %s", e.kind, e.value, end)
}

func (k id) String() string { return fmt.Sprintf("%d/%.40q", k.db, k.name) }

// contents are the records of an engine at one instant.
type contents map[id]entry

// diff says in which way c differs from rows. Revisions are not compared.
func (c contents) diff(rows []row) (diff string) {
	want := contents{}
	for _, r := range rows {
		want[id{r.db, r.name}] = entry{kind: storage.KindString, value: r.value, deadline: r.deadline}
	}
	return c.diffContents(want)
}

func (c contents) diffContents(want contents) (diff string) {
	for _, k := range slices.SortedFunc(maps.Keys(c), compareID) {
		got, ok := want[k]
		got.revision = c[k].revision
		if !ok {
			diff += fmt.Sprintf("\n\t%v = %v, want none", k, c[k])
		} else if got != c[k] {
			diff += fmt.Sprintf("\n\t%v = %v, want %v", k, c[k], got)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(want), compareID) {
		if _, ok := c[k]; !ok {
			diff += fmt.Sprintf("\n\t%v is absent, want %v", k, want[k])
		}
	}
	return diff
}
