package enginetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

func isolationRules() []rule {
	return []rule{
		{"Counter", "Updates that read and write one key do not lose each other's writes.", checkCounter},
		{"CounterWhole", "An Update of everything is isolated from the Updates of one key.", checkCounterWhole},
		{"Transfer", "A View of two keys never sees one half of an Update.", checkTransfer},
		{"Crossing", "Updates that name their keys in different orders do not wait for each other for ever.", checkCrossing},
		{"WholeInstant", "A View of everything sees Scan, Len and Get at one instant.", checkWholeInstant},
		{"LenExact", "Len is exact after many Updates at a time.", checkLenExact},
		{"SweepBesideWrites", "A record that is renewed or created while Sweep runs stays.", checkSweepBesideWrites},
	}
}

// addTo adds n to the number in the value under k.
func addTo(tx storage.Txn, k storage.Key, n int) error {
	old, err := number(tx, k)
	if err != nil {
		return err
	}
	return tx.Put(k, row{value: strconv.Itoa(old + n)}.record())
}

func number(r storage.Reader, k storage.Key) (int, error) {
	record, found, err := r.Get(k)
	if err != nil || !found {
		return 0, err
	}
	return strconv.Atoi(string(record.Value))
}

// together runs fn n times at once, with the numbers below n, and waits for all of them.
func together(n int, fn func(i int)) {
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { fn(i) })
	}
	running.Wait()
}

// attempt is update for goroutines, which must not end the test.
func (s *subject) attempt(fn func(tx storage.Txn) error, keys ...storage.Key) {
	s.t.Helper()
	if _, err := s.engine.Update(s.t.Context(), scope(keys), fn); err != nil {
		s.t.Errorf("Update: %v", err)
	}
}

func checkCounter(s *subject) {
	k := key(0, "counter")
	const workers, rounds = 8, 40
	together(workers, func(int) {
		for range rounds {
			s.attempt(func(tx storage.Txn) error { return addTo(tx, k, 1) }, k)
		}
	})
	s.holds(row{0, "counter", strconv.Itoa(workers * rounds), ttl.Never})
}

func checkCounterWhole(s *subject) {
	k := key(0, "counter")
	const workers, rounds = 6, 30
	together(workers, func(i int) {
		for range rounds {
			if i%3 == 0 {
				s.attempt(func(tx storage.Txn) error { return addTo(tx, k, 1) })
			} else {
				s.attempt(func(tx storage.Txn) error { return addTo(tx, k, 1) }, k)
			}
		}
	})
	s.holds(row{0, "counter", strconv.Itoa(workers * rounds), ttl.Never})
}

func checkTransfer(s *subject) {
	a, b := key(0, "a"), key(1, "b")
	const total = 1000
	s.put(row{0, "a", strconv.Itoa(total), ttl.Never}, row{1, "b", "0", ttl.Never})
	var writing atomic.Int32
	writing.Store(2)
	together(4, func(i int) {
		if i < 2 {
			defer writing.Add(-1)
			for n := range 100 {
				s.attempt(func(tx storage.Txn) error {
					return errors.Join(addTo(tx, a, -n), addTo(tx, b, n))
				}, a, b)
			}
			return
		}
		for writing.Load() > 0 {
			var sum int
			_, err := s.engine.View(s.t.Context(), scope([]storage.Key{b, a}), func(r storage.Reader) error {
				inA, errA := number(r, a)
				inB, errB := number(r, b)
				sum = inA + inB
				return errors.Join(errA, errB)
			})
			if err != nil || sum != total {
				s.t.Errorf("a View sees %d in all, error %v; want %d", sum, err, total)
				return
			}
		}
	})
}

func checkCrossing(s *subject) {
	keys := []storage.Key{key(0, "a"), key(0, "b"), key(1, "a"), key(1, "c")}
	const workers, rounds = 6, 30
	together(workers, func(i int) {
		for n := range rounds {
			scoped := make([]storage.Key, len(keys))
			for j := range keys {
				scoped[j] = keys[(i+n+j*(1+i%2*2))%len(keys)]
			}
			s.attempt(func(tx storage.Txn) error {
				return errors.Join(addTo(tx, keys[0], 1), addTo(tx, keys[3], 1))
			}, scoped...)
		}
	})
	sum := strconv.Itoa(workers * rounds)
	s.holds(row{0, "a", sum, ttl.Never}, row{1, "c", sum, ttl.Never})
}

func checkWholeInstant(s *subject) {
	var writing atomic.Int32
	writing.Store(3)
	together(4, func(i int) {
		if i == 3 {
			for writing.Load() > 0 {
				_, err := s.engine.View(s.t.Context(), storage.Whole, func(r storage.Reader) error {
					_, err := read(r)
					return err
				})
				if err != nil {
					s.t.Errorf("a View of everything: %v", err)
					return
				}
			}
			return
		}
		defer writing.Add(-1)
		for n := range 60 {
			s.churn(i, n)
		}
	})
}

// churn is one of many small Updates that change the size of the databases.
func (s *subject) churn(worker, n int) {
	r := row{n % 2, fmt.Sprint(worker, "-", n%5), "v", ttl.Instant(n % 3 * 50)}
	s.attempt(func(tx storage.Txn) error {
		if n%4 == 3 {
			return tx.Delete(r.key())
		}
		return put(tx, r)
	}, r.key())
}

func checkLenExact(s *subject) {
	together(4, func(i int) {
		for n := range 60 {
			s.churn(i, n)
			if i == 0 && n%20 == 0 {
				s.attempt(func(tx storage.Txn) error { return tx.Swap(0, 1) })
			}
			if i == 1 && n%30 == 29 {
				s.attempt(func(tx storage.Txn) error { return tx.Flush(0) })
			}
		}
	})
	s.contents() // compares Len with what a Scan counts
	s.drain(1000)
	s.contents()
}

func checkSweepBesideWrites(s *subject) {
	const live, rounds = 1000, 60
	var writing atomic.Int32
	writing.Store(3)
	together(4, func(i int) {
		if i == 3 {
			for writing.Load() > 0 {
				if _, _, err := s.engine.Sweep(s.t.Context(), live-1, 3); err != nil {
					s.t.Errorf("Sweep: %v", err)
					return
				}
			}
			return
		}
		defer writing.Add(-1)
		for n := range rounds {
			r := row{i, fmt.Sprint(n % 4), fmt.Sprint(n), live}
			s.attempt(func(tx storage.Txn) error { return put(tx, row{r.db, r.name, r.value, 50}) }, r.key())
			s.attempt(func(tx storage.Txn) error {
				if err := tx.SetDeadline(r.key(), live); !errors.Is(err, storage.ErrNotFound) {
					return err
				}
				return put(tx, r)
			}, r.key())
		}
	})
	s.drain(live - 1)
	var want []row
	for db := range 3 {
		for n := rounds - 4; n < rounds; n++ {
			want = append(want, row{db, fmt.Sprint(n % 4), fmt.Sprint(n), live})
		}
	}
	s.holds(want...)
}
