package storage_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
	"github.com/sessiond/sessiond/ttl"
)

// start is where the clock of each test stands at first.
const start ttl.Instant = 1_000_000

// store is a keyspace over the model, whose clock moves only when told to.
type store struct {
	t      *testing.T
	engine storage.Engine
	clock  *ttl.Manual
	*storage.Keyspace
}

func newStore(t *testing.T) *store {
	t.Helper()
	engine, clock := newModel(t), ttl.NewManual(start)
	return &store{t, engine, clock, storage.NewKeyspace(engine, clock)}
}

// newModel returns an engine that is closed when the test ends.
func newModel(t testing.TB) storage.Engine {
	t.Helper()
	engine := enginetest.NewModel()
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return engine
}

func key(name string) storage.Key { return storage.Key{Name: []byte(name)} }

func text(value string, deadline ttl.Instant) storage.Record {
	return storage.Record{Kind: storage.KindString, Value: []byte(value), Deadline: deadline}
}

func (s *store) update(fn func(tx *storage.Tx) error) {
	s.t.Helper()
	if _, err := s.Update(s.t.Context(), storage.Whole, fn); err != nil {
		s.t.Fatalf("Update: %v", err)
	}
}

func (s *store) view(fn func(tx *storage.Tx) error) {
	s.t.Helper()
	if _, err := s.View(s.t.Context(), storage.Whole, fn); err != nil {
		s.t.Fatalf("View: %v", err)
	}
}

func (s *store) put(name, value string, deadline ttl.Instant) {
	s.t.Helper()
	s.update(func(tx *storage.Tx) error { return tx.Put(key(name), text(value, deadline)) })
}

func (s *store) remove(name string) (removed bool) {
	s.t.Helper()
	s.update(func(tx *storage.Tx) (err error) {
		removed, err = tx.Delete(key(name))
		return err
	})
	return removed
}

// value returns the value under name, or "absent".
func (s *store) value(name string) (value string) {
	s.t.Helper()
	s.view(func(tx *storage.Tx) error {
		r, found, err := tx.Find(key(name))
		if value = string(r.Value); !found {
			value = "absent"
		}
		return err
	})
	return value
}

func (s *store) wantValue(name, want string) {
	s.t.Helper()
	if got := s.value(name); got != want {
		s.t.Errorf("Find %q = %q, want %q", name, got, want)
	}
}

// sweep removes what is due, as the sweeper would.
func (s *store) sweep() {
	s.t.Helper()
	if _, _, err := s.engine.Sweep(s.t.Context(), s.clock.Now(), 1000); err != nil {
		s.t.Fatalf("Sweep: %v", err)
	}
}

// kept reports how many records the engine has, dead ones included.
func (s *store) kept() (n int64) {
	s.t.Helper()
	s.view(func(tx *storage.Tx) error {
		count, err := tx.Len(0)
		n = count.Records
		return err
	})
	return n
}

func (s *store) mark(name string) (m storage.Mark) {
	s.t.Helper()
	s.view(func(tx *storage.Tx) (err error) {
		m, err = tx.Mark(key(name))
		return err
	})
	return m
}

// scanned returns the names that Scan visits, sorted, read in small pages.
func (s *store) scanned() (names []string) {
	s.t.Helper()
	visited := map[string]bool{}
	s.view(func(tx *storage.Tx) (err error) {
		clear(visited)
		cursor := uint64(0)
		for {
			cursor, err = tx.Scan(0, cursor, 2, func(k storage.Key, _ storage.Record) bool {
				visited[string(k.Name)] = true
				return true
			})
			if err != nil || cursor == 0 {
				return err
			}
		}
	})
	return slices.Sorted(maps.Keys(visited))
}

// Ensure that a record is there until the millisecond before its deadline and absent from
// the deadline on, by every way of looking, swept or not.
func TestKeyspace_Expired_IsAbsent(t *testing.T) {
	t.Parallel()
	const deadline = start + 10
	for _, test := range []struct {
		now   ttl.Instant
		alive bool
	}{
		{start, true}, {deadline - 1, true}, {deadline, false}, {deadline + 1, false}, {ttl.Latest, false},
	} {
		for _, look := range looks() {
			t.Run(fmt.Sprintf("%s/at%+d", look.name, test.now-deadline), func(t *testing.T) {
				t.Parallel()
				s := newStore(t)
				s.put("session", "v", deadline)
				s.clock.Set(test.now)
				if got := look.sees(s); got != test.alive {
					t.Errorf("at the deadline %+d: seen = %v, want %v", test.now-deadline, got, test.alive)
				}
			})
		}
	}
}

// look is one way to learn whether there is a record under "session".
type look struct {
	name string
	sees func(s *store) bool
}

func looks() []look {
	session := key("session")
	inside := func(s *store, fn func(tx *storage.Tx) (bool, error)) (seen bool) {
		s.update(func(tx *storage.Tx) (err error) {
			seen, err = fn(tx)
			return err
		})
		return seen
	}
	return []look{
		{"Find", func(s *store) bool { return s.value("session") == "v" }},
		{"FindInUpdate", func(s *store) bool {
			return inside(s, func(tx *storage.Tx) (bool, error) { _, found, err := tx.Find(session); return found, err })
		}},
		{"FindString", func(s *store) bool {
			return inside(s, func(tx *storage.Tx) (bool, error) { _, found, err := tx.FindString(session); return found, err })
		}},
		{"Stat", func(s *store) bool {
			return inside(s, func(tx *storage.Tx) (bool, error) { _, found, err := tx.Stat(session); return found, err })
		}},
		{"Scan", func(s *store) bool { return len(s.scanned()) == 1 }},
		{"Random", func(s *store) bool {
			return inside(s, func(tx *storage.Tx) (bool, error) { _, found, err := tx.Random(0); return found, err })
		}},
		{"Delete", func(s *store) bool { return s.remove("session") }},
		{"SetDeadline", func(s *store) bool {
			return inside(s, func(tx *storage.Tx) (bool, error) {
				err := tx.SetDeadline(session, ttl.Never)
				if errors.Is(err, storage.ErrNotFound) {
					return false, nil
				}
				return true, err
			})
		}},
	}
}

// Ensure that a dead record hands out nothing of what it was.
func TestTx_Find_DeadRecordIsZero(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put("session", "secret", start+1)
	s.clock.Set(start + 1)
	s.view(func(tx *storage.Tx) error {
		if r, found, err := tx.Find(key("session")); found || err != nil || r.Value != nil || r.Size != 0 || r.Revision != 0 {
			t.Errorf("Find = %+v, %v, %v; want nothing", r, found, err)
		}
		return nil
	})
}

// Ensure that DBSIZE counts a dead record until it is swept, as Redis does.
func TestTx_Len_CountsUntilSwept(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put("session", "v", start+1)
	s.clock.Set(start + 1)
	if got := s.kept(); got != 1 {
		t.Errorf("Len = %d before the sweep, want 1", got)
	}
	s.sweep()
	if got := s.kept(); got != 0 {
		t.Errorf("Len = %d after the sweep, want 0", got)
	}
}

// Ensure that a record put with a deadline that is due ends what was there and is never seen.
func TestTx_Put_DueDeadline(t *testing.T) {
	t.Parallel()
	for _, deadline := range []ttl.Instant{start, start - 1, 1, -5} {
		s := newStore(t)
		s.put("old", "v", ttl.Never)
		s.put("old", "new", deadline)
		s.wantValue("old", "absent")
		s.put("new", "v", deadline)
		s.wantValue("new", "absent")
		if got := s.kept(); got != 0 {
			t.Errorf("deadline %d: %d records are stored, want none", deadline, got)
		}
	}
	s := newStore(t)
	s.put("old", "new", start+1)
	s.wantValue("old", "new")
}

// Ensure that a deadline moved to now or before ends the record, and one moved to later
// does not touch the value.
func TestTx_SetDeadline(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		deadline ttl.Instant
		want     string
	}{
		{ttl.Never, "v"}, {start + 1, "v"}, {ttl.Latest, "v"}, {start, "absent"}, {start - 1, "absent"}, {-1, "absent"},
	} {
		s := newStore(t)
		s.put("session", "v", start+50)
		s.update(func(tx *storage.Tx) error { return tx.SetDeadline(key("session"), test.deadline) })
		s.wantValue("session", test.want)
		if gone := s.kept() == 0; gone != (test.want == "absent") {
			t.Errorf("SetDeadline(%d): gone from the engine = %v", test.deadline, gone)
		}
	}
}

// Ensure that nothing brings a dead session back: not a deadline, not a clock that is late.
func TestTx_SetDeadline_DoesNotRevive(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put("session", "v", start+1)
	s.clock.Set(start + 1)
	s.update(func(tx *storage.Tx) error {
		if err := tx.SetDeadline(key("session"), start+100); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("SetDeadline of a dead record: error = %v, want ErrNotFound", err)
		}
		return nil
	})
	s.wantValue("session", "absent")
	if removed := s.remove("session"); removed {
		t.Error("Delete of a dead record reports a live one")
	}
	s.clock.Set(start)
	s.wantValue("session", "absent")
}

// Ensure that a transaction reads the clock once: its end does not move while it runs.
func TestKeyspace_OneInstant(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put("session", "v", start+5)
	look := func(tx *storage.Tx) error {
		s.clock.Set(start + 100)
		if tx.Now() != start {
			t.Errorf("Now = %d, want %d as at the beginning", tx.Now(), start)
		}
		if _, found, err := tx.Find(key("session")); !found || err != nil {
			t.Errorf("Find = %v, %v, want the record", found, err)
		}
		return nil
	}
	s.view(look)
	s.clock.Set(start)
	s.update(look)
	if got := s.Now(); got != start+100 {
		t.Errorf("Keyspace.Now = %d, want %d", got, start+100)
	}
	s.wantValue("session", "absent")
}

// Ensure that every writing method refuses to write in a View, and changes nothing.
func TestTx_View_IsReadOnly(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put("session", "v", ttl.Never)
	s.view(func(tx *storage.Tx) error {
		for name, write := range map[string]func() error{
			"Put":         func() error { return tx.Put(key("session"), text("w", ttl.Never)) },
			"PutDue":      func() error { return tx.Put(key("session"), text("w", 1)) },
			"SetDeadline": func() error { return tx.SetDeadline(key("session"), start+1) },
			"Delete":      func() error { _, err := tx.Delete(key("session")); return err },
			"Flush":       func() error { return tx.Flush(0) },
			"Swap":        func() error { return tx.Swap(0, 1) },
		} {
			if err := write(); !errors.Is(err, storage.ErrReadOnly) {
				t.Errorf("%s: error = %v, want ErrReadOnly", name, err)
			}
		}
		return nil
	})
	s.wantValue("session", "v")
}

// Ensure that FindString refuses another kind of value, but not the remains of one.
func TestTx_FindString_WrongKind(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.update(func(tx *storage.Tx) error {
		return tx.Put(key("hash"), storage.Record{Kind: 99, Value: []byte("v"), Deadline: start + 1})
	})
	s.view(func(tx *storage.Tx) error {
		if _, found, err := tx.FindString(key("hash")); found || !errors.Is(err, storage.ErrWrongKind) {
			t.Errorf("FindString = %v, %v; want ErrWrongKind", found, err)
		}
		return nil
	})
	s.clock.Set(start + 1)
	s.view(func(tx *storage.Tx) error {
		if _, found, err := tx.FindString(key("hash")); found || err != nil {
			t.Errorf("FindString of a dead record = %v, %v; want nothing", found, err)
		}
		return nil
	})
}

// Ensure that a key outside the scope is an error on every path, not an absence.
func TestTx_Scope(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	scope := storage.Scope{Keys: []storage.Key{key("a")}}
	uses := map[string]func(tx *storage.Tx) error{
		"Find":        func(tx *storage.Tx) error { _, _, err := tx.Find(key("b")); return err },
		"FindString":  func(tx *storage.Tx) error { _, _, err := tx.FindString(key("b")); return err },
		"Stat":        func(tx *storage.Tx) error { _, _, err := tx.Stat(key("b")); return err },
		"Mark":        func(tx *storage.Tx) error { _, err := tx.Mark(key("b")); return err },
		"Put":         func(tx *storage.Tx) error { return tx.Put(key("b"), text("v", ttl.Never)) },
		"PutDue":      func(tx *storage.Tx) error { return tx.Put(key("b"), text("v", 1)) },
		"SetDeadline": func(tx *storage.Tx) error { return tx.SetDeadline(key("b"), 1) },
		"Delete":      func(tx *storage.Tx) error { _, err := tx.Delete(key("b")); return err },
		"Flush":       func(tx *storage.Tx) error { return tx.Flush(0) },
		"Swap":        func(tx *storage.Tx) error { return tx.Swap(0, 1) },
	}
	for name, use := range uses {
		if _, err := s.Update(t.Context(), scope, use); !errors.Is(err, storage.ErrScope) {
			t.Errorf("%s: error = %v, want ErrScope", name, err)
		}
	}
}

// Ensure that Flush and Swap reach the engine, and that Sync does.
func TestKeyspace_Databases(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put("a", "1", ttl.Never)
	s.update(func(tx *storage.Tx) error { return tx.Swap(0, 1) })
	s.wantValue("a", "absent")
	s.update(func(tx *storage.Tx) error { return tx.Swap(1, 0) })
	s.wantValue("a", "1")
	s.update(func(tx *storage.Tx) error { return tx.Flush(0) })
	s.wantValue("a", "absent")
	if err := s.Sync(t.Context(), 0); err != nil {
		t.Errorf("Sync: %v", err)
	}
}

// Ensure that Scan visits live records only, stops when told to, and leads to the rest.
func TestTx_Scan(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var want []string
	for i := range 20 {
		s.put(fmt.Sprintf("dead%02d", i), "v", start+1)
		s.put(fmt.Sprintf("live%02d", i), "v", start+2)
		want = append(want, fmt.Sprintf("live%02d", i))
	}
	s.clock.Set(start + 1)
	if got := s.scanned(); !slices.Equal(got, want) {
		t.Errorf("Scan visits %q, want %q", got, want)
	}
	s.view(func(tx *storage.Tx) error {
		calls := 0
		next, err := tx.Scan(0, 0, 1000, func(storage.Key, storage.Record) bool { calls++; return calls < 5 })
		if calls != 5 || next == 0 {
			t.Errorf("Scan stopped by the fifth record: %d calls, next = %d", calls, next)
		}
		return err
	})
}

// Ensure that Random returns every live name sooner or later, and never a dead one.
func TestTx_Random(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	missing := map[string]bool{}
	for i := range 12 {
		s.put(fmt.Sprint("dead", i), "v", start+1)
		s.put(fmt.Sprint("live", i), "v", start+2)
		missing[fmt.Sprint("live", i)] = true
	}
	s.clock.Set(start + 1)
	for draws := 0; len(missing) > 0; draws++ {
		name, found := s.random()
		if !found || name[:4] != "live" {
			t.Fatalf("Random = %q, %v; want a live name", name, found)
		}
		delete(missing, name)
		if draws == 20_000 {
			t.Fatalf("never drawn: %v", slices.Sorted(maps.Keys(missing)))
		}
	}
	s.clock.Set(start + 2)
	if name, found := s.random(); found {
		t.Errorf("Random = %q when all are dead, want none", name)
	}
}

func (s *store) random() (name string, found bool) {
	s.t.Helper()
	s.view(func(tx *storage.Tx) error {
		b, ok, err := tx.Random(0)
		name, found = string(b), ok
		return err
	})
	return name, found
}

// Ensure that WATCH sees what Redis' WATCH sees: a mark differs if the key was touched or
// ended in between, and only then.
func TestTx_Mark(t *testing.T) {
	t.Parallel()
	live := func(s *store) { s.put("k", "v", ttl.Never) }
	dying := func(s *store) { s.put("k", "v", start+10) }
	dead := func(s *store) { dying(s); s.clock.Set(start + 10) }
	absent := func(*store) {}
	tests := []struct {
		name      string
		before    func(*store)
		meanwhile func(*store)
		differ    bool
	}{
		{"AbsentUntouched", absent, func(*store) {}, false},
		{"AbsentOtherKey", absent, func(s *store) { s.put("other", "v", ttl.Never) }, false},
		{"AbsentDeleted", absent, func(s *store) { s.remove("k") }, false},
		{"AbsentPutDue", absent, func(s *store) { s.put("k", "v", start) }, true},
		{"AbsentCreated", absent, live, true},
		{"AbsentCreatedDeleted", absent, func(s *store) { live(s); s.remove("k") }, true},
		{"AbsentCreatedExpired", absent, dead, true},
		{"AbsentCreatedSwept", absent, func(s *store) { dead(s); s.sweep() }, true},
		{"LiveUntouched", live, func(s *store) { s.value("k"); s.scanned(); s.sweep() }, false},
		{"LiveOtherKey", live, func(s *store) { s.put("other", "v", ttl.Never) }, false},
		{"LivePutSame", live, live, true},
		{"LiveDeadlineMoved", live, func(s *store) {
			s.update(func(tx *storage.Tx) error { return tx.SetDeadline(key("k"), start+99) })
		}, true},
		{"LiveDeleted", live, func(s *store) { s.remove("k") }, true},
		{"LiveDeletedRecreated", live, func(s *store) { s.remove("k"); live(s) }, true},
		{"LiveFlushed", live, func(s *store) { s.update(func(tx *storage.Tx) error { return tx.Flush(0) }) }, true},
		{"LiveSwapped", live, func(s *store) { s.update(func(tx *storage.Tx) error { return tx.Swap(0, 1) }) }, true},
		{"LiveUndone", live, func(s *store) { s.undone("k") }, false},
		{"DyingInTime", dying, func(s *store) { s.clock.Set(start + 9) }, false},
		{"DyingExpired", dying, func(s *store) { s.clock.Set(start + 10) }, true},
		{"DyingSwept", dying, func(s *store) { s.clock.Set(start + 10); s.sweep() }, true},
		{"DeadUntouched", dead, func(*store) {}, false},
		{"DeadSwept", dead, (*store).sweep, false},
		{"DeadDeleted", dead, func(s *store) { s.remove("k") }, false},
		{"DeadFlushed", dead, func(s *store) { s.update(func(tx *storage.Tx) error { return tx.Flush(0) }) }, false},
		{"DeadPutDue", dead, func(s *store) { s.put("k", "v", start) }, true},
		{"DeadCreated", dead, live, true},
		{"DeadCreatedDeleted", dead, func(s *store) { live(s); s.remove("k") }, true},
		{"DeadSweptCreatedDeleted", dead, func(s *store) { s.sweep(); live(s); s.remove("k") }, true},
		{"DeadCreatedDeletedInOne", dead, func(s *store) {
			s.update(func(tx *storage.Tx) error {
				err := tx.Put(key("k"), text("v", ttl.Never))
				_, deleteErr := tx.Delete(key("k"))
				return errors.Join(err, deleteErr)
			})
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			test.before(s)
			mark := s.mark("k")
			test.meanwhile(s)
			if differ := s.mark("k") != mark; differ != test.differ {
				t.Errorf("marks differ = %v, want %v", differ, test.differ)
			}
		})
	}
}

// undone changes a record in an Update that fails.
func (s *store) undone(name string) {
	s.t.Helper()
	errStop := errors.New("stop")
	_, err := s.Update(s.t.Context(), storage.Whole, func(tx *storage.Tx) error {
		return errors.Join(tx.Put(key(name), text("other", ttl.Never)), errStop)
	})
	if !errors.Is(err, errStop) {
		s.t.Fatalf("Update = %v, want the error of fn", err)
	}
}

// Ensure that a record that ended by its deadline counts once, when it is removed, by whomever,
// and that nothing else counts.
func TestKeyspace_Expired(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, name := range []string{"swept", "set again", "deleted", "kept back"} {
		s.put(name, "v", start+100)
	}
	s.put("logged out", "v", start+100)
	s.put("lives", "v", start+200)
	s.remove("logged out")
	expect := func(what string, want int64) {
		t.Helper()
		if got := s.Expired(); got != want {
			t.Errorf("Expired = %d %s, want %d", got, what, want)
		}
	}
	s.clock.Set(start + 100)
	s.value("swept")
	expect("while nothing was removed", 0)
	s.put("set again", "w", start+200)
	s.put("set again", "x", start+200)
	expect("after a name was used again", 1)
	s.remove("deleted")
	s.remove("deleted")
	expect("after the remains were deleted", 2)
	errBack := errors.New("back")
	_, err := s.Update(t.Context(), storage.Whole, func(tx *storage.Tx) error {
		if _, err := tx.Delete(key("kept back")); err != nil {
			return err
		}
		return errBack
	})
	if !errors.Is(err, errBack) {
		t.Fatal(err)
	}
	expect("after a transaction that failed", 2)
	s.put("too late", "v", start+50)
	expect("after a record that was over when it was put", 3)
	if _, _, err := s.engine.Sweep(t.Context(), start+100, 100); err != nil {
		t.Fatal(err)
	}
	expect("after the sweep", 5)
	s.remove("lives")
	expect("after a live record was deleted", 5)
}
