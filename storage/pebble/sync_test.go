package pebble

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/ttl"
)

// onStable reports whether stable storage has what b stands for.
func onStable(e *Engine, b storage.Barrier) bool { return uint64(b) <= uint64(e.log.Synced()) }

// Ensure that each mode asks for as much as it promises.
func TestEngine_Barriers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode      storage.Durability
		put       bool // on stable storage before the reply
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
			if waits := !onStable(e, b); waits != want || waits && b != e.logEnd() {
				t.Errorf("mode %d, %s: barrier %d of a log to %d, on stable storage to %d, want it to wait: %v",
					tt.mode, what, b, e.logEnd(), e.log.Synced(), want)
			}
			syncTo(t, e, b)
			if onStable(e, e.logEnd()) != want {
				t.Errorf("mode %d, %s: stable storage has the log to %d of %d", tt.mode, what, e.log.Synced(), e.logEnd())
			}
			if e.log.Written() != e.log.End() {
				t.Errorf("mode %d, %s: the kernel has the log to %d of %d", tt.mode, what, e.log.Written(), e.log.End())
			}
		}
		check("put", put(t, e, "a", "1", 100), tt.put)
		check("extension", setDeadline(t, e, "a", 200), tt.extension)
		check("shortening", setDeadline(t, e, "a", 150), tt.put)
		check("persist", setDeadline(t, e, "a", ttl.Never), tt.put)
		check("first deadline", setDeadline(t, e, "a", 150), tt.put)
		k := keyOf("a")
		check("delete", update(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k), tt.put)
		check("flush", update(t, e, func(tx storage.Txn) error { return tx.Flush(0) }), tt.put)
		check("swap", update(t, e, func(tx storage.Txn) error { return tx.Swap(0, 1) }), tt.put)
		end := e.logEnd()
		b := update(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k)
		if e.logEnd() != end || b > end {
			t.Errorf("mode %d: a change of nothing is in the log, from %d to %d, and asks for %d", tt.mode, end, e.logEnd(), b)
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

// Ensure that what replies did not wait for is on stable storage a second later.
func TestEngine_SettlesEachSecond(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	clock := ttl.NewManual(1)
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: clock})
	defer closeTest(t, e)
	syncTo(t, e, put(t, e, "a", "1", ttl.Never))
	if onStable(e, e.logEnd()) {
		t.Fatal("stable storage has the change already")
	}
	eventually(t, "the change is brought to stable storage in the background", func() bool {
		clock.Advance(laxInterval) // the goroutine may not have gone to sleep before
		return onStable(e, e.logEnd())
	})
	expectAfterCut(t, fs, "a", ttl.Never)
}

// logDisk is a disk in memory that tells of the syncs of the log's first segment.
type logDisk struct {
	tapFS
	syncs  atomic.Int64
	during atomic.Pointer[func() error] // called in each sync; its error is that of the sync
}

func newLogDisk() *logDisk {
	d := &logDisk{}
	d.FS = vfs.NewCrashableMem()
	d.before = func(op fileOp) error {
		if !is(opSync, "log.1")(op) {
			return nil
		}
		d.syncs.Add(1)
		if during := d.during.Load(); during != nil {
			return (*during)()
		}
		return nil
	}
	return d
}

// Ensure that EverySec waits for no disk, not even while somebody else does, and that in session
// mode many who wait share one sync.
func TestEngine_Sync_Shared(t *testing.T) {
	t.Parallel()
	d := newLogDisk()
	e := openTest(t, d, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1)})
	opened := d.syncs.Load()
	for range 10 {
		syncTo(t, e, put(t, e, "a", "1", ttl.Never))
	}
	if n := d.syncs.Load() - opened; n != 0 {
		t.Errorf("%d syncs of the log in mode everysec, want none", n)
	}
	release := d.holdSync(t, e)
	syncTo(t, e, put(t, e, "a", "2", ttl.Never)) // a wait for the disk hangs the test
	release()
	closeTest(t, e)

	d = newLogDisk()
	e = openTest(t, d, Options{Clock: ttl.NewManual(1)})
	opened = d.syncs.Load()
	var barriers []storage.Barrier
	for range 32 {
		barriers = append(barriers, put(t, e, "a", "1", ttl.Never))
	}
	var group sync.WaitGroup
	for _, b := range barriers {
		group.Go(func() { syncTo(t, e, b) })
	}
	group.Wait()
	if n := d.syncs.Load() - opened; n != 1 {
		t.Errorf("%d syncs for 32 changes that were made before, want 1", n)
	}
	closeTest(t, e)
}

// holdSync begins a sync of the log, and returns what lets it go on and waits for it.
func (d *logDisk) holdSync(t *testing.T, e *Engine) (release func()) {
	t.Helper()
	begun, goOn := make(chan struct{}), make(chan struct{})
	hold := func() error {
		d.during.Store(nil)
		close(begun)
		<-goOn
		return nil
	}
	d.during.Store(&hold)
	end := e.logEnd()
	var group sync.WaitGroup
	group.Go(func() { syncTo(t, e, end) })
	<-begun
	return func() {
		close(goOn)
		group.Wait()
	}
}

// Ensure that a sync does not vouch for a change that was made while it was under way.
func TestEngine_Sync_Late(t *testing.T) {
	t.Parallel()
	d := newLogDisk()
	e := openTest(t, d, Options{Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	early := put(t, e, "early", "1", ttl.Never)
	release := d.holdSync(t, e)
	late := put(t, e, "late", "1", ttl.Never)
	release()
	if late <= early || !onStable(e, early) || onStable(e, late) {
		t.Errorf("a sync of %d vouches for the log to %d, and %d came later", early, e.log.Synced(), late)
	}
}

// Ensure that Sync gives up waiting for another's sync when its context ends, that this is not the
// end of the store, and that a barrier of an earlier life is no reason to wait.
func TestEngine_Sync_Context(t *testing.T) {
	t.Parallel()
	d := newLogDisk()
	e := openTest(t, d, Options{Clock: ttl.NewManual(1)})
	put(t, e, "a", "1", ttl.Never)
	release := d.holdSync(t, e)
	late := put(t, e, "late", "1", ttl.Never)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Sync(ctx, late); !errors.Is(err, context.Canceled) {
		t.Errorf("Sync: %v, want %v", err, context.Canceled)
	}
	release()
	syncTo(t, e, late)
	syncTo(t, e, 1<<60)
	closeTest(t, e)
}

// Ensure that an error of the log fails the store instead of one call.
func TestEngine_Failure(t *testing.T) {
	t.Parallel()
	d := newLogDisk()
	var told []error
	e := openTest(t, d, Options{
		Clock:     ttl.NewManual(1),
		OnFailure: func(err error) { told = append(told, err) },
	})
	b := put(t, e, "a", "1", ttl.Never)
	fire := func() error { return errors.New("disk on fire") }
	d.during.Store(&fire)
	for range 2 {
		if err := e.Sync(context.Background(), b); !errors.Is(err, storage.ErrFailed) || !strings.Contains(err.Error(), "disk on fire") {
			t.Errorf("Sync = %v, want %v with its reason", err, storage.ErrFailed)
		}
	}
	if err := e.Close(); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("Close = %v, want %v", err, storage.ErrFailed)
	}
	if len(told) != 1 || !errors.Is(told[0], storage.ErrFailed) || !strings.Contains(told[0].Error(), "disk on fire") {
		t.Errorf("OnFailure was told %v", told)
	}
}

// Ensure that where Pebble wants the process to end it is the store that ends: Pebble does not go
// on, calls and Close say so, and the folder stays locked, since Pebble may be in the middle of it.
func TestEngine_Failure_PebbleGivesUp(t *testing.T) {
	t.Parallel()
	fs, told := vfs.NewMem(), make(chan error, 2)
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), OnFailure: func(err error) { told <- err }})
	b := put(t, e, "a", "1", ttl.Never)
	wentOn := make(chan struct{})
	go func() {
		tree.Options(tree.Config{Logger: e.logger, Fatal: e.halt}).Logger.Fatalf("tables %d and %d overlap", 1, 2)
		close(wentOn)
	}()
	if err := <-told; !errors.Is(err, storage.ErrFailed) || !strings.Contains(err.Error(), "tables 1 and 2 overlap") {
		t.Errorf("OnFailure was told %v", err)
	}
	eventually(t, "the store has failed", func() bool { return e.failed() != nil })
	for call, err := range map[string]error{"Sync": e.Sync(context.Background(), b), "Close": e.Close()} {
		if !errors.Is(err, storage.ErrFailed) {
			t.Errorf("%s = %v, want %v", call, err, storage.ErrFailed)
		}
	}
	if _, err := folder.Lock(fs, testDir); !errors.Is(err, folder.ErrLocked) {
		t.Errorf("the folder after Close: %v, want %v", err, folder.ErrLocked)
	}
	select {
	case <-wentOn:
		t.Error("Pebble went on")
	default:
	}
}

// Ensure that a store that turns to Strict has on disk whatever was acknowledged before, once
// Sync has returned for the barrier, and what is acknowledged later before its reply.
func TestEngine_SetDurability(t *testing.T) {
	t.Parallel()
	for _, before := range []storage.Durability{storage.EverySec, storage.Session} {
		fs := vfs.NewCrashableMem()
		e := openTest(t, fs, Options{Durability: before, Clock: ttl.NewManual(1)})
		syncTo(t, e, put(t, e, "a", "1", 1000))
		syncTo(t, e, setDeadline(t, e, "a", 2000))
		b := e.SetDurability(storage.Strict)
		if onStable(e, b) {
			t.Errorf("%v to strict: there is nothing to wait for", before)
		}
		syncTo(t, e, b)
		expectAfterCut(t, fs, "a", 2000)
		syncTo(t, e, setDeadline(t, e, "a", 3000))
		expectAfterCut(t, fs, "a", 3000)

		syncTo(t, e, e.SetDurability(storage.EverySec))
		before := e.log.Synced()
		syncTo(t, e, put(t, e, "a", "2", 4000))
		if e.log.Synced() != before {
			t.Error("back in everysec a reply waits for the disk")
		}
		closeTest(t, e)
	}
}

// expectAfterCut fails the test unless a power cut now leaves the record with that deadline.
func expectAfterCut(t *testing.T, fs *vfs.MemFS, name string, want ttl.Instant) {
	t.Helper()
	survivor := openTest(t, fs.CrashClone(vfs.CrashCloneCfg{}), Options{})
	defer closeTest(t, survivor)
	if r, found := get(t, survivor, name); !found || r.Deadline != want {
		t.Errorf("after a power cut: %q is there: %v, until %d, want %d", name, found, r.Deadline, want)
	}
}

// Ensure that what is acknowledged after a change to Strict is on disk, whichever mode those
// who were at work meanwhile went by.
func TestEngine_SetDurability_UnderLoad(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	const writers = 4
	var acknowledged [writers]atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := int64(1); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				syncTo(t, e, put(t, e, fmt.Sprint("w", w), "1", ttl.Instant(1000+i)))
				acknowledged[w].Store(i)
			}
		})
	}
	for range 20 {
		syncTo(t, e, e.SetDurability(storage.Strict))
		var least [writers]int64
		for w := range writers {
			least[w] = acknowledged[w].Load()
		}
		survivor := openTest(t, fs.CrashClone(vfs.CrashCloneCfg{}), Options{})
		for w, n := range least {
			r, found := get(t, survivor, fmt.Sprint("w", w))
			if n > 0 && (!found || r.Deadline < ttl.Instant(1000+n)) {
				t.Errorf("a power cut after the change to strict: writer %d is at %d, %d were acknowledged", w, r.Deadline-1000, n)
			}
		}
		closeTest(t, survivor)
		syncTo(t, e, e.SetDurability(storage.EverySec))
	}
	close(stop)
	group.Wait()
}
