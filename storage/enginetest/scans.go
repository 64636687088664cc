package enginetest

import (
	"fmt"
	"math/rand/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

func scanRules() []rule {
	return []rule{
		{"Complete", "A series of Scans from 0 to 0 visits every record, whatever the limit, and nothing else.", checkScanComplete},
		{"Empty", "A Scan of a database without records returns 0.", checkScanEmpty},
		{"Limit", "A Scan visits about limit records, and goes on after them.", checkScanLimit},
		{"MaxCursor", "A cursor of MaxCursor or more stands for the end.", checkScanMaxCursor},
		{"AnyCursor", "Any number is a cursor: a Scan from it visits an end piece of the engine's order.", checkScanAnyCursor},
		{"Stop", "A Scan stops when fn returns false, and the cursor it returns leads to all the rest.", checkScanStop},
		{"BesideWrites", "A record that exists all the time is visited, whatever comes and goes between the pages.", checkScanBesideWrites},
		{"Stateless", "Scans that take turns do not disturb each other.", checkScanStateless},
	}
}

// fill puts n records into a database and returns their keys.
func (s *subject) fill(db, n int) map[id]bool {
	s.t.Helper()
	keys := map[id]bool{}
	s.update(func(tx storage.Txn) error {
		for i := range n {
			r := row{db, fmt.Sprint("filled-", i), "v", ttl.Instant(i % 2 * 50)}
			keys[id{db, r.name}] = true
			if err := put(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	return keys
}

// scanFrom reads a database from cursor to its end, each page in a View of its own, and
// calls between after each page.
func (s *subject) scanFrom(db int, cursor uint64, limit int, between func()) map[id]bool {
	s.t.Helper()
	visited := map[id]bool{}
	for range maxPages {
		page, next := s.page(db, cursor, limit)
		for k := range page {
			visited[k] = true
		}
		if next == 0 {
			return visited
		}
		cursor = next
		between()
	}
	s.t.Fatalf("scan does not end: at cursor %d after %d pages", cursor, maxPages)
	return nil
}

func (s *subject) page(db int, cursor uint64, limit int) (page map[id]storage.Record, next uint64) {
	s.t.Helper()
	_, err := s.engine.View(s.t.Context(), storage.Scope{}, func(r storage.Reader) (err error) {
		page, next, err = scanPage(r, db, cursor, limit)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return page, next
}

func nothing() {}

// visitsAll reports an error unless visited has every key.
func (s *subject) visitsAll(visited, keys map[id]bool, what string) {
	s.t.Helper()
	missed := 0
	for k := range keys {
		if !visited[k] {
			missed++
		}
	}
	if missed > 0 {
		s.t.Errorf("%s: %d of %d records are not visited", what, missed, len(keys))
	}
}

func checkScanComplete(s *subject) {
	keys := s.fill(0, 150)
	s.fill(1, 10)
	for _, limit := range []int{1, 2, 7, 100, 150, 1000} {
		visited := s.scanFrom(0, 0, limit, nothing)
		s.visitsAll(visited, keys, fmt.Sprint("limit ", limit))
		if len(visited) > len(keys) {
			s.t.Errorf("limit %d: %d records visited, there are %d", limit, len(visited), len(keys))
		}
	}
	for k := range keys {
		s.remove(k.key())
		if s.scanFrom(0, 0, 1000, nothing)[k] {
			s.t.Errorf("%v is visited after Delete", k)
		}
		break
	}
}

func checkScanEmpty(s *subject) {
	s.fill(1, 10)
	for _, cursor := range []uint64{0, 1, storage.MaxCursor - 1} {
		if page, next := s.page(0, cursor, 10); len(page) != 0 || next != 0 {
			s.t.Errorf("Scan from %d visits %d records and returns %d, want none and 0", cursor, len(page), next)
		}
	}
}

func checkScanLimit(s *subject) {
	s.fill(0, 100)
	page, next := s.page(0, 0, 10) // reports by itself if the page is too big
	if len(page) < 5 || next == 0 {
		s.t.Errorf("Scan with limit 10 visits %d of 100 records and returns %d", len(page), next)
	}
	page, next = s.page(0, 0, 1000)
	if len(page) != 100 || next != 0 {
		s.t.Errorf("Scan with limit 1000 visits %d of 100 records and returns %d, want all and 0", len(page), next)
	}
}

func checkScanMaxCursor(s *subject) {
	s.fill(0, 50)
	for _, cursor := range []uint64{storage.MaxCursor, storage.MaxCursor + 1, 1 << 53, 1 << 63, 1<<64 - 1} {
		if page, next := s.page(0, cursor, 10); len(page) != 0 || next != 0 {
			s.t.Errorf("Scan from %d visits %d records and returns %d, want none and 0", cursor, len(page), next)
		}
	}
}

func checkScanAnyCursor(s *subject) {
	s.fill(0, 100)
	var order []map[id]bool // what a Scan visits from ever higher cursors
	step := uint64(storage.MaxCursor / 16)
	for cursor := uint64(0); cursor < storage.MaxCursor; cursor += step/2 + rand.Uint64N(step) {
		order = append(order, s.scanFrom(0, cursor, 30, nothing))
	}
	for i := 1; i < len(order); i++ {
		for k := range order[i] {
			if !order[i-1][k] {
				s.t.Errorf("%v is visited from a higher cursor and not from a lower one", k)
			}
		}
	}
	if first, last := len(order[0]), len(order[len(order)-1]); first != 100 || last == 100 {
		s.t.Errorf("%d records visited from 0, want 100; %d from the last cursor, want fewer", first, last)
	}
}

func checkScanStop(s *subject) {
	keys := s.fill(0, 60)
	for _, stopAfter := range []int{1, 2, 30, 59, 60} {
		visited := map[id]bool{}
		var next uint64
		s.view(func(r storage.Reader) (err error) {
			clear(visited)
			calls := 0
			next, err = r.Scan(0, 0, 1000, func(k storage.Key, _ storage.Record) bool {
				visited[idOf(k)] = true
				calls++
				return calls < stopAfter
			})
			if calls != stopAfter {
				s.t.Errorf("fn was called %d times, want %d", calls, stopAfter)
			}
			return err
		})
		if next == 0 && stopAfter < len(keys) {
			s.t.Errorf("Scan stopped after %d of %d records returns 0", stopAfter, len(keys))
		}
		if next != 0 {
			for k := range s.scanFrom(0, next, 7, nothing) {
				visited[k] = true
			}
		}
		s.visitsAll(visited, keys, fmt.Sprint("stopped after ", stopAfter))
	}
}

func checkScanBesideWrites(s *subject) {
	keys := s.fill(0, 80)
	for _, limit := range []int{3, 20} {
		n := 0
		churn := func() {
			old, young := row{0, fmt.Sprint("passing-", n-3), "v", 50}, row{0, fmt.Sprint("passing-", n), "v", 50}
			n++
			s.update(func(tx storage.Txn) error {
				if err := tx.Delete(old.key()); err != nil {
					return err
				}
				return put(tx, young)
			}, old.key(), young.key())
			for k := range keys { // any one
				s.setDeadline(k.key(), ttl.Instant(60+n))
				break
			}
			if n == 2 {
				s.drain(1)
			}
		}
		s.visitsAll(s.scanFrom(0, 0, limit, churn), keys, fmt.Sprint("limit ", limit))
	}
}

func checkScanStateless(s *subject) {
	keys := s.fill(0, 60)
	inner := func() {
		s.visitsAll(s.scanFrom(0, 0, 25, nothing), keys, "the Scan in between")
	}
	s.visitsAll(s.scanFrom(0, 0, 13, inner), keys, "the Scan around it")
}
