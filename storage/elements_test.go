package storage_test

import (
	"context"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// kindBig is the kind of a collection that is kept as elements.
const kindBig storage.Kind = 101

// newBig returns a store with a collection that has the element a and ends at start+10.
func newBig(t *testing.T) *store {
	t.Helper()
	s := newStore(t)
	s.update(func(tx *storage.Tx) error {
		if err := tx.Put(key("big"), storage.Record{Kind: kindBig, Deadline: start + 10}); err != nil {
			return err
		}
		_, err := tx.PutElement(key("big"), []byte("a"), []byte("1"))
		return err
	})
	return s
}

// wantElements reports an error unless the collection has n elements by each way to read, of which the
// first is a.
func (s *store) wantElements(what string, tx *storage.Tx, name string, n int) {
	s.t.Helper()
	count, err := tx.Elements(key(name))
	s.isError(err, nil, what)
	_, found, err := tx.Element(key(name), []byte("a"))
	s.isError(err, nil, what)
	scanned := 0
	s.isError(tx.ScanElements(key(name), nil, 10, func(_, _ []byte) bool { scanned++; return true }), nil, what)
	if int(count) != n || scanned != n || found != (n > 0) {
		s.t.Errorf("%s: %d elements, %d scanned, the first found: %v; want %d", what, count, scanned, found, n)
	}
}

// Ensure that elements end with their record, at its deadline, swept or not, and that none comes back.
func TestTx_Elements_Dead(t *testing.T) {
	t.Parallel()
	s := newBig(t)
	for _, now := range []ttl.Instant{start + 9, start + 10} {
		s.clock.Set(now)
		alive := 0
		if now < start+10 {
			alive = 1
		}
		s.view(func(tx *storage.Tx) error {
			s.wantElements("read", tx, "big", alive)
			return nil
		})
	}
	s.update(func(tx *storage.Tx) error {
		_, err := tx.PutElement(key("big"), []byte("b"), nil)
		s.isError(err, storage.ErrNotFound, "PutElement after the end")
		deleted, err := tx.DeleteElement(key("big"), []byte("a"))
		if deleted || err != nil {
			t.Errorf("DeleteElement after the end = %v, %v", deleted, err)
		}
		if err := tx.Put(key("other"), storage.Record{Kind: kindBig}); err != nil {
			return err
		}
		s.isError(tx.MoveElements(key("big"), key("other")), storage.ErrNotFound, "MoveElements from what has ended")
		s.isError(tx.MoveElements(key("other"), key("big")), storage.ErrNotFound, "MoveElements to what has ended")
		return tx.SetValue(key("big"), kindBig, nil)
	})
	s.view(func(tx *storage.Tx) error {
		s.wantElements("put again", tx, "big", 0)
		s.wantElements("never filled", tx, "other", 0)
		return nil
	})
}

// Ensure that SetValue keeps the elements, that Put does not, and that MoveElements is what RENAME needs.
func TestTx_Elements_SetValue(t *testing.T) {
	t.Parallel()
	s := newBig(t)
	s.update(func(tx *storage.Tx) error {
		if err := tx.SetValue(key("big"), kindBig, []byte("head")); err != nil {
			return err
		}
		s.wantElements("after SetValue", tx, "big", 1)
		r, _, err := tx.FindKind(key("big"), kindBig)
		if string(r.Value) != "head" || r.Deadline != start+10 || tx.Written() != len("head") {
			t.Errorf("the record is %q until %d, %d bytes were written", r.Value, r.Deadline, tx.Written())
		}
		if err != nil {
			return err
		}
		if err := tx.Put(key("renamed"), r); err != nil {
			return err
		}
		return tx.MoveElements(key("big"), key("renamed"))
	})
	s.update(func(tx *storage.Tx) error {
		s.wantElements("moved away", tx, "big", 0)
		s.wantElements("moved", tx, "renamed", 1)
		return tx.Put(key("renamed"), text("a string", ttl.Never))
	})
	s.view(func(tx *storage.Tx) error {
		s.wantElements("overwritten", tx, "renamed", 0)
		_, err := tx.PutElement(key("renamed"), nil, nil)
		s.isError(err, storage.ErrReadOnly, "PutElement in a View")
		_, err = tx.DeleteElement(key("renamed"), nil)
		s.isError(err, storage.ErrReadOnly, "DeleteElement in a View")
		return nil
	})
}

// plain is an engine that keeps no elements.
type plain struct{ storage.Engine }

func (p plain) Update(ctx context.Context, scope storage.Scope, fn func(storage.Txn) error) (storage.Barrier, error) {
	return p.Engine.Update(ctx, scope, func(tx storage.Txn) error { return fn(struct{ storage.Txn }{tx}) })
}

func (p plain) View(ctx context.Context, scope storage.Scope, fn func(storage.Reader) error) (storage.Barrier, error) {
	return p.Engine.View(ctx, scope, func(r storage.Reader) error { return fn(struct{ storage.Reader }{r}) })
}

// newPlain is newStore with an engine that keeps no elements.
func newPlain(t *testing.T) *store {
	t.Helper()
	s := newStore(t)
	s.Keyspace = storage.NewKeyspace(plain{s.engine}, s.clock)
	return s
}

// Ensure that an engine without elements says so, and does the rest.
func TestTx_Elements_None(t *testing.T) {
	t.Parallel()
	s := newPlain(t)
	s.put("k", "v", ttl.Never)
	s.update(func(tx *storage.Tx) error {
		if tx.KeepsElements() {
			t.Error("KeepsElements = true")
		}
		_, _, err := tx.Element(key("k"), nil)
		s.isError(err, storage.ErrNoElements, "Element")
		_, err = tx.PutElement(key("k"), nil, nil)
		s.isError(err, storage.ErrNoElements, "PutElement")
		return tx.SetValue(key("k"), storage.KindString, []byte("w"))
	})
	s.wantValue("k", "w")
}
