package storage_test

import (
	"slices"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// A toy data type, to show what a new one takes: a set of names, in one record. Outside a test this
// would be value_set.go, but for its Kind, and toyAdd and toyHas would be the hearts of two handlers.
const (
	kindToy    = storage.Kind(100)
	toyVersion = 1 // the first byte; the members follow, each as a field
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
	for m := []byte(nil); err == nil && len(rest) > 0; members = append(members, m) {
		m, rest, err = storage.CutField(rest)
	}
	return members, err
}

func findToy(tx *storage.Tx, k storage.Key) (members [][]byte, err error) {
	r, found, err := tx.FindKind(k, kindToy)
	if !found {
		return nil, err
	}
	return decodeToy(r.Value)
}

// toyHas reports whether member is in the set under k.
func toyHas(tx *storage.Tx, k storage.Key, member string) (bool, error) {
	members, err := findToy(tx, k)
	return contains(members, member), err
}

func contains(members [][]byte, member string) bool {
	return slices.ContainsFunc(members, func(m []byte) bool { return string(m) == member })
}

// toyAdd adds member to the set under k, which it creates if need be, and keeps the deadline.
func toyAdd(tx *storage.Tx, k storage.Key, member string) (added bool, err error) {
	members, err := findToy(tx, k)
	if err != nil || contains(members, member) {
		return false, err
	}
	return true, tx.SetValue(k, kindToy, appendToy(nil, append(members, []byte(member))))
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
			has, err := toyHas(tx, key("set"), "b")
			if has != want {
				t.Errorf("at %d b is a member: %v, want %v", now, has, want)
			}
			return err
		})
	}
}
