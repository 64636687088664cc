package enginetest

import (
	"maps"
	"slices"

	"github.com/sessiond/sessiond/storage"
)

// The model copies all elements of a record for each change: it keeps every rule of ElementTxn but what
// a change may cost.
var _ storage.ElementTxn = (*modelTxn)(nil)

func (tx *modelTxn) Element(k storage.Key, name []byte) ([]byte, bool, error) {
	value, found := tx.records[idOf(k)].elements[string(name)]
	return tx.lend([]byte(value)), found, tx.announced(k)
}

func (tx *modelTxn) Elements(k storage.Key) (int64, error) {
	return int64(len(tx.records[idOf(k)].elements)), tx.announced(k)
}

func (tx *modelTxn) ScanElements(k storage.Key, from []byte, limit int, fn func(name, value []byte) bool) error {
	if err := tx.announced(k); err != nil {
		return err
	}
	elements := tx.records[idOf(k)].elements
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(elements)), func(name string) bool { return name < string(from) })
	for _, name := range names[:min(max(limit, 0), len(names))] {
		shown := [...][]byte{[]byte(name), []byte(elements[name])}
		goOn := fn(shown[0], shown[1])
		clear(shown[0])
		clear(shown[1])
		if !goOn {
			break
		}
	}
	return nil
}

func (tx *modelTxn) PutElement(k storage.Key, name, value []byte) (added bool, err error) {
	r, err := tx.withElements(k)
	if err != nil {
		return false, err
	}
	_, found := r.elements[string(name)]
	r.elements[string(name)] = string(value)
	tx.change(idOf(k), r)
	return !found, nil
}

func (tx *modelTxn) DeleteElement(k storage.Key, name []byte) (deleted bool, err error) {
	r, err := tx.withElements(k)
	if _, found := r.elements[string(name)]; !found {
		return false, tx.announced(k)
	}
	delete(r.elements, string(name))
	tx.change(idOf(k), r)
	return true, err
}

func (tx *modelTxn) SetValue(k storage.Key, value []byte) error {
	r, err := tx.withElements(k)
	if err != nil {
		return err
	}
	r.Value, r.Size = slices.Clone(value), len(value)
	tx.change(idOf(k), r)
	return nil
}

func (tx *modelTxn) MoveElements(from, to storage.Key) error {
	giver, err := tx.withElements(from)
	if err != nil {
		return err
	}
	taker, err := tx.withElements(to)
	if err != nil || idOf(from) == idOf(to) {
		return err
	}
	giver.elements, taker.elements = nil, giver.elements
	tx.change(idOf(from), giver)
	tx.change(idOf(to), taker)
	return nil
}

// withElements returns the record under k with a copy of its elements, which may be changed.
func (tx *modelTxn) withElements(k storage.Key) (life, error) {
	if err := tx.announced(k); err != nil {
		return life{}, err
	}
	r, found := tx.records[idOf(k)]
	if !found {
		return life{}, storage.ErrNotFound
	}
	r.elements = maps.Clone(r.elements)
	if r.elements == nil {
		r.elements = map[string]string{}
	}
	return r, nil
}
