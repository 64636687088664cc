package enginetest

import (
	"fmt"
	"testing"

	"github.com/sessiond/sessiond/storage"
)

// sharing returns two keys of database 0 that have one position.
func sharing() (a, b id) {
	at := map[uint64]id{}
	for i := 0; ; i++ {
		k := id{0, fmt.Sprint(i)}
		if other, ok := at[position(k)]; ok {
			return other, k
		}
		at[position(k)] = k
	}
}

// Ensure that names at one position are visited together even if the limit is one, and that
// a Scan stopped between them comes back to both.
func TestModel_SharedPosition(t *testing.T) {
	t.Parallel()
	e := NewModel()
	a, b := sharing()
	_, err := e.Update(t.Context(), storage.Whole, func(tx storage.Txn) error {
		for _, name := range []string{a.name, b.name, "other", "another"} {
			if err := put(tx, row{name: name}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.View(t.Context(), storage.Whole, func(r storage.Reader) error {
		page, next, err := scanPage(r, 0, position(a), 1)
		if err != nil {
			return err
		}
		if _, both := page[b]; len(page) != 2 || !both || next == position(a) {
			t.Errorf("a page of one from there has %v, next = %d", page, next)
		}
		next, err = r.Scan(0, position(a), 1, func(storage.Key, storage.Record) bool { return false })
		if next != position(a) {
			t.Errorf("stopped between the two, next = %d, want %d again", next, position(a))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
