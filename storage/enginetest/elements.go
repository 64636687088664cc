package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

func elementRules() []rule {
	return []rule{
		{"Found", "An element that was put is found until it is deleted, whatever its id and its value.", checkElementFound},
		{"NoRecord", "Without a record there is no element, and none can be put.", checkElementNoRecord},
		{"Scan", "ScanElements visits the elements in the order of their ids, from the first that is not below from.", checkElementScan},
		{"Inside", "Every read inside a transaction sees its own changes of elements.", checkElementInside},
		{"Undone", "If fn returns an error, the elements are as they were.", checkElementUndone},
		{"Scope", "An element of a record outside the scope is ErrScope.", checkElementScope},
		{"Revision", "A change of an element gives its record a new revision; deleting what is not there does not.", checkElementRevision},
		{"Kept", "SetDeadline and SetValue leave the elements alone.", checkElementKept},
		{"Ended", "A record that was removed takes its elements along: none of them is in the next record of that name.", checkElementEnded},
		{"Swapped", "Swap takes the elements along.", checkElementSwapped},
		{"Moved", "MoveElements gives the elements of one record to another, which loses its own.", checkElementMoved},
		{"Isolated", "Updates of one collection do not lose each other's elements.", checkElementIsolated},
		{"Reopened", "Elements are the same after a restart, and those of removed records do not come back.", checkElementReopened},
	}
}

// keepsElements reports whether the engine implements the optional interface.
func keepsElements(t testing.TB, f Factory) (ok bool) {
	t.Helper()
	s := &subject{factory: f, engine: f.Open(t)}
	_, err := s.engine.Update(t.Context(), storage.Scope{}, func(tx storage.Txn) error {
		_, ok = tx.(storage.ElementTxn)
		return nil
	})
	if err = errors.Join(err, s.engine.Close()); err != nil {
		t.Fatal(err)
	}
	return ok
}

// collection is the key that most rules use.
var collection = key(0, "collection")

// elements changes elements of some keys, or of all if none are given.
func (s *subject) elements(fn func(tx storage.ElementTxn) error, keys ...storage.Key) {
	s.t.Helper()
	s.update(func(tx storage.Txn) error { return fn(tx.(storage.ElementTxn)) }, keys...)
}

// collect creates a record with elements: pairs of an id and a value.
func (s *subject) collect(r row, pairs ...string) {
	s.t.Helper()
	s.elements(func(tx storage.ElementTxn) error {
		return errors.Join(put(tx, r), putElements(tx, r.key(), pairs...))
	}, r.key())
}

func putElements(tx storage.ElementTxn, k storage.Key, pairs ...string) error {
	for pair := range slices.Chunk(pairs, 2) {
		if _, err := tx.PutElement(k, []byte(pair[0]), []byte(pair[1])); err != nil {
			return err
		}
	}
	return nil
}

// readElements returns the elements of k as pairs, in the order of a scan. An error tells where the
// ways to read contradict each other.
func readElements(r storage.ElementReader, k storage.Key) (pairs []string, err error) {
	err = r.ScanElements(k, nil, 1000, func(name, value []byte) bool {
		pairs = append(pairs, string(name), string(value))
		return true
	})
	if err != nil {
		return nil, err
	}
	if n, err := r.Elements(k); err != nil || n != int64(len(pairs)/2) {
		return nil, fmt.Errorf("count of elements = %d, %v; a scan visits %d", n, err, len(pairs)/2)
	}
	for pair := range slices.Chunk(pairs, 2) {
		value, found, err := r.Element(k, []byte(pair[0]))
		if err != nil || !found || string(value) != pair[1] {
			return nil, fmt.Errorf("element %q = %.40q, %v, %v; a scan says %.40q", pair[0], value, found, err, pair[1])
		}
	}
	return pairs, nil
}

// hasElements reports an error unless the record under k has these elements, and no others.
func (s *subject) hasElements(what string, k storage.Key, want ...string) {
	s.t.Helper()
	s.view(func(r storage.Reader) error {
		s.sees(what, r.(storage.ElementReader), k, want...)
		return nil
	}, k)
}

func (s *subject) sees(what string, r storage.ElementReader, k storage.Key, want ...string) {
	s.t.Helper()
	if got, err := readElements(r, k); err != nil || !slices.Equal(got, want) {
		s.t.Errorf("%s: elements of %v = %.80q, %v; want %.80q", what, idOf(k), got, err, want)
	}
}

func checkElementFound(s *subject) {
	long := string(make([]byte, 1<<16))
	s.collect(row{0, "collection", "head", ttl.Never}, "", "empty id", "\x00\xff", "", "a", long, "a\x00", "1")
	s.hasElements("put", collection, "", "empty id", "\x00\xff", "", "a", long, "a\x00", "1")
	s.elements(func(tx storage.ElementTxn) error {
		for _, step := range []struct {
			do   func() (bool, error)
			want bool
		}{
			{func() (bool, error) { return tx.PutElement(collection, []byte("a"), []byte("2")) }, false},
			{func() (bool, error) { return tx.PutElement(collection, []byte("b"), []byte("3")) }, true},
			{func() (bool, error) { return tx.DeleteElement(collection, nil) }, true},
			{func() (bool, error) { return tx.DeleteElement(collection, nil) }, false},
			{func() (bool, error) { return tx.PutElement(collection, []byte("b"), []byte("4")) }, false},
		} {
			if got, err := step.do(); got != step.want || err != nil {
				s.t.Errorf("change = %v, %v; want %v", got, err, step.want)
			}
		}
		return nil
	}, collection)
	s.hasElements("changed", collection, "\x00\xff", "", "a", "2", "a\x00", "1", "b", "4")
	s.holds(row{0, "collection", "head", ttl.Never})
}

func checkElementNoRecord(s *subject) {
	s.hasElements("without a record", collection)
	s.elements(func(tx storage.ElementTxn) error {
		_, err := tx.PutElement(collection, []byte("a"), nil)
		s.isError(err, storage.ErrNotFound, "PutElement without a record")
		deleted, err := tx.DeleteElement(collection, []byte("a"))
		s.isError(err, nil, "DeleteElement without a record")
		_, found, errRead := tx.Element(collection, []byte("a"))
		if deleted || found {
			s.t.Error("there is an element without a record")
		}
		s.isError(tx.SetValue(collection, nil), storage.ErrNotFound, "SetValue without a record")
		return errRead
	}, collection)
	s.holds()
}

func checkElementScan(s *subject) {
	const n = 100
	var pairs []string
	for i := range n {
		pairs = append(pairs, fmt.Sprintf("%02d", (i*37)%n), "v")
	}
	s.collect(row{0, "collection", "", ttl.Never}, pairs...)
	s.collect(row{0, "collection2", "", ttl.Never}, "00", "other")
	for _, limit := range []int{1, 7, n, 2 * n} {
		var visited []string
		s.view(func(r storage.Reader) error {
			visited = nil
			for from, more := []byte(nil), true; more; {
				more = false
				err := r.(storage.ElementReader).ScanElements(collection, from, limit, func(name, _ []byte) bool {
					visited, more = append(visited, string(name)), true
					from = append(append(from[:0], name...), 0)
					return len(visited)%5 != 0
				})
				if err != nil {
					return err
				}
			}
			return nil
		}, collection)
		if len(visited) != n || !slices.IsSorted(visited) || visited[0] != "00" || visited[n-1] != "99" {
			s.t.Errorf("scans of %d visit %q", limit, visited)
		}
	}
}

// elementSteps change a collection that has the elements a and b, with 1 and 2.
var elementSteps = []struct {
	name string
	do   func(tx storage.ElementTxn) error
	want []string
}{
	{"Put", func(tx storage.ElementTxn) error { return putElements(tx, collection, "c", "3", "a", "4") }, []string{"a", "4", "b", "2", "c", "3"}},
	{"Delete", func(tx storage.ElementTxn) error {
		_, err := tx.DeleteElement(collection, []byte("a"))
		return err
	}, []string{"b", "2"}},
	{"DeletePut", func(tx storage.ElementTxn) error {
		_, err := tx.DeleteElement(collection, []byte("a"))
		return errors.Join(err, putElements(tx, collection, "a", "5"))
	}, []string{"a", "5", "b", "2"}},
	{"Replace", func(tx storage.ElementTxn) error { return put(tx, row{0, "collection", "new", ttl.Never}) }, nil},
	{"ReplacePut", func(tx storage.ElementTxn) error {
		return errors.Join(put(tx, row{0, "collection", "new", ttl.Never}), putElements(tx, collection, "b", "6"))
	}, []string{"b", "6"}},
	{"Remove", func(tx storage.ElementTxn) error { return tx.Delete(collection) }, nil},
	{"RemovePut", func(tx storage.ElementTxn) error {
		return errors.Join(tx.Delete(collection), put(tx, row{0, "collection", "new", 70}), putElements(tx, collection, "b", "7"))
	}, []string{"b", "7"}},
	{"Flush", func(tx storage.ElementTxn) error { return tx.Flush(0) }, nil},
	{"FlushPut", func(tx storage.ElementTxn) error {
		return errors.Join(tx.Flush(0), put(tx, row{0, "collection", "new", 70}), putElements(tx, collection, "z", "8"))
	}, []string{"z", "8"}},
}

func checkElementInside(s *subject) {
	for _, step := range elementSteps {
		s.collect(row{0, "collection", "", ttl.Never}, "a", "1", "b", "2")
		s.elements(func(tx storage.ElementTxn) error {
			err := step.do(tx)
			s.sees(step.name+", inside", tx, collection, step.want...)
			return err
		})
		s.hasElements(step.name, collection, step.want...)
	}
}

func checkElementUndone(s *subject) {
	errStop := errors.New("stop")
	s.collect(row{0, "collection", "", ttl.Never}, "a", "1", "b", "2")
	for _, step := range elementSteps {
		_, err := s.engine.Update(s.t.Context(), storage.Whole, func(tx storage.Txn) error {
			return errors.Join(step.do(tx.(storage.ElementTxn)), errStop)
		})
		s.isError(err, errStop, step.name)
		s.hasElements(step.name+", undone", collection, "a", "1", "b", "2")
	}
}

func checkElementScope(s *subject) {
	s.collect(row{0, "collection", "", ttl.Never}, "a", "1")
	in := key(0, "in")
	s.put(row{0, "in", "", ttl.Never})
	for name, use := range map[string]func(tx storage.ElementTxn) error{
		"Element":       func(tx storage.ElementTxn) error { _, _, err := tx.Element(collection, []byte("a")); return err },
		"Elements":      func(tx storage.ElementTxn) error { _, err := tx.Elements(collection); return err },
		"ScanElements":  func(tx storage.ElementTxn) error { return tx.ScanElements(collection, nil, 10, nil) },
		"PutElement":    func(tx storage.ElementTxn) error { return putElements(tx, collection, "b", "2") },
		"DeleteElement": func(tx storage.ElementTxn) error { _, err := tx.DeleteElement(collection, []byte("a")); return err },
		"DeleteNothing": func(tx storage.ElementTxn) error { _, err := tx.DeleteElement(collection, []byte("b")); return err },
		"SetValue":      func(tx storage.ElementTxn) error { return tx.SetValue(collection, nil) },
		"MoveFrom":      func(tx storage.ElementTxn) error { return tx.MoveElements(collection, in) },
		"MoveTo":        func(tx storage.ElementTxn) error { return tx.MoveElements(in, collection) },
	} {
		_, err := s.engine.Update(s.t.Context(), scope([]storage.Key{in}), func(tx storage.Txn) error { return use(tx.(storage.ElementTxn)) })
		s.isError(err, storage.ErrScope, name)
	}
	s.hasElements("outside the scope", collection, "a", "1")
}

func checkElementRevision(s *subject) {
	s.collect(row{0, "collection", "", ttl.Never}, "a", "1")
	revision := s.revision(collection)
	for _, step := range []struct {
		name  string
		do    func(tx storage.ElementTxn) error
		grows bool
	}{
		{"PutElement", func(tx storage.ElementTxn) error { return putElements(tx, collection, "b", "2") }, true},
		{"PutElement of the same", func(tx storage.ElementTxn) error { return putElements(tx, collection, "b", "2") }, true},
		{"DeleteElement", func(tx storage.ElementTxn) error { _, err := tx.DeleteElement(collection, []byte("b")); return err }, true},
		{"DeleteElement of nothing", func(tx storage.ElementTxn) error { _, err := tx.DeleteElement(collection, []byte("b")); return err }, false},
		{"SetValue", func(tx storage.ElementTxn) error { return tx.SetValue(collection, []byte("new")) }, true},
	} {
		s.elements(step.do, collection)
		now := s.revision(collection)
		if grows := now > revision; grows != step.grows || now < revision {
			s.t.Errorf("%s: revision %d after %d", step.name, now, revision)
		}
		revision = now
	}
}

func checkElementKept(s *subject) {
	s.collect(row{0, "collection", "old", ttl.Never}, "a", "1")
	s.setDeadline(collection, 60)
	s.hasElements("after SetDeadline", collection, "a", "1")
	s.elements(func(tx storage.ElementTxn) error { return tx.SetValue(collection, []byte("new")) }, collection)
	s.hasElements("after SetValue", collection, "a", "1")
	s.holds(row{0, "collection", "new", 60})
	s.drain(59)
	s.hasElements("before the deadline", collection, "a", "1")
}

func checkElementEnded(s *subject) {
	again := func(what string) {
		s.t.Helper()
		s.hasElements(what, collection)
		s.put(row{0, "collection", "", 60})
		s.hasElements(what+", put again", collection)
		s.elements(func(tx storage.ElementTxn) error { return putElements(tx, collection, "a", what) }, collection)
		s.hasElements(what+", filled again", collection, "a", what)
	}
	again("never there")
	s.remove(collection)
	again("deleted")
	s.drain(60)
	again("swept")
	s.update(func(tx storage.Txn) error { return tx.Flush(0) })
	again("flushed")
	s.put(row{0, "collection", "in its place", ttl.Never})
	again("replaced")
}

func checkElementSwapped(s *subject) {
	s.collect(row{0, "collection", "", ttl.Never}, "a", "1")
	s.collect(row{1, "collection", "", 60}, "b", "2")
	s.update(func(tx storage.Txn) error { return tx.Swap(0, 1) })
	s.hasElements("swapped", collection, "b", "2")
	s.hasElements("swapped", key(1, "collection"), "a", "1")
	s.drain(60)
	s.hasElements("swapped and swept", collection)
	s.hasElements("swapped", key(1, "collection"), "a", "1")
}

func checkElementMoved(s *subject) {
	from, to := key(0, "from"), key(1, "to")
	s.collect(row{0, "from", "", ttl.Never}, "a", "1", "b", "2")
	move := func(tx storage.ElementTxn) error { return tx.MoveElements(from, to) }
	_, err := s.engine.Update(s.t.Context(), storage.Whole, func(tx storage.Txn) error { return move(tx.(storage.ElementTxn)) })
	s.isError(err, storage.ErrNotFound, "MoveElements to nothing")
	s.hasElements("moved to nothing", from, "a", "1", "b", "2")
	s.elements(func(tx storage.ElementTxn) error { return tx.MoveElements(from, from) })
	s.hasElements("moved to itself", from, "a", "1", "b", "2")
	s.collect(row{1, "to", "", 60}, "c", "3")
	s.elements(func(tx storage.ElementTxn) error {
		err := move(tx)
		s.sees("moved, inside", tx, to, "a", "1", "b", "2")
		s.sees("moved away, inside", tx, from)
		return errors.Join(err, tx.Delete(from)) // as RENAME does
	}, from, to)
	s.hasElements("moved", to, "a", "1", "b", "2")
	s.put(row{0, "from", "", ttl.Never})
	s.hasElements("moved away and put again", from)
	s.drain(60)
	s.hasElements("moved and swept", to)
}

func checkElementIsolated(s *subject) {
	s.put(row{0, "collection", "", ttl.Never})
	const workers, rounds = 6, 20
	together(workers, func(i int) {
		for n := range rounds {
			s.attempt(func(tx storage.Txn) error {
				return putElements(tx.(storage.ElementTxn), collection, strconv.Itoa(i*rounds+n), "v")
			}, collection)
		}
	})
	s.view(func(r storage.Reader) error {
		pairs, err := readElements(r.(storage.ElementReader), collection)
		if len(pairs) != 2*workers*rounds {
			s.t.Errorf("%d elements, want %d", len(pairs)/2, workers*rounds)
		}
		return err
	}, collection)
}

func checkElementReopened(s *subject) {
	if s.factory.Reopen == nil {
		s.t.Skip("the engine keeps nothing")
	}
	s.collect(row{0, "collection", "", ttl.Never}, "a", "1", "b", "2")
	s.collect(row{0, "removed", "", ttl.Never}, "a", "1")
	s.remove(key(0, "removed"))
	for range 2 {
		s.reopen()
		s.hasElements("after a restart", collection, "a", "1", "b", "2")
		s.put(row{0, "removed", "", ttl.Never})
		s.hasElements("removed before a restart", key(0, "removed"))
	}
}
