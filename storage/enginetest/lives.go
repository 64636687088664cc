package enginetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

func lifeRules() []rule {
	return []rule{
		{"Sync", "Sync of what View and Update return succeeds, joined and repeated too.", checkSync},
		{"SyncZero", "Sync of the zero Barrier succeeds, and before anything was written.", checkSyncZero},
		{"SyncTogether", "Many callers may write and Sync at once.", checkSyncTogether},
		{"Closed", "Every method returns ErrClosed after Close, and fn does not run.", checkClosed},
		{"Cancelled", "An Update whose context has ended says so or happens, never both.", checkCancelled},
	}
}

func reopenRules() []rule {
	return []rule{
		{"Keeps", "Records are the same after a restart: value, kind, deadline, revision, database, counts.", checkReopenKeeps},
		{"Changes", "Every kind of change is there after a restart.", checkReopenChanges},
		{"Undone", "What was undone stays undone after a restart.", checkReopenUndone},
		{"Revisions", "No revision is given twice, a restart in between or not.", checkReopenRevisions},
		{"Sweeps", "Sweep goes on after a restart where it was.", checkReopenSweeps},
		{"Seen", "Seen is not earlier after a restart, and not after the last Sweep.", checkReopenSeen},
		{"Cursors", "A series of Scans goes on after a restart.", checkReopenCursors},
		{"Empty", "A store that never held anything opens again.", checkReopenEmpty},
		{"Big", "A value of 1 MB and a long name are there after a restart.", checkReopenBig},
	}
}

func checkSync(s *subject) {
	k := key(0, "a")
	var joined storage.Barrier
	for i := range 3 {
		b, err := s.engine.Update(s.t.Context(), scope([]storage.Key{k}), func(tx storage.Txn) error {
			return put(tx, row{0, "a", fmt.Sprint(i), ttl.Never})
		})
		s.isError(err, nil, "Update")
		s.isError(s.engine.Sync(s.t.Context(), b), nil, "Sync of an Update")
		joined = max(joined, b)
	}
	b, err := s.engine.View(s.t.Context(), scope([]storage.Key{k}), func(r storage.Reader) error {
		_, _, err := r.Get(k)
		return err
	})
	s.isError(err, nil, "View")
	s.isError(s.engine.Sync(s.t.Context(), b), nil, "Sync of a View")
	s.isError(s.engine.Sync(s.t.Context(), max(joined, b)), nil, "Sync of joined barriers")
	s.isError(s.engine.Sync(s.t.Context(), joined), nil, "Sync once more")
	b, err = s.engine.Update(s.t.Context(), storage.Whole, func(tx storage.Txn) error { return tx.Flush(0) })
	s.isError(err, nil, "Flush")
	s.isError(s.engine.Sync(s.t.Context(), b), nil, "Sync of a Flush")
}

func checkSyncZero(s *subject) {
	s.isError(s.engine.Sync(s.t.Context(), 0), nil, "Sync of the zero Barrier")
	b, err := s.engine.View(s.t.Context(), storage.Whole, func(storage.Reader) error { return nil })
	s.isError(err, nil, "View")
	s.isError(s.engine.Sync(s.t.Context(), b), nil, "Sync of a View of an empty store")
}

func checkSyncTogether(s *subject) {
	together(8, func(i int) {
		k := key(0, fmt.Sprint(i))
		for range 5 {
			b, err := s.engine.Update(s.t.Context(), scope([]storage.Key{k}), func(tx storage.Txn) error { return addTo(tx, k, 1) })
			s.isError(err, nil, "Update")
			s.isError(s.engine.Sync(s.t.Context(), b), nil, "Sync")
		}
	})
	if all := s.contents(); len(all) != 8 {
		s.t.Errorf("%d records, want 8", len(all))
	}
}

func checkClosed(s *subject) {
	s.put(start()...)
	if err := s.engine.Close(); err != nil {
		s.t.Fatalf("Close: %v", err)
	}
	ctx := s.t.Context()
	for _, scoped := range []storage.Scope{storage.Whole, scope(scopeOfChanges()), {}} {
		_, err := s.engine.View(ctx, scoped, func(storage.Reader) error {
			s.t.Error("View runs fn after Close")
			return nil
		})
		s.isError(err, storage.ErrClosed, "View")
		_, err = s.engine.Update(ctx, scoped, func(storage.Txn) error {
			s.t.Error("Update runs fn after Close")
			return nil
		})
		s.isError(err, storage.ErrClosed, "Update")
	}
	s.isError(s.engine.Sync(ctx, 0), storage.ErrClosed, "Sync")
	s.isError(s.engine.Sync(ctx, 1), storage.ErrClosed, "Sync of a barrier")
	_, _, err := s.engine.Sweep(ctx, 1000, 10)
	s.isError(err, storage.ErrClosed, "Sweep")
	s.isError(s.engine.Close(), storage.ErrClosed, "Close")
}

func checkCancelled(s *subject) {
	s.put(start()...)
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	_, err := s.engine.Update(ctx, scope(scopeOfChanges()), func(tx storage.Txn) error {
		return put(tx, row{0, "c", "new", ttl.Never})
	})
	want := append(start(), row{0, "c", "new", ttl.Never})
	if err != nil {
		s.isError(err, context.Canceled, "Update")
		want = start()
	}
	s.holds(want...)
	_, err = s.engine.View(ctx, scope(scopeOfChanges()), func(storage.Reader) error { return nil })
	if err != nil {
		s.isError(err, context.Canceled, "View")
	}
	s.put(want...)
	s.holds(want...)
}

func checkReopenKeeps(s *subject) {
	rows := append(start(), row{15, "", "", 1_700_000_000_123}, row{2, "\x00\xff", "v", ttl.Latest})
	s.put(rows...)
	s.update(func(tx storage.Txn) error {
		return tx.Put(key(2, "kind"), storage.Record{Kind: 200, Value: []byte("k"), Deadline: 7})
	}, key(2, "kind"))
	before := s.contents()
	for range 2 {
		s.reopen()
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
}

func checkReopenChanges(s *subject) {
	for i, c := range changes() {
		if i%4 != 0 && !c.whole { // a restart takes its time
			continue
		}
		s.reset()
		s.update(c.do)
		s.reopen()
		if diff := s.contents().diff(c.want); diff != "" {
			s.t.Errorf("after %s and a restart:%s", c.name, diff)
		}
	}
}

func checkReopenUndone(s *subject) {
	s.reset()
	for _, c := range changes() {
		s.fail(c)
	}
	s.reopen()
	s.holds(start()...)
}

func checkReopenRevisions(s *subject) {
	r := row{0, "a", "1", 50}
	s.put(r)
	number := func() uint64 { return s.revision(r.key()) }
	s.grow("revision", number,
		func() { s.reopen(); s.put(r) },
		func() { s.remove(r.key()); s.reopen(); s.put(r) },
		func() { s.reopen(); s.setDeadline(r.key(), 60) },
		func() { s.drain(60); s.reopen(); s.put(r) },
		func() { s.update(func(tx storage.Txn) error { return tx.Flush(0) }); s.reopen(); s.put(r) },
	)
	highest := number()
	s.reopen()
	s.put(row{1, "a", "1", 50})
	if got := s.revision(key(1, "a")); got == highest {
		s.t.Errorf("revision %d is given to a second record", got)
	}
}

func checkReopenSweeps(s *subject) {
	s.put(row{0, "a", "1", 50}, row{1, "b", "2", 60}, row{0, "c", "3", 70}, row{0, "d", "4", ttl.Never}, row{0, "e", "5", 55})
	s.setDeadline(key(0, "c"), 90)
	s.setDeadline(key(0, "e"), 52)
	s.drain(50)
	s.reopen()
	s.holds(row{1, "b", "2", 60}, row{0, "c", "3", 90}, row{0, "d", "4", ttl.Never}, row{0, "e", "5", 52})
	s.put(row{0, "before", "6", 40})
	s.drain(75)
	s.holds(row{0, "c", "3", 90}, row{0, "d", "4", ttl.Never})
	s.reopen()
	s.setDeadline(key(0, "d"), 80)
	s.reopen()
	if next := s.drain(79); next == ttl.Never || next > 80 {
		s.t.Errorf("next = %d after a restart, want 80 or earlier", next)
	}
	s.drain(80)
	s.holds(row{0, "c", "3", 90})
	s.drain(90)
	s.holds()
}

func checkReopenSeen(s *subject) {
	s.put(row{0, "a", "1", 50}, row{0, "b", "2", 70})
	for _, step := range []struct{ now, least ttl.Instant }{{60, 60}, {65, 60}, {80, 80}, {40, 40}} {
		s.drain(step.now)
		least := max(step.least, s.engine.Seen())
		s.reopen()
		if got := s.engine.Seen(); got < least || got > step.now {
			s.t.Errorf("Seen = %d after a restart, want %d to %d", got, least, step.now)
		}
	}
}

func checkReopenCursors(s *subject) {
	keys := s.fill(0, 60)
	pages := 0
	visited := s.scanFrom(0, 0, 10, func() {
		if pages++; pages == 2 || pages == 4 {
			s.reopen()
		}
	})
	s.visitsAll(visited, keys, "Scans with restarts in between")
}

func checkReopenEmpty(s *subject) {
	s.reopen()
	s.holds()
	s.reopen()
	s.put(start()...)
	s.update(func(tx storage.Txn) error { return errors.Join(tx.Flush(0), tx.Flush(1)) })
	s.reopen()
	s.holds()
}

func checkReopenBig(s *subject) {
	name, value := make([]byte, 5000), make([]byte, 1<<20)
	name[4999], value[1<<20-1] = 1, 1
	rows := []row{{0, string(name), "small", 50}, {0, "big", string(value), 50}}
	s.put(rows...)
	s.reopen()
	s.holds(rows...)
}
