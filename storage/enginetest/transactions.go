package enginetest

import (
	"errors"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

func txnRules() []rule {
	return []rule{
		{"Applied", "When Update returns nil, a later View sees all that fn wrote.", checkApplied},
		{"OwnChanges", "Every read inside a transaction sees its own changes: Get, Stat, Scan and Len.", checkOwnChanges},
		{"OwnChangesNarrow", "Scan and Len see the transaction's own changes without Whole, too.", checkOwnChangesNarrow},
		{"Undone", "If fn returns an error, nothing it wrote is there.", checkUndone},
		{"FnError", "View and Update return the error of fn.", checkFnError},
		{"Continues", "ErrNotFound does not spoil the transaction.", checkContinues},
		{"ReadOnlyUpdate", "An Update that writes nothing changes nothing.", checkReadOnlyUpdate},
	}
}

func scopeRules() []rule {
	return []rule{
		{"Repeats", "A scope may name a key more than once.", checkScopeRepeats},
		{"Outside", "A key outside the scope is ErrScope, for reading and for writing.", checkScopeOutside},
		{"OtherDatabase", "A scope names keys of one database, not the name in all of them.", checkScopeOtherDatabase},
		{"Whole", "Flush and Swap need the scope Whole; all keys by name are not enough.", checkScopeWhole},
		{"Free", "Len and Scan need no scope.", checkScopeFree},
		{"Empty", "An empty scope is allowed.", checkScopeEmpty},
	}
}

// fail runs c in an Update that ends with an error.
func (s *subject) fail(c change) {
	s.t.Helper()
	errStop := errors.New("stop")
	_, err := s.engine.Update(s.t.Context(), storage.Whole, func(tx storage.Txn) error {
		return errors.Join(c.do(tx), errStop)
	})
	s.isError(err, errStop, "Update whose fn fails after "+c.name)
}

func checkApplied(s *subject) {
	for _, c := range changes() {
		s.reset()
		if c.whole {
			s.update(c.do)
		} else {
			s.update(c.do, scopeOfChanges()...)
		}
		if diff := s.contents().diff(c.want); diff != "" {
			s.t.Errorf("after %s:%s", c.name, diff)
		}
	}
}

func checkOwnChanges(s *subject) {
	for _, c := range changes() {
		s.seesOwn(c)
	}
}

func checkOwnChangesNarrow(s *subject) {
	for _, c := range recordChanges() {
		s.seesOwn(c, scopeOfChanges()...)
	}
}

// seesOwn makes a change and reads everything before the transaction ends.
func (s *subject) seesOwn(c change, keys ...storage.Key) {
	s.t.Helper()
	s.reset()
	s.update(func(tx storage.Txn) error {
		if err := c.do(tx); err != nil {
			return err
		}
		inside, err := read(tx)
		if err != nil {
			s.t.Errorf("inside the transaction after %s: %v", c.name, err)
		} else if diff := inside.diff(c.want); diff != "" {
			s.t.Errorf("inside the transaction after %s:%s", c.name, diff)
		}
		return nil
	}, keys...)
}

func checkUndone(s *subject) {
	for _, c := range changes() {
		s.reset()
		s.fail(c)
		if diff := s.contents().diff(start()); diff != "" {
			s.t.Errorf("after %s was undone:%s", c.name, diff)
		}
	}
	// A swept index and further writes must not meet what was undone.
	s.drain(1000)
	s.holds(row{0, "a", "1", ttl.Never})
}

func checkFnError(s *subject) {
	errStop := errors.New("stop")
	_, err := s.engine.View(s.t.Context(), storage.Whole, func(storage.Reader) error { return errStop })
	s.isError(err, errStop, "View")
	_, err = s.engine.Update(s.t.Context(), storage.Whole, func(storage.Txn) error { return errStop })
	s.isError(err, errStop, "Update")
	_, err = s.engine.Update(s.t.Context(), scope(scopeOfChanges()), func(storage.Txn) error { return errStop })
	s.isError(err, errStop, "Update of some keys")
	s.put(start()...)
	s.holds(start()...)
}

func checkContinues(s *subject) {
	s.update(func(tx storage.Txn) error {
		s.isError(tx.SetDeadline(key(0, "a"), 50), storage.ErrNotFound, "SetDeadline")
		return put(tx, row{0, "b", "1", ttl.Never})
	}, scopeOfChanges()...)
	s.holds(row{0, "b", "1", ttl.Never})
}

func checkReadOnlyUpdate(s *subject) {
	s.put(start()...)
	before := s.contents()
	s.update(func(tx storage.Txn) error {
		_, err := read(tx)
		return err
	})
	after := s.contents()
	if diff := after.diffContents(before); diff != "" {
		s.t.Error(diff)
	}
	for k := range after {
		if after[k].revision != before[k].revision {
			s.t.Errorf("revision of %v = %d, want %d", k, after[k].revision, before[k].revision)
		}
	}
}

func checkScopeRepeats(s *subject) {
	k := key(0, "a")
	s.update(func(tx storage.Txn) error { return put(tx, row{0, "a", "1", 50}) }, k, k, key(0, "b"), k)
	s.view(func(r storage.Reader) error {
		_, found, err := r.Get(k)
		if !found {
			s.t.Error("the record is not found")
		}
		return err
	}, k, k)
	s.holds(row{0, "a", "1", 50})
}

func checkScopeOutside(s *subject) {
	s.put(start()...)
	a, b := key(0, "a"), key(0, "b")
	s.everyUseIs(storage.ErrScope, b, a)
	s.everyUseIs(storage.ErrScope, key(0, "absent"), a)
	s.everyUseIs(storage.ErrScope, key(0, ""), a)
	s.everyUseIs(nil, a, b, a)
	s.everyUseIs(nil, a)
}

func checkScopeOtherDatabase(s *subject) {
	s.put(start()...)
	s.everyUseIs(storage.ErrScope, key(1, "a"), key(0, "a"))
	s.everyUseIs(storage.ErrScope, key(2, "a"), key(0, "a"), key(1, "a"))
}

// everyUseIs reads and writes k over a scope and wants the error of each to be want. An
// Update that gets ErrScope is undone; the others write.
func (s *subject) everyUseIs(want error, k storage.Key, scoped ...storage.Key) {
	s.t.Helper()
	reads := map[string]func(storage.Reader) error{
		"Get":        func(r storage.Reader) error { _, _, err := r.Get(k); return err },
		"Stat":       func(r storage.Reader) error { _, _, err := r.Stat(k); return err },
		"Generation": func(r storage.Reader) error { _, err := r.Generation(k); return err },
	}
	writes := map[string]func(storage.Txn) error{
		"Put":         func(tx storage.Txn) error { return tx.Put(k, row{value: "1"}.record()) },
		"SetDeadline": func(tx storage.Txn) error { return tx.SetDeadline(k, 50) },
		"Delete":      func(tx storage.Txn) error { return errors.Join(tx.Delete(k), ignoreScope(put(tx, start()[0]))) },
	}
	for name, use := range reads {
		_, err := s.engine.View(s.t.Context(), scope(scoped), use)
		s.isError(err, want, name+" in View")
		_, err = s.engine.Update(s.t.Context(), scope(scoped), func(tx storage.Txn) error { return use(tx) })
		s.isError(err, want, name+" in Update")
	}
	for _, name := range []string{"Put", "SetDeadline", "Delete"} {
		_, err := s.engine.Update(s.t.Context(), scope(scoped), writes[name])
		s.isError(err, want, name)
	}
}

func ignoreScope(err error) error {
	if errors.Is(err, storage.ErrScope) {
		return nil
	}
	return err
}

func checkScopeWhole(s *subject) {
	s.put(start()...)
	for _, scoped := range []storage.Scope{{}, scope(scopeOfChanges())} {
		_, err := s.engine.Update(s.t.Context(), scoped, func(tx storage.Txn) error { return tx.Flush(0) })
		s.isError(err, storage.ErrScope, "Flush")
		_, err = s.engine.Update(s.t.Context(), scoped, func(tx storage.Txn) error { return tx.Swap(0, 1) })
		s.isError(err, storage.ErrScope, "Swap")
	}
	s.holds(start()...)
}

func checkScopeFree(s *subject) {
	s.put(start()...)
	look := func(r storage.Reader) error {
		count, err := r.Len(0)
		if want := (storage.Count{Records: 2, Expiring: 1}); count != want {
			s.t.Errorf("Len = %+v, want %+v", count, want)
		}
		if err != nil {
			return err
		}
		all, err := scanAll(r, 0, 10)
		if len(all) != 2 {
			s.t.Errorf("Scan visits %d records, want 2", len(all))
		}
		return err
	}
	for _, scoped := range []storage.Scope{{}, scope([]storage.Key{key(1, "a")}), storage.Whole} {
		if _, err := s.engine.View(s.t.Context(), scoped, look); err != nil {
			s.t.Errorf("View: %v", err)
		}
		if _, err := s.engine.Update(s.t.Context(), scoped, func(tx storage.Txn) error { return look(tx) }); err != nil {
			s.t.Errorf("Update: %v", err)
		}
	}
}

func checkScopeEmpty(s *subject) {
	ran := 0
	_, err := s.engine.View(s.t.Context(), storage.Scope{}, func(storage.Reader) error { ran = 1; return nil })
	s.isError(err, nil, "View")
	_, err = s.engine.Update(s.t.Context(), storage.Scope{}, func(storage.Txn) error { ran |= 2; return nil })
	s.isError(err, nil, "Update")
	if ran != 3 {
		s.t.Error("fn did not run")
	}
}
