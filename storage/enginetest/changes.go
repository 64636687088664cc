package enginetest

import (
	"errors"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// change is something a transaction does to the records of start.
type change struct {
	name  string
	whole bool // it needs the scope Whole
	do    func(tx storage.Txn) error
	want  []row // what there is afterwards
}

// start returns the records that each change begins with.
func start() []row {
	return []row{{0, "a", "1", ttl.Never}, {0, "b", "2", 50}, {1, "a", "3", 60}}
}

// scopeOfChanges names every key that a change touches which does not need Whole.
func scopeOfChanges() []storage.Key {
	return []storage.Key{key(0, "a"), key(0, "b"), key(0, "c"), key(1, "a")}
}

// reset makes start the contents of the engine.
func (s *subject) reset() {
	s.t.Helper()
	s.update(func(tx storage.Txn) error {
		var errs []error
		for _, db := range databases() {
			errs = append(errs, tx.Flush(db))
		}
		return errors.Join(errs...)
	})
	s.put(start()...)
	s.holds(start()...)
}

func put(tx storage.Txn, r row) error { return tx.Put(r.key(), r.record()) }

func changes() []change { return append(recordChanges(), databaseChanges()...) }

func recordChanges() []change {
	a, b, otherA := row{0, "a", "1", ttl.Never}, row{0, "b", "2", 50}, row{1, "a", "3", 60}
	c := row{0, "c", "new", ttl.Never}
	return []change{
		{"Nothing", false, func(tx storage.Txn) error { return nil }, start()},
		{"PutNew", false, func(tx storage.Txn) error { return put(tx, c) }, []row{a, b, otherA, c}},
		{"PutNewExpiring", false, func(tx storage.Txn) error {
			return put(tx, row{0, "c", "new", 70})
		}, []row{a, b, otherA, {0, "c", "new", 70}}},
		{"PutExpiringOverPersistent", false, func(tx storage.Txn) error {
			return put(tx, row{0, "a", "longer", 70})
		}, []row{{0, "a", "longer", 70}, b, otherA}},
		{"PutPersistentOverExpiring", false, func(tx storage.Txn) error {
			return put(tx, row{0, "b", "", ttl.Never})
		}, []row{a, {0, "b", "", ttl.Never}, otherA}},
		{"PutTwice", false, func(tx storage.Txn) error {
			return errors.Join(put(tx, row{0, "c", "first", 70}), put(tx, c))
		}, []row{a, b, otherA, c}},
		{"SetFirstDeadline", false, func(tx storage.Txn) error {
			return tx.SetDeadline(key(0, "a"), 70)
		}, []row{{0, "a", "1", 70}, b, otherA}},
		{"SetLaterDeadline", false, func(tx storage.Txn) error {
			return tx.SetDeadline(key(0, "b"), 70)
		}, []row{a, {0, "b", "2", 70}, otherA}},
		{"SetEarlierDeadline", false, func(tx storage.Txn) error {
			return tx.SetDeadline(key(0, "b"), 20)
		}, []row{a, {0, "b", "2", 20}, otherA}},
		{"TakeDeadline", false, func(tx storage.Txn) error {
			return tx.SetDeadline(key(0, "b"), ttl.Never)
		}, []row{a, {0, "b", "2", ttl.Never}, otherA}},
		{"PutAndSetDeadline", false, func(tx storage.Txn) error {
			return errors.Join(put(tx, c), tx.SetDeadline(key(0, "c"), 70))
		}, []row{a, b, otherA, {0, "c", "new", 70}}},
		{"SetDeadlineAndPut", false, func(tx storage.Txn) error {
			return errors.Join(tx.SetDeadline(key(0, "a"), 70), put(tx, row{0, "a", "x", ttl.Never}))
		}, []row{{0, "a", "x", ttl.Never}, b, otherA}},
		{"SetDeadlineTwice", false, func(tx storage.Txn) error {
			return errors.Join(tx.SetDeadline(key(0, "a"), 70), tx.SetDeadline(key(0, "a"), ttl.Never))
		}, start()},
		{"Delete", false, func(tx storage.Txn) error { return tx.Delete(key(0, "b")) }, []row{a, otherA}},
		{"DeleteAbsent", false, func(tx storage.Txn) error { return tx.Delete(key(0, "c")) }, start()},
		{"DeleteAndPut", false, func(tx storage.Txn) error {
			return errors.Join(tx.Delete(key(0, "b")), put(tx, row{0, "b", "x", ttl.Never}))
		}, []row{a, {0, "b", "x", ttl.Never}, otherA}},
		{"PutAndDelete", false, func(tx storage.Txn) error {
			return errors.Join(put(tx, c), tx.Delete(key(0, "c")))
		}, start()},
		{"DeleteAndMissDeadline", false, func(tx storage.Txn) error {
			if err := tx.Delete(key(0, "b")); err != nil {
				return err
			}
			return errUnless(tx.SetDeadline(key(0, "b"), 70), storage.ErrNotFound)
		}, []row{a, otherA}},
		{"SeveralKeys", false, func(tx storage.Txn) error {
			return errors.Join(tx.Delete(key(0, "a")), put(tx, c), tx.SetDeadline(key(1, "a"), 20))
		}, []row{b, {1, "a", "3", 20}, c}},
	}
}

func databaseChanges() []change {
	a, b := row{0, "a", "1", ttl.Never}, row{0, "b", "2", 50}
	c := row{0, "c", "new", 70}
	swapped := []row{{1, "a", "1", ttl.Never}, {1, "b", "2", 50}, {0, "a", "3", 60}}
	return []change{
		{"Flush", true, func(tx storage.Txn) error { return tx.Flush(0) }, []row{{1, "a", "3", 60}}},
		{"FlushEmpty", true, func(tx storage.Txn) error { return tx.Flush(15) }, start()},
		{"FlushAndPut", true, func(tx storage.Txn) error {
			return errors.Join(tx.Flush(0), put(tx, row{0, "a", "x", 70}))
		}, []row{{0, "a", "x", 70}, {1, "a", "3", 60}}},
		{"PutAndFlush", true, func(tx storage.Txn) error {
			return errors.Join(put(tx, c), tx.Flush(0))
		}, []row{{1, "a", "3", 60}}},
		{"FlushAndMissDeadline", true, func(tx storage.Txn) error {
			if err := tx.Flush(0); err != nil {
				return err
			}
			return errUnless(tx.SetDeadline(key(0, "b"), 70), storage.ErrNotFound)
		}, []row{{1, "a", "3", 60}}},
		{"Swap", true, func(tx storage.Txn) error { return tx.Swap(0, 1) }, swapped},
		{"SwapTwice", true, func(tx storage.Txn) error {
			return errors.Join(tx.Swap(0, 1), tx.Swap(1, 0))
		}, start()},
		{"SwapThree", true, func(tx storage.Txn) error {
			return errors.Join(tx.Swap(0, 1), tx.Swap(1, 2))
		}, []row{{2, "a", "1", ttl.Never}, {2, "b", "2", 50}, {0, "a", "3", 60}}},
		{"SwapWithEmpty", true, func(tx storage.Txn) error {
			return tx.Swap(15, 1)
		}, []row{a, b, {15, "a", "3", 60}}},
		{"SwapWithItself", true, func(tx storage.Txn) error { return tx.Swap(0, 0) }, start()},
		{"SwapAndPut", true, func(tx storage.Txn) error {
			return errors.Join(tx.Swap(0, 1), put(tx, c))
		}, append([]row{c}, swapped...)},
		{"PutAndSwap", true, func(tx storage.Txn) error {
			return errors.Join(put(tx, c), tx.Swap(0, 1))
		}, append([]row{{1, "c", "new", 70}}, swapped...)},
		{"SwapAndDelete", true, func(tx storage.Txn) error {
			return errors.Join(tx.Swap(0, 1), tx.Delete(key(1, "b")), tx.Delete(key(0, "b")))
		}, []row{swapped[0], swapped[2]}},
		{"SwapAndSetDeadline", true, func(tx storage.Txn) error {
			return errors.Join(tx.Swap(0, 1), tx.SetDeadline(key(1, "a"), 20))
		}, []row{{1, "a", "1", 20}, swapped[1], swapped[2]}},
		{"SwapAndFlush", true, func(tx storage.Txn) error {
			return errors.Join(tx.Swap(0, 1), tx.Flush(1))
		}, swapped[2:]},
		{"FlushAndSwap", true, func(tx storage.Txn) error {
			return errors.Join(tx.Flush(1), tx.Swap(0, 1))
		}, swapped[:2]},
		{"FlushAndPutAndSwap", true, func(tx storage.Txn) error {
			return errors.Join(tx.Flush(0), put(tx, c), tx.Swap(0, 1), put(tx, row{1, "a", "y", 5}))
		}, []row{{1, "c", "new", 70}, {0, "a", "3", 60}, {1, "a", "y", 5}}},
		{"FlushAll", true, func(tx storage.Txn) error {
			return errors.Join(tx.Flush(0), tx.Flush(1), tx.Flush(2), tx.Flush(15))
		}, nil},
	}
}
