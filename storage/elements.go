package storage

import "errors"

// ErrNoElements is returned by the element methods of a Tx whose engine keeps no elements.
var ErrNoElements = errors.New("engine keeps no elements")

// ElementReader is a Reader of an engine that keeps elements: the parts of a collection that is too
// big for one record. An element has an id, which is any bytes, and a value. Reading one costs the same
// in a collection of a hundred and of a million.
//
// Elements belong to a record, and to one life of it: from the Put that creates it to its removal. What
// a record is, its kind, its deadline and the value that says how its elements are to be read, is told
// by Get and Stat as ever. The ids are ordered by their bytes. A type that needs two orders, such as a
// sorted set, has two families of ids, told apart by their first byte.
//
// The rules of the record are those of its elements: the scope, the barrier, the isolation, what fn
// may keep. The id and the value of an element are valid until fn returns.
type ElementReader interface {
	Reader
	// Element returns the value of an element. Found is false if there is no such element, or no record.
	Element(k Key, id []byte) (value []byte, found bool, err error)
	// Elements returns how many elements the record under k has, in constant time: none if there is
	// no record.
	Elements(k Key) (int64, error)
	// ScanElements calls fn for the elements of k in the order of their ids, from the first that is
	// not below from, until fn returns false or limit elements were visited. Whoever goes on later
	// begins right behind the last id that he was shown. What fn is shown is valid only inside fn.
	ScanElements(k Key, from []byte, limit int, fn func(id, value []byte) bool) error
}

// ElementTxn is a Txn of an engine that keeps elements. A change of one costs the same in a collection of
// a hundred and of a million. It gives the record a new revision, so WATCH sees it.
//
// What the methods of Txn mean for elements:
//
//   - Put begins a new life: the record has no elements afterwards, whatever was there before. So SET over
//     a big hash is right without knowing it. SetValue is for a change that keeps them.
//   - SetDeadline leaves them alone.
//   - Delete, Flush and Sweep, and Put in the place of another record, take the same time however many
//     elements there were. None of them is ever seen again. Their space is given back afterwards,
//     in the background, and that goes on after a crash.
//   - Swap takes them along with their records, at no cost.
//   - RENAME is MoveElements. COPY reads each and puts it, and so costs what the collection has.
//
// A record whose last element was deleted stays, until its handler deletes it.
type ElementTxn interface {
	Txn
	ElementReader
	// PutElement stores an element of the record under k, whatever was there before, and reports
	// whether it is new. It returns ErrNotFound if there is no record.
	PutElement(k Key, id, value []byte) (added bool, err error)
	// DeleteElement removes an element and reports whether it was there. If not, or if there is no
	// record, nothing changes.
	DeleteElement(k Key, id []byte) (deleted bool, err error)
	// SetValue changes the value of the record under k, and neither its kind, its deadline nor its
	// elements. It returns ErrNotFound if there is no record.
	SetValue(k Key, value []byte) error
	// MoveElements gives all elements of the record under from to the record under to, which loses
	// those it had; from has none afterwards. Within one database it takes the same time however
	// many there are; to another it may cost what they have. If one of the records is missing it
	// returns ErrNotFound and nothing changes. From a record to itself nothing moves.
	MoveElements(from, to Key) error
}

// KeepsElements reports whether the engine keeps elements. Without them, a collection of any size is one
// record.
func (tx *Tx) KeepsElements() bool {
	_, ok := tx.reader.(ElementReader)
	return ok
}

// Element returns the value of an element of the live record under k. See ElementReader.
func (tx *Tx) Element(k Key, id []byte) (value []byte, found bool, err error) {
	r, found, err := tx.elementsOf(k)
	if err != nil || !found {
		return nil, false, err
	}
	return r.Element(k, id)
}

// Elements returns how many elements the live record under k has. See ElementReader.
func (tx *Tx) Elements(k Key) (int64, error) {
	r, found, err := tx.elementsOf(k)
	if err != nil || !found {
		return 0, err
	}
	return r.Elements(k)
}

// ScanElements calls fn for elements of the live record under k. See ElementReader.
func (tx *Tx) ScanElements(k Key, from []byte, limit int, fn func(id, value []byte) bool) error {
	r, found, err := tx.elementsOf(k)
	if err != nil || !found {
		return err
	}
	return r.ScanElements(k, from, limit, fn)
}

// PutElement stores an element of the live record under k. See ElementTxn.
func (tx *Tx) PutElement(k Key, id, value []byte) (added bool, err error) {
	w, err := tx.elementWriter(k)
	if err != nil {
		return false, err
	}
	tx.written += len(id) + len(value)
	return w.PutElement(k, id, value)
}

// DeleteElement removes an element of the live record under k. See ElementTxn.
func (tx *Tx) DeleteElement(k Key, id []byte) (deleted bool, err error) {
	w, err := tx.elementWriter(k)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return w.DeleteElement(k, id)
}

// MoveElements gives the elements of one live record to another. See ElementTxn.
func (tx *Tx) MoveElements(from, to Key) error {
	if _, err := tx.elementWriter(from); err != nil {
		return err
	}
	w, err := tx.elementWriter(to)
	if err != nil {
		return err
	}
	return w.MoveElements(from, to)
}

// elementsOf returns who reads the elements of k. Found is false if no live record is there.
func (tx *Tx) elementsOf(k Key) (r ElementReader, found bool, err error) {
	r, ok := tx.reader.(ElementReader)
	if !ok {
		return nil, false, ErrNoElements
	}
	_, found, err = tx.Stat(k)
	return r, found, err
}

// elementWriter returns who changes the elements of k, or ErrNotFound if no live record is there.
func (tx *Tx) elementWriter(k Key) (ElementTxn, error) {
	if tx.writer == nil {
		return nil, ErrReadOnly
	}
	_, found, err := tx.elementsOf(k)
	if err != nil {
		return nil, err
	}
	w, ok := tx.writer.(ElementTxn)
	switch {
	case !ok:
		return nil, ErrNoElements
	case !found:
		return nil, ErrNotFound
	}
	return w, nil
}
