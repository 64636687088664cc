package storage_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// A toy data type, to show what a new one takes: a set of names, in one record. Outside a test this
// would be value_set.go, but for its Kind, and toyAdd and toyHas would be the hearts of two handlers.
const (
	kindToy    = storage.Kind(100)
	toyVersion = 1 // the first byte; the members follow, in order, each as a field
)

func appendToy(dst []byte, members [][]byte) []byte {
	dst = append(dst, toyVersion)
	for _, m := range members {
		dst = storage.AppendField(dst, m)
	}
	return dst
}

// decodeToy refuses everything that appendToy does not write. The members are part of value.
func decodeToy(value []byte) (members [][]byte, err error) {
	_, rest, err := storage.CutVersion(value, toyVersion)
	for err == nil && len(rest) > 0 {
		var m []byte
		m, rest, err = storage.CutField(rest)
		if n := len(members); err == nil && n > 0 && bytes.Compare(members[n-1], m) >= 0 {
			err = storage.ErrEncoding
		}
		members = append(members, m)
	}
	return members, err
}

func findToy(tx *storage.Tx, k storage.Key) (members [][]byte, err error) {
	r, found, err := tx.FindKind(k, kindToy)
	if found {
		members, err = decodeToy(r.Value)
	}
	return members, err
}

// toyHas reports whether member is in the set under k.
func toyHas(tx *storage.Tx, k storage.Key, member string) (bool, error) {
	members, err := findToy(tx, k)
	return slices.ContainsFunc(members, func(m []byte) bool { return string(m) == member }), err
}

// toyAdd adds member to the set under k, which it creates if need be, and keeps the deadline.
func toyAdd(tx *storage.Tx, k storage.Key, member string) (added bool, err error) {
	members, err := findToy(tx, k)
	at, found := slices.BinarySearchFunc(members, []byte(member), bytes.Compare)
	if err != nil || found {
		return false, err
	}
	return true, tx.SetValue(k, kindToy, appendToy(nil, slices.Insert(members, at, []byte(member))))
}

func FuzzDecodeToy(f *testing.F) {
	f.Add(appendToy(nil, [][]byte{[]byte(""), []byte("a"), []byte("b")}))
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, value []byte) {
		members, err := decodeToy(value)
		if again := appendToy(nil, members); err == nil && !bytes.Equal(again, value) {
			t.Errorf("%q is decoded to %q, which is encoded as %q", value, members, again)
		}
	})
}

// Ensure that a new type works like the others: it keeps its deadline, ends with it, and neither takes
// another type's value for its own nor lends its own to others.
func TestToyType(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.put("string", "v", ttl.Never)
	s.update(func(tx *storage.Tx) error {
		_, err := toyAdd(tx, key("string"), "a")
		s.isError(err, storage.ErrWrongKind, "add to a string")
		for _, want := range []bool{true, false} {
			if added, err := toyAdd(tx, key("set"), "a"); added != want || err != nil {
				t.Errorf("add = %v, %v; want %v", added, err, want)
			}
		}
		_, _, err = tx.FindString(key("set"))
		s.isError(err, storage.ErrWrongKind, "FindString of a set")
		s.isError(tx.SetDeadline(key("set"), start+10), nil, "SetDeadline")
		_, err = toyAdd(tx, key("set"), "b")
		return err
	})
	for now, want := range map[ttl.Instant]bool{start: true, start + 9: true, start + 10: false} {
		s.clock.Set(now)
		s.view(func(tx *storage.Tx) error {
			if has, err := toyHas(tx, key("set"), "b"); has != want || err != nil {
				t.Errorf("at %d b is a member: %v, %v; want %v", now, has, err, want)
			}
			return nil
		})
	}
}
