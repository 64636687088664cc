package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// How a data type is added.
//
// The Kind of a record says what its value is. Each type has a file value_<type>.go, in which
// everything about its value stands:
//
//   - its Kind, in record.go, with the name that TYPE answers;
//   - typed reads: FindX, which is FindKind for that type, and AsX for a record that was read already;
//   - its encoding: an append function and a decode function, both pure. They know nothing of engines, of
//     the clock, or of the form of replies. A fuzz test of each decoder holds it to two rules: it does not
//     panic, and appending what it returned gives the same bytes.
//
// There is nothing to register. A handler reads by FindX, decides, and writes by SetValue, which keeps
// the deadline, or by Put, which sets it. A collection that became empty is deleted by its handler.
//
// A string is its bytes. Every other value begins with the version of its encoding <1b>, and what
// follows is that version's business. A new version gets a number of its own; decoders read the old
// ones as long as there may be stores that have them, and refuse what they do not know with ErrEncoding.
//
// A collection of the size of a session is one record. How a big one is kept is told at ElementTxn.

// ErrWrongKind is returned when a record holds another kind of value than was asked for.
var ErrWrongKind = errors.New("record holds another kind of value")

// ErrEncoding is returned when a value is not encoded in a way that this version of the program
// writes or knows.
var ErrEncoding = errors.New("unknown encoding of a value")

// FindKind is Find for one kind of value; another is ErrWrongKind.
func (tx *Tx) FindKind(k Key, kind Kind) (Record, bool, error) {
	r, found, err := tx.Find(k)
	return asKind(kind, r, found, err)
}

// asKind passes on what a read returned, unless it found another kind of value.
func asKind(kind Kind, r Record, found bool, err error) (Record, bool, error) {
	if found && r.Kind != kind {
		return Record{}, false, ErrWrongKind
	}
	return r, found, err
}

// SetValue stores a value under k and keeps the deadline and the elements of what is there; a record
// that it creates has neither. Another kind of value under k is ErrWrongKind.
func (tx *Tx) SetValue(k Key, kind Kind, value []byte) error {
	r, found, err := tx.Stat(k)
	if _, _, err := asKind(kind, r, found, err); err != nil {
		return err
	}
	if !found {
		return tx.Put(k, Record{Kind: kind, Value: value})
	}
	if w, ok := tx.writer.(ElementTxn); ok {
		tx.written += len(value)
		return w.SetValue(k, value)
	}
	return tx.Put(k, Record{Kind: kind, Value: value, Deadline: r.Deadline})
}

// cutVersion takes the version off an encoded value. Newest is the highest that the caller knows;
// the lowest is 1.
func cutVersion(value []byte, newest byte) (version byte, rest []byte, err error) {
	if len(value) == 0 {
		return 0, nil, fmt.Errorf("value without a version: %w", ErrEncoding)
	}
	if version = value[0]; version == 0 || version > newest {
		return 0, nil, fmt.Errorf("value of version %d, the newest known is %d: %w", version, newest, ErrEncoding)
	}
	return version, value[1:], nil
}

// appendField appends a field of any bytes, its length before it: length, uvarint | bytes.
func appendField(dst, field []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(field)))
	return append(dst, field...)
}

// cutField takes off src what appendField wrote; the field is part of src. It refuses a length that
// is written longer than need be, so that equal fields are equal bytes.
func cutField(src []byte) (field, rest []byte, err error) {
	length, n := binary.Uvarint(src)
	if n <= 0 || length > uint64(len(src)-n) || n > 1 && src[n-1] == 0 {
		return nil, nil, fmt.Errorf("field of %d bytes in %d: %w", length, len(src), ErrEncoding)
	}
	end := n + int(length)
	return src[n:end:end], src[end:], nil
}
