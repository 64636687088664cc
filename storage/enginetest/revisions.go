package enginetest

import (
	"errors"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

func revisionRules() []rule {
	return []rule{
		{"Grows", "Each change of a record gives it a higher revision, a moved deadline included.", checkRevisionGrows},
		{"GrowsInside", "A transaction sees the revision grow with its own changes.", checkRevisionGrowsInside},
		{"Stays", "Reading, sweeping and changing other records leaves a revision alone.", checkRevisionStays},
		{"Unique", "No two changes get one revision, not even in one transaction or in two databases.", checkRevisionUnique},
		{"NotReused", "A key that comes back has a revision it never had.", checkRevisionNotReused},
		{"Undone", "An Update that fails leaves revisions as they were.", checkRevisionUndone},
	}
}

func generationRules() []rule {
	return []rule{
		{"Created", "A generation grows when its key is created, and does not shrink when it goes.", checkGenerationGrows},
		{"InOneTxn", "A key created and gone in one transaction was created all the same.", checkGenerationInOneTxn},
		{"Moved", "A key that comes with Swap was not created.", checkGenerationMoved},
		{"Flushed", "A key created after Flush was created.", checkGenerationFlushed},
		{"Quiet", "A generation stays while nothing is created; removing, sweeping included, is no creation.", checkGenerationQuiet},
	}
}

// grow runs each step and reports an error unless number grows with it.
func (s *subject) grow(what string, number func() uint64, steps ...func()) {
	s.t.Helper()
	before := number()
	for i, step := range steps {
		step()
		after := number()
		if after <= before {
			s.t.Errorf("step %d: %s is %d after %d, want more", i+1, what, after, before)
		}
		before = after
	}
}

func checkRevisionGrows(s *subject) {
	r := row{0, "a", "1", ttl.Never}
	s.put(r)
	s.grow("revision", func() uint64 { return s.revision(r.key()) },
		func() { s.put(r) },
		func() { s.put(row{0, "a", "2", 50}) },
		func() { s.setDeadline(r.key(), 60) },
		func() { s.setDeadline(r.key(), 40) },
		func() { s.setDeadline(r.key(), ttl.Never) },
		func() { s.remove(r.key()); s.put(r) },
	)
}

func checkRevisionGrowsInside(s *subject) {
	k := key(0, "a")
	s.put(row{0, "a", "1", ttl.Never})
	s.update(func(tx storage.Txn) error {
		var errs []error
		number := func() uint64 {
			r, _, err := tx.Stat(k)
			errs = append(errs, err)
			return r.Revision
		}
		s.grow("revision", number,
			func() { errs = append(errs, put(tx, row{0, "a", "2", ttl.Never})) },
			func() { errs = append(errs, tx.SetDeadline(k, 50)) },
			func() { errs = append(errs, tx.Delete(k), put(tx, row{0, "a", "3", ttl.Never})) },
		)
		return errors.Join(errs...)
	}, k)
}

func checkRevisionStays(s *subject) {
	k := key(0, "a")
	s.put(row{0, "a", "1", 100}, row{0, "b", "2", 50}, row{0, "c", "3", 50})
	want := s.revision(k)
	s.contents()
	s.put(row{0, "b", "new", 50})
	s.setDeadline(key(0, "c"), 60)
	s.remove(key(0, "b"))
	s.drain(70)
	if got := s.revision(k); got != want {
		s.t.Errorf("revision = %d, want %d as before", got, want)
	}
}

func checkRevisionUnique(s *subject) {
	seen := map[uint64]string{}
	collect := func(when string) {
		for k, e := range s.contents() {
			if other, ok := seen[e.revision]; ok {
				s.t.Errorf("%s: %v has revision %d like %s", when, k, e.revision, other)
			}
			seen[e.revision] = k.String() + " " + when
		}
	}
	keys := []storage.Key{key(0, "a"), key(0, "b"), key(1, "a"), key(15, "")}
	s.update(func(tx storage.Txn) error {
		var errs []error
		for _, k := range keys {
			errs = append(errs, tx.Put(k, row{value: "1"}.record()))
		}
		return errors.Join(errs...)
	}, keys...)
	collect("after Put")
	s.update(func(tx storage.Txn) error {
		var errs []error
		for _, k := range keys {
			errs = append(errs, tx.SetDeadline(k, 50))
		}
		return errors.Join(errs...)
	}, keys...)
	collect("after SetDeadline")
	for _, k := range keys {
		s.setDeadline(k, 60)
	}
	collect("after SetDeadline in Updates of their own")
}

func checkRevisionNotReused(s *subject) {
	r := row{0, "a", "1", 50}
	s.put(r)
	s.grow("revision", func() uint64 { return s.revision(r.key()) },
		func() { s.remove(r.key()); s.put(r) },
		func() { s.drain(50); s.put(r) },
		func() { s.update(func(tx storage.Txn) error { return tx.Flush(0) }); s.put(r) },
		func() {
			s.update(func(tx storage.Txn) error { return errors.Join(tx.Delete(r.key()), put(tx, r)) }, r.key())
		},
		func() { s.update(func(tx storage.Txn) error { return errors.Join(tx.Flush(0), put(tx, r)) }) },
		func() { s.update(func(tx storage.Txn) error { return tx.Swap(0, 1) }); s.put(r) },
	)
}

func checkRevisionUndone(s *subject) {
	for _, c := range changes() {
		s.reset()
		before := s.contents()
		s.fail(c)
		for k, e := range s.contents() {
			if e.revision != before[k].revision {
				s.t.Errorf("%s undone: revision of %v = %d, want %d", c.name, k, e.revision, before[k].revision)
			}
		}
	}
}

func checkGenerationGrows(s *subject) {
	r := row{0, "a", "1", 50}
	number := func() uint64 { return s.generation(r.key()) }
	s.grow("generation", number,
		func() { s.put(r) },
		func() { s.remove(r.key()); s.put(r) },
		func() { s.drain(50); s.put(r) },
		func() { s.remove(r.key()); s.put(r); s.remove(r.key()) },
	)
	before := number()
	s.put(row{0, "b", "1", ttl.Never}, row{1, "a", "1", ttl.Never})
	s.remove(key(0, "b"))
	if after := number(); after < before {
		s.t.Errorf("generation shrank from %d to %d", before, after)
	}
}

func checkGenerationInOneTxn(s *subject) {
	r := row{0, "a", "1", 50}
	number := func() uint64 { return s.generation(r.key()) }
	deletePutDelete := func() {
		s.update(func(tx storage.Txn) error {
			return errors.Join(tx.Delete(r.key()), put(tx, r), tx.Delete(r.key()))
		}, r.key())
	}
	s.grow("generation", number,
		func() {
			s.update(func(tx storage.Txn) error { return errors.Join(put(tx, r), tx.Delete(r.key())) }, r.key())
		},
		deletePutDelete,
		func() { s.put(r); deletePutDelete() },
		func() {
			s.update(func(tx storage.Txn) error { return errors.Join(put(tx, r), tx.Flush(0)) })
		},
		func() { s.put(r) },
		func() {
			s.update(func(tx storage.Txn) error { return errors.Join(tx.Delete(r.key()), put(tx, r)) }, r.key())
		},
	)
}

func checkGenerationMoved(s *subject) {
	s.put(row{1, "a", "1", ttl.Never})
	before := [2]uint64{s.generation(key(0, "a")), s.generation(key(1, "a"))}
	s.update(func(tx storage.Txn) error { return tx.Swap(0, 1) })
	after := [2]uint64{s.generation(key(0, "a")), s.generation(key(1, "a"))}
	if before != after {
		s.t.Errorf("generations after Swap = %v, want %v", after, before)
	}
}

func checkGenerationFlushed(s *subject) {
	r := row{0, "a", "1", ttl.Never}
	flush := func(tx storage.Txn) error { return tx.Flush(0) }
	s.put(r)
	s.grow("generation", func() uint64 { return s.generation(r.key()) },
		func() { s.update(flush); s.put(r) },
		func() { s.update(flush); s.put(r); s.update(flush) },
		func() { s.update(func(tx storage.Txn) error { return errors.Join(flush(tx), put(tx, r), flush(tx)) }) },
	)
}

func checkGenerationQuiet(s *subject) {
	swept, deleted, flushed := key(0, "swept"), key(0, "deleted"), key(1, "flushed")
	s.put(row{0, "swept", "1", 50}, row{0, "deleted", "1", 50}, row{1, "flushed", "1", 50})
	numbers := func() [3]uint64 {
		return [3]uint64{s.generation(swept), s.generation(deleted), s.generation(flushed)}
	}
	before := numbers()
	s.setDeadline(swept, 40)
	s.remove(deleted)
	s.drain(40)
	s.update(func(tx storage.Txn) error { return tx.Flush(1) })
	s.remove(deleted)
	s.drain(100)
	s.contents()
	if after := numbers(); after != before {
		s.t.Errorf("generations = %v, want %v as before", after, before)
	}
}
