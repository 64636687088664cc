package enginetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// swept counts what OnSwept's function is told.
type swept struct {
	mu    sync.Mutex
	times map[id]int
	calls int
}

// listen makes the engine tell a new swept. What it is told must be gone, and safe to show.
func (s *subject) listen() *swept {
	told := &swept{times: map[id]int{}}
	s.engine.OnSwept(func(keys []storage.Key, b storage.Barrier) {
		s.isError(s.engine.Sync(s.t.Context(), b), nil, "Sync of what was swept")
		told.mu.Lock()
		defer told.mu.Unlock()
		told.calls++
		for _, k := range keys {
			told.times[idOf(k)]++
			_, err := s.engine.View(s.t.Context(), scope([]storage.Key{k}), func(r storage.Reader) error {
				if _, found, err := r.Stat(k); found || err != nil {
					return fmt.Errorf("found %v, %w", found, err)
				}
				return nil
			})
			s.isError(err, nil, "View of a key that is handed over, which is removed")
		}
	})
	return told
}

// dueSoon is the deadline of what is swept in these tests.
const dueSoon ttl.Instant = 50

// wants reports an error unless exactly these keys were handed over, each once.
func (told *swept) wants(s *subject, keys ...storage.Key) {
	s.t.Helper()
	told.mu.Lock()
	defer told.mu.Unlock()
	for _, k := range keys {
		if n := told.times[idOf(k)]; n != 1 {
			s.t.Errorf("%v is handed over %d times, want once", idOf(k), n)
		}
		delete(told.times, idOf(k))
	}
	for k, n := range told.times {
		s.t.Errorf("%v is handed over %d times, but Sweep did not remove it", k, n)
	}
	clear(told.times)
}

func checkHandedOver(s *subject) {
	s.put(row{1, "before", "v", 1})
	s.drain(10)
	told := s.listen()
	for _, r := range []row{
		{0, "a", "1", dueSoon}, {15, "\x00\xff", "2", dueSoon}, {0, "", "3", dueSoon}, {1, "a", "swapped", dueSoon},
		{0, "renewed", "4", dueSoon}, {0, "persisted", "5", dueSoon}, {0, "deleted", "6", dueSoon}, {0, "later", "7", dueSoon + 1},
		{0, "replaced", "8", dueSoon}, {0, "shortened", "9", 1000},
	} {
		s.put(r)
	}
	s.setDeadline(key(0, "renewed"), 90)
	s.setDeadline(key(0, "persisted"), ttl.Never)
	s.setDeadline(key(0, "shortened"), dueSoon)
	s.remove(key(0, "deleted"))
	s.put(row{0, "replaced", "8", 80})
	s.update(func(tx storage.Txn) error { return tx.Swap(1, 2) })
	s.drain(dueSoon)
	told.wants(s, key(0, "a"), key(15, "\x00\xff"), key(0, ""), key(2, "a"), key(0, "shortened"))
	s.drain(dueSoon)
	told.wants(s)
	s.drain(1000)
	told.wants(s, key(0, "renewed"), key(0, "later"), key(0, "replaced"))
}

// checkHandedOverBeside deletes records while they are swept.
func checkHandedOverBeside(s *subject) {
	const rounds, records = 20, 40
	told := s.listen()
	for range rounds {
		var rows []row
		for i := range records {
			rows = append(rows, row{i % 2, fmt.Sprint(i), "v", dueSoon})
		}
		s.update(func(tx storage.Txn) error {
			var err error
			for _, r := range rows {
				err = errors.Join(err, put(tx, r))
			}
			return err
		})
		deleted := make([]bool, records)
		together(2, func(i int) {
			if i == 0 {
				_, err := drain(s.t.Context(), s.engine, dueSoon, 7)
				s.isError(err, nil, "Sweep")
				return
			}
			for i, r := range rows {
				s.attempt(func(tx storage.Txn) (err error) {
					if _, deleted[i], err = tx.Stat(r.key()); err != nil {
						return err
					}
					return tx.Delete(r.key())
				}, r.key())
			}
		})
		var want []storage.Key
		for i, r := range rows {
			if !deleted[i] {
				want = append(want, r.key())
			}
		}
		told.wants(s, want...)
	}
}

func checkHandedOverOff(s *subject) {
	told := s.listen()
	s.put(row{0, "a", "1", dueSoon}, row{0, "b", "1", 60})
	s.drain(dueSoon)
	told.wants(s, key(0, "a"))
	s.engine.OnSwept(nil)
	s.drain(60)
	told.wants(s)
	if told.calls != 1 {
		s.t.Errorf("the function is called %d times, want once", told.calls)
	}
	s.holds()
}
