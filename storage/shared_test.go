package storage_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
	"github.com/sessiond/sessiond/ttl"
)

// shared is the engine of one of several processes that share a store.
type shared struct {
	storage.Engine
	clock *ttl.Manual // the store's
	about *ttl.Manual // what the process takes it for
	swaps uint64      // in the store
	turn  bool        // to sweep
	asked int         // how often Sweep was
}

func (s *shared) Clock() ttl.Clock                 { return s.about }
func (s *shared) Now(r storage.Reader) ttl.Instant { return r.(sharedReader).now }

// sharedReader is a transaction, which read the store's clock at its beginning.
type sharedReader struct {
	storage.Txn
	now   ttl.Instant
	swaps uint64
}

func (r sharedReader) Swaps() (uint64, error) { return r.swaps, nil }

func (s *shared) Update(ctx context.Context, scope storage.Scope, fn func(storage.Txn) error) (storage.Barrier, error) {
	return s.Engine.Update(ctx, scope, func(tx storage.Txn) error { return fn(sharedReader{tx, s.clock.Now(), s.swaps}) })
}

func (s *shared) View(ctx context.Context, scope storage.Scope, fn func(storage.Reader) error) (storage.Barrier, error) {
	return s.Update(ctx, scope, func(tx storage.Txn) error { return fn(tx) })
}

func (s *shared) Sweep(ctx context.Context, now ttl.Instant, budget int) (int, ttl.Instant, error) {
	if s.asked++; !s.turn {
		return 0, ttl.Never, storage.ErrElsewhere
	}
	return s.Engine.Sweep(ctx, now, budget)
}

// newShared returns a process whose own clock is a day ahead of the store's.
func newShared(t *testing.T) (*shared, *store) {
	t.Helper()
	s := newStore(t)
	engine := &shared{Engine: s.engine, clock: s.clock, about: ttl.NewManual(start - 3)}
	s.Keyspace = storage.NewKeyspace(engine, ttl.NewManual(start.Add(24*time.Hour)))
	return engine, s
}

// Ensure that an engine with a clock of its own judges by that, and that a transaction keeps to the
// instant at which it began.
func TestKeyspace_Timekeeper(t *testing.T) {
	t.Parallel()
	engine, s := newShared(t)
	s.put("session", "v", start+10)
	s.wantValue("session", "v")
	s.view(func(tx *storage.Tx) error {
		engine.clock.Set(start + 10)
		if tx.Now() != start {
			t.Errorf("Now of the transaction = %d, want %d", tx.Now(), start)
		}
		return nil
	})
	s.wantValue("session", "absent")
	if s.Now() != start-3 || s.Clock() != engine.Clock() {
		t.Errorf("Now of the keyspace = %d, want %d by the engine's clock", s.Now(), start-3)
	}
}

// Ensure that WATCH sees that another process swapped databases.
func TestTx_Mark_Swaps(t *testing.T) {
	t.Parallel()
	engine, s := newShared(t)
	s.put("alive", "v", ttl.Never)
	for _, name := range []string{"alive", "absent"} {
		before := s.mark(name)
		if s.mark(name) != before {
			t.Errorf("the mark of a key that is %s differs without a change", name)
		}
		engine.swaps++
		if s.mark(name) == before {
			t.Errorf("the mark of a key that is %s is the same after a swap", name)
		}
	}
}

// Ensure that a sweeper whose turn it is not asks again after a while, and does not let time go back
// meanwhile.
func TestSweep_Elsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wall := ttl.NewManual(start)
		engine := &shared{Engine: enginetest.NewModel(), clock: wall}
		forward := ttl.NewForward(wall, start+5000)
		s := &store{t: t, engine: engine, clock: wall, Keyspace: storage.NewKeyspace(engine.Engine, wall)}
		s.put("session", "v", start+10)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		var told error
		sweeper := ttl.Sweeper{Clock: forward, Sweep: engine.Sweep, OnError: func(err error) { told = err }}
		go func() { defer close(ended); sweeper.Run(ctx) }()
		for range 30 { // three times MaxSleep
			synctest.Wait()
			wall.Advance(time.Second / 10)
		}
		synctest.Wait()
		if engine.asked != 4 || !errors.Is(told, storage.ErrElsewhere) || forward.Now() != start+5000 || s.kept() != 1 {
			t.Errorf("asked %d times, %v; the clock stands at %d, %d records; want 4, ErrElsewhere, %d, 1",
				engine.asked, told, forward.Now(), s.kept(), start+5000)
		}
		engine.turn = true
		wall.Advance(time.Second)
		synctest.Wait()
		if s.kept() != 0 {
			t.Error("the record is there after the sweeper had its turn")
		}
		stop()
		<-ended
	})
}
