package storage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// heard makes a list of what a keyspace tells, one string for each event.
func heard(ks *storage.Keyspace) *[]string {
	list := &[]string{}
	ks.Listen(func(b storage.Barrier, events []storage.Event) {
		for _, e := range events {
			*list = append(*list, fmt.Sprintf("%s %s behind %d", e.Name, e.Key.Name, b))
		}
	})
	return list
}

func expectHeard(t *testing.T, what string, heard *[]string, want ...string) {
	t.Helper()
	if !slices.Equal(*heard, want) {
		t.Errorf("%s: the listener is told %q, want %q", what, *heard, want)
	}
	*heard = nil
}

func emit(names ...string) func(tx *storage.Tx) error {
	return func(tx *storage.Tx) error {
		for _, name := range names {
			tx.Emit(storage.Event{Name: "set", Key: key(name)})
		}
		return nil
	}
}

// outcome is an engine that runs each function some times and ends each transaction as told.
type outcome struct {
	storage.Engine
	attempts int
	barrier  storage.Barrier
	err      error
	over     bool // the last transaction has ended
}

func (o *outcome) Update(ctx context.Context, scope storage.Scope, fn func(storage.Txn) error) (storage.Barrier, error) {
	o.over = false
	defer func() { o.over = true }()
	errAgain := errors.New("again")
	for range o.attempts - 1 {
		_, err := o.Engine.Update(ctx, scope, func(tx storage.Txn) error { return errors.Join(fn(tx), errAgain) })
		if !errors.Is(err, errAgain) {
			return 0, err
		}
	}
	_, err := o.Engine.Update(ctx, scope, fn)
	return o.barrier, errors.Join(err, o.err)
}

func newOutcome(t *testing.T) (*outcome, *storage.Keyspace) {
	t.Helper()
	o := &outcome{Engine: newModel(t), attempts: 1}
	return o, storage.NewKeyspace(o, ttl.NewManual(start))
}

// Ensure that the listener is told once, in order, after the commit, and with its barrier, however
// often the function ran.
func TestTx_Emit(t *testing.T) {
	t.Parallel()
	o, ks := newOutcome(t)
	o.barrier = 7
	list := heard(ks)
	for _, o.attempts = range []int{1, 3, 1} {
		if _, err := ks.Update(t.Context(), storage.Whole, emit("a", "b")); err != nil {
			t.Fatal(err)
		}
		expectHeard(t, fmt.Sprint(o.attempts, " attempts"), list, "set a behind 7", "set b behind 7")
	}
	ks.Listen(func(storage.Barrier, []storage.Event) {
		if !o.over {
			t.Error("the listener is told before the commit")
		}
		if _, err := ks.View(t.Context(), storage.Whole, func(*storage.Tx) error { return nil }); err != nil {
			t.Errorf("View by the listener: %v", err)
		}
	})
	if _, err := ks.Update(t.Context(), storage.Whole, emit("a")); err != nil {
		t.Fatal(err)
	}
}

// Ensure that nothing is told of what did not happen: the function failed, or the engine refused; and
// that the next transaction does not tell of it either.
func TestTx_Emit_Undone(t *testing.T) {
	t.Parallel()
	o, ks := newOutcome(t)
	list := heard(ks)
	errStop := errors.New("stop")
	fails := func(tx *storage.Tx) error { return errors.Join(emit("failed")(tx), errStop) }
	if _, err := ks.Update(t.Context(), storage.Whole, fails); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	if _, err := ks.View(t.Context(), storage.Whole, fails); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	o.err = storage.ErrFull
	if _, err := ks.Update(t.Context(), storage.Whole, emit("refused")); !errors.Is(err, storage.ErrFull) {
		t.Fatal(err)
	}
	expectHeard(t, "after failures", list)
	o.err = nil
	if _, err := ks.View(t.Context(), storage.Whole, emit("looked at")); err != nil {
		t.Fatal(err)
	}
	expectHeard(t, "after a View", list, "set looked at behind 0")
	ks.Listen(nil)
	if _, err := ks.Update(t.Context(), storage.Whole, emit("unheard")); err != nil {
		t.Fatal(err)
	}
	expectHeard(t, "after Listen(nil)", list)
}

// Ensure that each record that ended by its deadline is told of once, whoever removes it.
func TestKeyspace_Listen_Expired(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	list := heard(s.Keyspace)
	for _, name := range []string{"swept", "set again", "deleted"} {
		s.put(name, "v", start+100)
	}
	s.clock.Set(start + 100)
	s.value("swept")
	expectHeard(t, "while nothing was removed", list)
	s.put("set again", "w", ttl.Never)
	s.put("set again", "x", ttl.Never)
	expectHeard(t, "after a name was used again", list, "expired set again behind 0")
	s.remove("deleted")
	s.remove("deleted")
	s.remove("set again")
	expectHeard(t, "after what was left was deleted", list, "expired deleted behind 0")
	s.put("too late", "v", start+50)
	expectHeard(t, "after a record that was over when it was put", list, "expired too late behind 0")
	s.sweep()
	s.sweep()
	expectHeard(t, "after the sweep", list, "expired swept behind 0")
	if got := s.Expired(); got != 4 {
		t.Errorf("Expired = %d, want 4, as was told", got)
	}
	s.Listen(nil)
	s.put("unheard", "v", start+101)
	s.clock.Set(start + 101)
	s.sweep()
	expectHeard(t, "after Listen(nil)", list)
}

// still is an engine whose transactions allocate nothing and do nothing.
type still struct {
	storage.Engine
	txn storage.Txn
}

func (s still) Update(_ context.Context, _ storage.Scope, fn func(storage.Txn) error) (storage.Barrier, error) {
	return 0, fn(s.txn)
}

func newStill(t testing.TB) *storage.Keyspace {
	t.Helper()
	return storage.NewKeyspace(still{Engine: newModel(t)}, ttl.NewManual(start))
}

// Ensure that Emit allocates nothing while nobody listens, and only for a longer list while somebody
// does. The benchmark shows the same of whole transactions.
func TestTx_Emit_Allocates(t *testing.T) {
	ks := newStill(t)
	for _, listener := range []storage.Listener{nil, func(storage.Barrier, []storage.Event) {}} {
		ks.Listen(listener)
		_, err := ks.Update(t.Context(), storage.Whole, func(tx *storage.Tx) error {
			event := storage.Event{Name: "set", Key: key("k")}
			if n := testing.AllocsPerRun(1000, func() { tx.Emit(event) }); n != 0 {
				t.Errorf("Emit allocates %v times, with a listener: %v", n, listener != nil)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkTx_Emit(b *testing.B) {
	event := storage.Event{Name: "set", Key: key("k")}
	says := func(tx *storage.Tx) error {
		tx.Emit(event)
		return nil
	}
	listen := func(storage.Barrier, []storage.Event) {}
	for _, mode := range []struct {
		name     string
		fn       func(tx *storage.Tx) error
		listener storage.Listener
	}{
		{"Silent", func(*storage.Tx) error { return nil }, nil},
		{"Off", says, nil},
		{"On", says, listen},
	} {
		b.Run(mode.name, func(b *testing.B) {
			ks := newStill(b)
			ks.Listen(mode.listener)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ks.Update(context.Background(), storage.Whole, mode.fn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
