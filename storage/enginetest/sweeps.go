package enginetest

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

func sweepRules() []rule {
	return []rule{
		{"Due", "Sweep removes a record whose deadline is at or before now, and no other.", checkSweepDue},
		{"Budget", "Sweep deals with at most budget entries at a time and gets on with each call.", checkSweepBudget},
		{"Next", "Sweep returns a time no later than the next deadline, and Never if there is none.", checkSweepNext},
		{"Renewed", "A record whose deadline was moved on is kept until the new one.", checkSweepRenewed},
		{"Shortened", "A record whose deadline was moved forward is removed at the new one.", checkSweepShortened},
		{"Persisted", "A record that lost its deadline is never swept.", checkSweepPersisted},
		{"Replaced", "A record put in place of another ends at its own deadline.", checkSweepReplaced},
		{"BackAndForth", "A deadline moved on and back again is the one that counts.", checkSweepBackAndForth},
		{"ClockBack", "When the clock steps back, nothing is swept early and nothing is forgotten.", checkSweepClockBack},
		{"Underway", "Sweep waits for an Update that was called before, and removes what it stored, if due.", checkSweepUnderway},
		{"Seen", "Seen is when the last Sweep that removed a record was, or later, but not after the last Sweep.", checkSweepSeen},
		{"Flushed", "Sweep after Flush spares what was put later.", checkSweepFlushed},
		{"Swapped", "Sweep after Swap removes a record where it is, not where it was.", checkSweepSwapped},
		{"Empty", "Sweep of an empty store deals with nothing.", checkSweepEmpty},
		{"Names", "Sweep finds records of any name and in any database.", checkSweepNames},
		{"HandedOver", "OnSwept's function is told each record that Sweep removed, once, and no other.", checkHandedOver},
		{"HandedOverBeside", "A record that is due is removed by one: by Sweep, which tells of it, or by an Update.", checkHandedOverBeside},
		{"HandedOverOff", "After OnSwept of nil nobody is told.", checkHandedOverOff},
	}
}

// drain sweeps until nothing is due at now, and returns the deadline that comes next.
func (s *subject) drain(now ttl.Instant) ttl.Instant {
	s.t.Helper()
	next, err := drain(s.t.Context(), s.engine, now, 10)
	if err != nil {
		s.t.Fatal(err)
	}
	return next
}

func checkSweepDue(s *subject) {
	s.put(row{0, "never", "1", ttl.Never}, row{0, "before", "2", 49}, row{0, "at", "3", 50}, row{0, "after", "4", 51},
		row{1, "at", "5", 50}, row{0, "latest", "6", ttl.Latest})
	s.drain(48)
	s.holds(row{0, "never", "1", ttl.Never}, row{0, "before", "2", 49}, row{0, "at", "3", 50}, row{0, "after", "4", 51},
		row{1, "at", "5", 50}, row{0, "latest", "6", ttl.Latest})
	s.drain(50)
	s.holds(row{0, "never", "1", ttl.Never}, row{0, "after", "4", 51}, row{0, "latest", "6", ttl.Latest})
	s.drain(51)
	s.holds(row{0, "never", "1", ttl.Never}, row{0, "latest", "6", ttl.Latest})
	s.drain(ttl.Latest)
	s.holds(row{0, "never", "1", ttl.Never})
}

func checkSweepBudget(s *subject) {
	const records, budget = 30, 4
	s.fillExpiring(records)
	calls := 0
	for left := records; left > 0; calls++ {
		n, _, err := s.engine.Sweep(s.t.Context(), 1000, budget)
		if err != nil {
			s.t.Fatalf("Sweep: %v", err)
		}
		before := left
		left = len(s.contents())
		if n > budget || before-left > n {
			s.t.Errorf("Sweep returns %d and removes %d records, want at most %d", n, before-left, budget)
		}
		if n == 0 || calls > 2*records {
			s.t.Fatalf("Sweep returns %d after %d calls, %d due records are left", n, calls, left)
		}
	}
	if n, next, err := s.engine.Sweep(s.t.Context(), 1000, budget); n > budget || next.Due(1000) || err != nil {
		s.t.Errorf("Sweep with nothing left = %d, %d, %v", n, next, err)
	}
}

func (s *subject) fillExpiring(n int) {
	s.t.Helper()
	s.update(func(tx storage.Txn) error {
		for i := range n {
			if err := put(tx, row{i % 3, fmt.Sprint(i), "v", ttl.Instant(1 + i/2)}); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkSweepNext(s *subject) {
	s.put(row{0, "never", "1", ttl.Never})
	if next := s.drain(10); next != ttl.Never {
		s.t.Errorf("next = %d without any deadline, want Never", next)
	}
	s.put(row{0, "a", "1", 50}, row{1, "b", "2", 70}, row{2, "c", "3", ttl.Latest})
	for _, test := range []struct{ now, want ttl.Instant }{
		{10, 50}, {49, 50}, {50, 70}, {69, 70}, {70, ttl.Latest}, {1000, ttl.Latest},
	} {
		if next := s.drain(test.now); next == ttl.Never || next > test.want {
			s.t.Errorf("next = %d at %d, want %d or earlier", next, test.now, test.want)
		}
	}
	s.put(row{0, "new", "1", 2000})
	if next := s.drain(1001); next == ttl.Never || next > 2000 {
		s.t.Errorf("next = %d after a record until 2000 was put, want that or earlier", next)
	}
	s.setDeadline(key(0, "new"), 1500)
	if next := s.drain(1002); next == ttl.Never || next > 1500 {
		s.t.Errorf("next = %d after a deadline was moved forward to 1500, want that or earlier", next)
	}
	s.setDeadline(key(0, "never"), 1400)
	if next := s.drain(1003); next == ttl.Never || next > 1400 {
		s.t.Errorf("next = %d after a first deadline at 1400, want that or earlier", next)
	}
}

func checkSweepRenewed(s *subject) {
	s.put(row{0, "a", "1", 50})
	for _, deadline := range []ttl.Instant{51, 60, 100} {
		s.setDeadline(key(0, "a"), deadline)
		if next := s.drain(deadline - 1); next == ttl.Never || next > deadline {
			s.t.Errorf("next = %d for a record that was renewed until %d, want that or earlier", next, deadline)
		}
		s.holds(row{0, "a", "1", deadline})
	}
	s.drain(100)
	s.holds()
}

func checkSweepShortened(s *subject) {
	s.put(row{0, "a", "1", 100}, row{0, "b", "2", ttl.Never}, row{0, "c", "3", ttl.Latest})
	s.drain(10)
	s.setDeadline(key(0, "a"), 50)
	s.setDeadline(key(0, "b"), 50)
	s.setDeadline(key(0, "c"), 50)
	s.drain(49)
	s.holds(row{0, "a", "1", 50}, row{0, "b", "2", 50}, row{0, "c", "3", 50})
	s.drain(50)
	s.holds()
	s.drain(ttl.Latest)
	s.holds()
}

func checkSweepPersisted(s *subject) {
	s.put(row{0, "a", "1", 50}, row{0, "b", "2", 50})
	s.setDeadline(key(0, "a"), ttl.Never)
	s.put(row{0, "b", "3", ttl.Never})
	s.drain(ttl.Latest)
	s.holds(row{0, "a", "1", ttl.Never}, row{0, "b", "3", ttl.Never})
}

func checkSweepReplaced(s *subject) {
	s.put(row{0, "later", "old", 50}, row{0, "earlier", "old", 90}, row{0, "again", "old", 50})
	s.put(row{0, "later", "new", 80}, row{0, "earlier", "new", 40})
	s.remove(key(0, "again"))
	s.put(row{0, "again", "new", 80})
	s.drain(40)
	s.holds(row{0, "later", "new", 80}, row{0, "again", "new", 80})
	s.drain(79)
	s.holds(row{0, "later", "new", 80}, row{0, "again", "new", 80})
	s.put(row{0, "earlier", "third", 200})
	s.drain(100)
	s.holds(row{0, "earlier", "third", 200})
	s.drain(200)
	s.holds()
}

func checkSweepBackAndForth(s *subject) {
	k := key(0, "a")
	s.put(row{0, "a", "1", 50})
	for _, deadline := range []ttl.Instant{90, 30, 60, ttl.Never, 70, 80, 40} {
		s.setDeadline(k, deadline)
	}
	s.drain(39)
	s.holds(row{0, "a", "1", 40})
	s.drain(40)
	s.holds()
	s.put(row{0, "a", "2", 45})
	s.setDeadline(k, 85)
	s.drain(84)
	s.holds(row{0, "a", "2", 85})
	s.drain(85)
	s.holds()
}

func checkSweepClockBack(s *subject) {
	s.put(row{0, "a", "1", 100}, row{0, "far", "2", 5000})
	s.drain(1000)
	s.put(row{0, "late", "3", 50}, row{0, "moved", "4", 2000})
	s.setDeadline(key(0, "moved"), 40)
	s.drain(39)
	s.holds(row{0, "far", "2", 5000}, row{0, "late", "3", 50}, row{0, "moved", "4", 40})
	s.put(row{0, "young", "5", 45}, row{0, "younger", "6", 46})
	s.drain(45)
	if _, found := s.stat(key(0, "young")); found {
		s.t.Error("a record put after the clock stepped back is not swept on time")
	}
	if _, found := s.stat(key(0, "younger")); !found {
		s.t.Error("a record put after the clock stepped back is swept early")
	}
	s.drain(1001)
	s.holds(row{0, "far", "2", 5000})
	s.put(row{0, "far", "2", 5000}, row{0, "again", "7", 1001}, row{1, "again", "8", 3})
	s.drain(1001)
	s.holds(row{0, "far", "2", 5000})
}

// The sweep must wait for the update, which may have read the clock before it came to now.
func checkSweepUnderway(s *subject) {
	for range 2 { // the second time the sweep has been at that now before
		s.put(row{0, "due", "1", 50})
		began, swept := make(chan struct{}), make(chan error, 1)
		begin := sync.OnceFunc(func() { close(began) })
		go func() {
			<-began
			_, err := drain(s.t.Context(), s.engine, 100, 10)
			swept <- err
		}()
		k := key(0, "late")
		s.update(func(tx storage.Txn) error {
			begin()
			for range 1000 { // the sweep may get as far as it can
				runtime.Gosched()
			}
			return put(tx, row{0, "late", "2", 60})
		}, k)
		if err := <-swept; err != nil {
			s.t.Fatal(err)
		}
		s.holds()
	}
}

func checkSweepSeen(s *subject) {
	seen := func(least, most ttl.Instant) {
		s.t.Helper()
		if got := s.engine.Seen(); got < least || got > most {
			s.t.Errorf("Seen = %d, want %d to %d", got, least, most)
		}
	}
	seen(ttl.Never, ttl.Never)
	s.put(row{0, "a", "1", 50}, row{0, "b", "2", 70}, row{0, "c", "3", 90})
	s.drain(49)
	seen(ttl.Never, 49)
	s.drain(60)
	seen(60, 60)
	s.drain(65)
	seen(60, 65)
	s.drain(80)
	seen(80, 80)
	s.drain(40)
	seen(40, 40)
	s.drain(45)
	seen(40, 45)
	s.drain(1000)
	seen(1000, 1000)
}

func checkSweepFlushed(s *subject) {
	s.put(row{0, "a", "old", 50}, row{0, "b", "old", 50}, row{1, "a", "other", 50})
	s.update(func(tx storage.Txn) error { return tx.Flush(0) })
	s.put(row{0, "a", "new", 80}, row{0, "b", "new", ttl.Never}, row{0, "c", "new", 60})
	s.drain(55)
	s.holds(row{0, "a", "new", 80}, row{0, "b", "new", ttl.Never}, row{0, "c", "new", 60})
	s.drain(80)
	s.holds(row{0, "b", "new", ttl.Never})
}

func checkSweepSwapped(s *subject) {
	s.put(row{0, "a", "1", 50}, row{1, "a", "2", 80}, row{0, "b", "3", 50}, row{1, "c", "4", ttl.Never})
	swap := func(tx storage.Txn) error { return tx.Swap(0, 1) }
	s.update(swap)
	s.drain(50)
	s.holds(row{0, "a", "2", 80}, row{0, "c", "4", ttl.Never})
	s.put(row{1, "a", "5", 60})
	s.update(swap)
	s.drain(60)
	s.holds(row{1, "a", "2", 80}, row{1, "c", "4", ttl.Never})
	s.drain(80)
	s.holds(row{1, "c", "4", ttl.Never})
}

func checkSweepEmpty(s *subject) {
	for _, now := range []ttl.Instant{1, 1000, ttl.Latest} {
		if n, next, err := s.engine.Sweep(s.t.Context(), now, 10); n != 0 || next != ttl.Never || err != nil {
			s.t.Errorf("Sweep at %d = %d, %d, %v; want 0, Never, nil", now, n, next, err)
		}
	}
}

func checkSweepNames(s *subject) {
	var kept []row
	for _, db := range databases() {
		for _, name := range []string{"", "\x00", "\xff", "a\x00b", "\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
			s.put(row{db, name, "v", 50}, row{db, name + "-", "v", 51})
			kept = append(kept, row{db, name + "-", "v", 51})
		}
	}
	s.drain(50)
	s.holds(kept...)
}
