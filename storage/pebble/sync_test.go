package pebble

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that each mode asks for as much as it promises.
func TestEngine_Barriers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode      storage.Durability
		put       bool // on disk before the reply
		extension bool
	}{
		{storage.Session, true, false},
		{storage.Strict, true, true},
		{storage.EverySec, false, false},
	}
	for _, tt := range tests {
		e := openTest(t, vfs.NewMem(), Options{Durability: tt.mode, Clock: ttl.NewManual(1)})
		check := func(what string, b storage.Barrier, want bool) {
			t.Helper()
			if n := e.order.issued.Load(); (b.Disk == n) != want || (b.System == n) == want {
				t.Errorf("mode %d, %s: %+v of commit %d, want on disk: %v", tt.mode, what, b, n, want)
			}
			syncTo(t, e, b)
		}
		check("put", put(t, e, "a", "1", 100), tt.put)
		check("extension", setDeadline(t, e, "a", 200), tt.extension)
		check("shortening", setDeadline(t, e, "a", 150), tt.put)
		check("persist", setDeadline(t, e, "a", ttl.Never), tt.put)
		check("first deadline", setDeadline(t, e, "a", 150), tt.put)
		k := keyOf("a")
		check("delete", update(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k), tt.put)
		check("flush", update(t, e, func(tx storage.Txn) error { return tx.Flush(0) }), tt.put)
		if b := update(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k); !e.flusher.covers(b) {
			t.Errorf("mode %d: a change of nothing asks for %+v", tt.mode, b)
		}
		closeTest(t, e)
	}
}

// Ensure that a failed Update still says what its function has seen.
func TestEngine_Update_ErrorBarrier(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	want := put(t, e, "a", "1", ttl.Never)
	refusal := errors.New("exists already")
	b, err := e.Update(context.Background(), storage.Scope{Keys: []storage.Key{keyOf("a")}},
		func(storage.Txn) error { return refusal })
	if b != want || !errors.Is(err, refusal) {
		t.Errorf("Update = %+v, %v, want %+v, %v", b, err, want, refusal)
	}
}

// Ensure that what replies did not wait for is on disk a second later.
func TestEngine_SettlesEachSecond(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	clock := ttl.NewManual(1)
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: clock})
	defer closeTest(t, e)
	syncTo(t, e, put(t, e, "a", "1", ttl.Never))
	if e.flusher.disk.Load() >= e.order.issued.Load() {
		t.Fatal("the change is on disk already")
	}
	for deadline := time.Now().Add(10 * time.Second); e.flusher.disk.Load() < e.order.issued.Load(); {
		if time.Now().After(deadline) {
			t.Fatal("nothing was brought to disk in the background")
		}
		clock.Advance(time.Second) // the goroutine may not have gone to sleep before
	}
	survivor := openTest(t, fs.CrashClone(vfs.CrashCloneCfg{}), Options{})
	if _, found := get(t, survivor, "a"); !found {
		t.Error("a power cut after a second took the change back")
	}
	closeTest(t, survivor)
}

// countingFS counts the real syncs of logs.
type countingFS struct {
	vfs.FS
	syncs  atomic.Int64
	fail   atomic.Bool
	during atomic.Pointer[func()] // called once, in the next sync
}

type countingFile struct {
	vfs.File
	fs *countingFS
}

func (fs *countingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if err == nil && strings.HasSuffix(name, ".log") {
		f = &countingFile{f, fs}
	}
	return f, err
}

func (f *countingFile) SyncData() error {
	f.fs.syncs.Add(1)
	if during := f.fs.during.Swap(nil); during != nil {
		(*during)()
	}
	if f.fs.fail.Load() {
		return errors.New("disk on fire")
	}
	return f.File.SyncData()
}

// Ensure that EverySec waits for no disk, and that in session mode many who wait share
// one sync.
func TestEngine_Sync_Shared(t *testing.T) {
	t.Parallel()
	fs := &countingFS{FS: vfs.NewMem()}
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1)})
	opened := fs.syncs.Load()
	for range 10 {
		syncTo(t, e, put(t, e, "a", "1", ttl.Never))
	}
	if n := fs.syncs.Load() - opened; n != 0 {
		t.Errorf("%d syncs of the log in mode everysec, want none", n)
	}
	closeTest(t, e)

	fs = &countingFS{FS: vfs.NewMem()}
	e = openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	opened = fs.syncs.Load()
	var barriers []storage.Barrier
	for range 32 {
		barriers = append(barriers, put(t, e, "a", "1", ttl.Never))
	}
	var group sync.WaitGroup
	for _, b := range barriers {
		group.Go(func() { syncTo(t, e, b) })
	}
	group.Wait()
	if n := fs.syncs.Load() - opened; n != 1 {
		t.Errorf("%d syncs for 32 changes that were made before, want 1", n)
	}
	closeTest(t, e)
}

// Ensure that a sync does not vouch for a change that was made while it was under way.
func TestEngine_Sync_Late(t *testing.T) {
	t.Parallel()
	fs := &countingFS{FS: vfs.NewMem()}
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	var late storage.Barrier
	during := func() { late = put(t, e, "late", "1", ttl.Never) }
	early := put(t, e, "early", "1", ttl.Never)
	fs.during.Store(&during)
	syncTo(t, e, early)
	if late == (storage.Barrier{}) || e.flusher.covers(late) {
		t.Errorf("the sync of %+v vouches for %+v, which came later", early, late)
	}
}

// Ensure that Sync gives up waiting for another's round when its context ends.
func TestEngine_Sync_Context(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{Clock: ttl.NewManual(1)})
	b := put(t, e, "a", "1", ttl.Never)
	round := make(chan struct{})
	e.flusher.mu.Lock()
	e.flusher.round = round // somebody else's
	e.flusher.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Sync(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("Sync: %v, want %v", err, context.Canceled)
	}
	e.flusher.mu.Lock()
	e.flusher.round = nil
	e.flusher.mu.Unlock()
	close(round)
	syncTo(t, e, storage.Barrier{System: 1 << 60, Disk: 1 << 60}) // of another life
	closeTest(t, e)
}

// Ensure that an error of the log ends the process instead of being answered.
func TestEngine_Fatal(t *testing.T) {
	t.Parallel()
	fs := &countingFS{FS: vfs.NewMem()}
	var fatal atomic.Value
	e := openTest(t, fs, Options{
		Clock: ttl.NewManual(1),
		Fatal: func(err error) { fatal.Store(err); panic(err) },
	})
	b := put(t, e, "a", "1", ttl.Never)
	fs.fail.Store(true)
	func() {
		defer func() { _ = recover() }()
		if err := e.Sync(context.Background(), b); err == nil {
			t.Error("Sync acknowledged a change the disk refused")
		}
	}()
	if err, _ := fatal.Load().(error); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("Fatal was told %v", err)
	}
	e.stop() // the store is beyond Close
}
