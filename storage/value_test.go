package storage_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that SetValue keeps the deadline of what lives, gives none to what is new, and leaves another
// kind of value alone, whether the engine keeps elements or not.
func TestTx_SetValue(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) *store{"Elements": newStore, "Plain": newPlain} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkSetValue(t, open)
		})
	}
}

func checkSetValue(t *testing.T, open func(t *testing.T) *store) {
	t.Helper()
	const kind storage.Kind = 77
	of := func(kind storage.Kind, deadline ttl.Instant) *storage.Record {
		return &storage.Record{Kind: kind, Value: []byte("old"), Deadline: deadline}
	}
	tests := []struct {
		name string
		old  *storage.Record
		want ttl.Instant
		err  error
	}{
		{"Absent", nil, ttl.Never, nil},
		{"Forever", of(kind, ttl.Never), ttl.Never, nil},
		{"Expiring", of(kind, start+50), start + 50, nil},
		{"Dead", of(kind, start+5), ttl.Never, nil},
		{"DeadOfAnotherKind", of(storage.KindString, start+5), ttl.Never, nil},
		{"AnotherKind", of(storage.KindString, start+50), 0, storage.ErrWrongKind},
	}
	for _, test := range tests {
		s := open(t)
		if test.old != nil {
			s.update(func(tx *storage.Tx) error { return tx.Put(key("k"), *test.old) })
		}
		s.clock.Set(start + 5)
		_, err := s.Update(t.Context(), storage.Whole, func(tx *storage.Tx) error { return tx.SetValue(key("k"), kind, []byte("new")) })
		s.isError(err, test.err, test.name)
		if test.err != nil {
			s.wantValue("k", "old")
			continue
		}
		s.view(func(tx *storage.Tx) error {
			r, found, err := tx.FindKind(key("k"), kind)
			if !found || string(r.Value) != "new" || r.Deadline != test.want {
				t.Errorf("%s: %q until %d, found %v; want new until %d", test.name, r.Value, r.Deadline, found, test.want)
			}
			return err
		})
	}
	s := open(t)
	_, err := s.View(t.Context(), storage.Whole, func(tx *storage.Tx) error { return tx.SetValue(key("k"), kind, nil) })
	s.isError(err, storage.ErrReadOnly, "SetValue in a View")
}

// Ensure that a version is refused that nobody wrote, or a newer program.
func TestCutVersion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value   string
		version byte
		rest    string
		err     error
	}{
		{"\x01", 1, "", nil},
		{"\x02abc", 2, "abc", nil},
		{"\x03abc", 0, "", storage.ErrEncoding},
		{"\x00abc", 0, "", storage.ErrEncoding},
		{"", 0, "", storage.ErrEncoding},
	} {
		version, rest, err := storage.CutVersion([]byte(test.value), 2)
		(&store{t: t}).isError(err, test.err, test.value)
		if version != test.version || string(rest) != test.rest {
			t.Errorf("%q: version %d, rest %q; want %d, %q", test.value, version, rest, test.version, test.rest)
		}
	}
}

// Ensure that a field is what was appended, that what is no field is refused, and that there is one way
// only to write each.
func FuzzCutField(f *testing.F) {
	for _, field := range []string{"", "a", strings.Repeat("x", 300)} {
		f.Add(storage.AppendField(nil, []byte(field)))
	}
	f.Add([]byte{0x80, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, src []byte) {
		field, rest, err := storage.CutField(src)
		if err != nil {
			return
		}
		if again := append(storage.AppendField(nil, field), rest...); !bytes.Equal(again, src) {
			t.Errorf("%q is cut to %q and %q, which make %q", src, field, rest, again)
		}
	})
}

// Ensure that what the toy type decodes is encoded as the same bytes.
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

func (s *store) isError(err, want error, what string) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Errorf("%s: error = %v, want %v", what, err, want)
	}
}
