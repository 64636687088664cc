package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/ttl"
)

// badDisk fails the n-th operation of some kinds, alone or with the four that follow.
type badDisk struct {
	wants func(fileOp) bool
	nth   int64
	stays bool

	count  atomic.Int64
	healed atomic.Bool
	failed atomic.Pointer[fileOp] // the first that did
}

func (d *badDisk) before(op fileOp) error {
	if d.healed.Load() || !d.wants(op) {
		return nil
	}
	n := d.count.Add(1)
	most := d.nth
	if d.stays {
		most += 4
	}
	if d.nth < 0 || n < d.nth || n > most {
		return nil
	}
	d.failed.CompareAndSwap(nil, &op)
	return fmt.Errorf("%s %s: %w", op.kind, op.name, syscall.EIO)
}

// trial is one life on a bad disk.
type trial struct {
	*ledger
	disk *vfs.MemFS
	pace *ttl.Manual // the engine's clock, which moves while changes wait
	bad  *badDisk
	log  *logLines
	seed uint64

	opened bool
	ended  error // what OnFailure was told
	told   int   // how often it was
	errs   []error
}

// logLines is what a store logged.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newTrial(mode storage.Durability, bad *badDisk, seed uint64) *trial {
	return &trial{
		ledger: newLedger(mode, world{}, crashBase), disk: vfs.NewCrashableMem(),
		pace: ttl.NewManual(crashBase), bad: bad, log: &logLines{}, seed: seed,
	}
}

// run lives the life, to its end or to the end of the script, and returns what an end of the
// machine leaves of the disk. What a store does that has failed, Close included, must not matter
// to the disk.
func (x *trial) run(t testing.TB) *cut {
	fs := &tapFS{FS: x.disk, before: x.bad.before}
	done := make(chan error, 1)
	go func() { done <- x.live(t, fs) }()
	stop := x.keepTimeMoving()
	defer stop()
	select {
	case err := <-done:
		if err != nil {
			x.errs = append(x.errs, err)
		}
	case <-time.After(time.Minute):
		t.Fatalf("a call hangs after %s; log:\n%s", x.what(), x.log)
	}
	return x.ledger.cut(x.disk, x.what(), powerCut, x.seed)
}

func (x *trial) what() string {
	if op := x.bad.failed.Load(); op != nil {
		return fmt.Sprintf("the failure of %s %s", op.kind, op.name)
	}
	return "a life without failure"
}

// live returns the error of Open or Close.
func (x *trial) live(t testing.TB, fs vfs.FS) error {
	rng := rand.New(rand.NewPCG(x.seed, 0))
	opts := Options{
		Durability: x.mode, Clock: x.pace,
		OnFailure: func(err error) { x.ended, x.told = err, x.told+1 },
		Logger:    slog.New(slog.NewTextHandler(x.log, nil)),
		FS:        fs, CacheBytes: 1 << 20, MemTableSize: 32 << 10,
	}
	e, err := Open(testDir, opts)
	if err != nil {
		return err
	}
	x.opened = true
	x.script(t, e, rng, 60, func(err error) bool {
		x.errs = append(x.errs, err)
		_, _ = fmt.Fprintln(x.log, err) // in memory
		return !errors.Is(err, storage.ErrFailed)
	})
	if e.failed() != nil {
		x.prod(t, e)
		return nil
	}
	x.bad.healed.Store(true)
	x.script(t, e, rng, 10, func(err error) bool {
		t.Errorf("after the disk recovered from %s: %v", x.what(), err)
		return false
	})
	x.drain(t, e, rng)
	return e.Close()
}

// keepTimeMoving moves the clock, so that what is tried again after a while is.
func (x *trial) keepTimeMoving() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			x.pace.Advance(100 * time.Millisecond)
			time.Sleep(time.Millisecond) // the pace of the clock
		}
	})
	return func() {
		cancel()
		group.Wait()
	}
}

// prod asks a store that has failed for everything. It must refuse, and let go of its folder.
func (x *trial) prod(t testing.TB, e *Engine) {
	ctx, k := context.Background(), keyOf("prod")
	_, viewErr := e.View(ctx, storage.Scope{Keys: []storage.Key{k}}, func(storage.Reader) error { return nil })
	_, updateErr := e.Update(ctx, storage.Scope{Keys: []storage.Key{k}}, func(storage.Txn) error { return nil })
	_, _, sweepErr := e.Sweep(ctx, x.clock.Now(), 1)
	_, backupErr := Tools.Backup(ctx, e, "backup", nil)
	for call, err := range map[string]error{
		"View": viewErr, "Update": updateErr, "Sync": e.Sync(ctx, 1),
		"Sync of nothing": e.Sync(ctx, 0), "Sweep": sweepErr, "Backup": backupErr, "Close": e.Close(),
	} {
		if !errors.Is(err, storage.ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s after %s: %v, want %v, and why", call, x.what(), err, storage.ErrFailed)
		}
	}
	lock, err := folder.Lock(x.disk, testDir)
	if err != nil {
		t.Errorf("after Close: %v", err)
		return
	}
	_ = lock.Close() // of a file in memory
}

// failures are operations that fail, and what becomes of the store then.
var failures = []struct {
	name  string
	wants func(fileOp) bool
	fatal bool // a serving store fails; else it goes on
}{
	{"write of the log", is(opWrite, "log.[0-9]*"), true},
	{"sync of the log", is(opSync, "log.[0-9]*"), true},
	{"creation of a log", is(opCreate, "log.[0-9]*"), false},
	{"write of the log's control file", is(opWrite, "log.control"), true},
	{"sync of the log's control file", is(opSync, "log.control"), true},
	{"sync of the folder", is(opSyncDir, "*"), true},
	{"write of the manifest", is(opWrite, "MANIFEST-*"), true},
	{"sync of the manifest", is(opSync, "MANIFEST-*"), true},
	{"creation of a table", is(opCreate, "*.sst"), false},
	{"write of a table", is(opWrite, "*.sst"), false},
	{"sync of a table", is(opSync, "*.sst"), false},
	{"read of a table", is(opRead, "*.sst"), false},
	{"opening of a table", is(opOpen, "*.sst"), false},
	{"removal of a file", is(opRemove, "*"), false},
}

func is(kind opKind, pattern string) func(fileOp) bool {
	return func(op fileOp) bool {
		ok, _ := path.Match(pattern, op.name) // the patterns are well-formed
		return ok && op.kind == kind
	}
}

// Ensure that a store on a disk that fails at any operation acknowledges nothing that is not
// there afterwards: it fails if its log or its manifest cannot be relied on any more, and goes
// on, and recovers, if it is anything else. A store that has failed lets every call return and its
// folder go. The short run looks at a sample of the operations,
// SESSIOND_DISK_FAILURES=1 at every one.
func TestBadDisk(t *testing.T) {
	t.Parallel()
	every := testNumber(t, "SESSIOND_DISK_FAILURES", 25)
	sum := &counts{}
	for _, f := range failures {
		for _, stays := range []bool{false, true} {
			name := f.name + ", once"
			if stays {
				name = f.name + ", five times"
			}
			t.Run(name, func(t *testing.T) {
				mode := storage.Durability(rand.IntN(3))
				seed := rand.Uint64()
				whole := newTrial(mode, &badDisk{wants: f.wants, nth: -1}, seed)
				whole.judge(t, whole.run(t), sum)
				total := whole.bad.count.Load()
				if total == 0 {
					t.Fatal("the script has no such operation")
				}
				ends, refusals, met := 0, 0, 0
				for _, nth := range sample(total, every) {
					x := newTrial(mode, &badDisk{wants: f.wants, nth: nth, stays: stays}, seed)
					x.try(t, f.fatal, sum)
					switch {
					case x.bad.failed.Load() == nil: // this time there were less
					case x.ended != nil:
						ends++
					case !x.opened:
						refusals++
					default:
						met++
					}
				}
				t.Logf("of %d: %d ends, %d refusals to open, %d times it went on", total, ends, refusals, met)
			})
		}
	}
	t.Log(sum)
}

// try lives the life and judges what is left. It ends the test if there is a fault.
func (x *trial) try(t *testing.T, fatal bool, sum *counts) {
	defer func() {
		if t.Failed() {
			t.Fatalf("%s in mode %d, seed %d; log:\n%s", x.what(), x.mode, x.seed, x.log)
		}
	}()
	x.judge(t, x.run(t), sum)
	x.checkEnd(t, fatal)
}

// sample returns one number of every so many from 1 to total, and at least two.
func sample(total int64, every int) (chosen []int64) {
	n := max(int(total)/every, 2)
	for i := range int64(n) {
		from, to := i*total/int64(n), (i+1)*total/int64(n)
		if to > from {
			chosen = append(chosen, 1+from+rand.Int64N(to-from))
		}
	}
	return chosen
}

// checkEnd holds the end of a trial to what its failure calls for.
func (x *trial) checkEnd(t testing.TB, fatal bool) {
	if x.bad.failed.Load() == nil {
		return
	}
	// A segment in the making that cannot be written is none.
	spared := strings.Contains(x.log.String(), "the log has fewer segments") && !strings.Contains(x.what(), string(opSyncDir))
	switch {
	case x.opened && fatal && x.ended == nil && !spared:
		t.Errorf("%s did not end the store", x.what())
	case x.ended != nil && x.opened && !fatal:
		t.Errorf("%s ended the store: %v", x.what(), x.ended)
	case x.ended != nil && (x.told != 1 || !errors.Is(x.ended, storage.ErrFailed) || !errors.Is(x.ended, syscall.EIO)):
		t.Errorf("OnFailure was told %d times, of %v, after %s", x.told, x.ended, x.what())
	}
	op := x.bad.failed.Load()
	writes := op.kind == opCreate || op.kind == opWrite || op.kind == opSync
	if writes && x.opened && x.ended == nil && !strings.Contains(x.log.String(), syscall.EIO.Error()) {
		t.Errorf("%s was not logged", x.what())
	}
}

// Ensure that a flush that fails for ever is tried now and then and not without a pause, that
// the log tells of it and of the changes that wait in the end, that reads are answered
// meanwhile, and that all goes on when the disk does.
func TestBadDisk_FlushFails(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	var tries atomic.Int64
	fs := &tapFS{FS: vfs.NewMem(), before: func(op fileOp) error {
		if broken.Load() && is(opCreate, "*.sst")(op) {
			tries.Add(1)
			return syscall.EIO
		}
		return nil
	}}
	clock, log := ttl.NewManual(1), &logLines{}
	e := openTest(t, fs, Options{
		Clock: clock, Logger: slog.New(slog.NewTextHandler(log, nil)), MemTableSize: 32 << 10,
	})
	defer closeTest(t, e)
	broken.Store(true)
	var written atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			syncTo(t, e, put(t, e, fmt.Sprint(i%50), strings.Repeat("x", 1000), ttl.Never))
			written.Add(1)
		}
	}()
	eventually(t, "the changes wait", func() bool { return strings.Contains(log.String(), "changes wait until") })
	before := tries.Load()
	for range 5 {
		eventually(t, "a try is over", func() bool { return tries.Load() == before })
		clock.Advance(diskspace.RetryDelay)
		before++
	}
	eventually(t, "the last try", func() bool { return tries.Load() >= before })
	if n := tries.Load(); n > before {
		t.Errorf("%d tries to flush, want %d", n, before)
	}
	if !strings.Contains(log.String(), syscall.EIO.Error()) {
		t.Errorf("the log does not tell of the flush:\n%s", log)
	}
	for i := range 50 { // that of the change that waits, too
		if _, found := get(t, e, fmt.Sprint(i)); !found {
			t.Errorf("record %d is not found while nothing can be flushed", i)
		}
	}
	count := written.Load()
	broken.Store(false)
	clock.Advance(diskspace.RetryDelay)
	eventually(t, "the changes go on", func() bool { return written.Load() > count+100 })
	close(stop)
	<-stopped
	if !strings.Contains(log.String(), "changes wait no longer") {
		t.Errorf("the log does not tell that changes go on:\n%s", log)
	}
}

// Ensure that a store whose log has failed lets Pebble write out what it has in memory, as far as
// Pebble knows, and that none of it reaches the disk.
func TestBadDisk_FlushAfterTheEnd(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	disk := vfs.NewCrashableMem()
	fs := &tapFS{FS: disk, before: func(op fileOp) error {
		if broken.Load() && is(opSync, "log.[0-9]*")(op) {
			return syscall.EIO
		}
		return nil
	}}
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), OnFailure: func(error) {}})
	syncTo(t, e, put(t, e, "safe", "value", ttl.Never))
	put(t, e, "lost", "value", ttl.Never)
	broken.Store(true)
	flushed, err := e.db.AsyncFlush() // for which the log has to be synced
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-flushed:
	case <-time.After(time.Minute):
		t.Fatal("the flush comes to no end")
	}
	if err := e.Close(); !errors.Is(err, storage.ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Close = %v, want %v, and why", err, storage.ErrFailed)
	}
	survivor := openTest(t, afterCrash(disk, powerCut, 1), Options{})
	defer closeTest(t, survivor)
	if found := survey(t, survivor); len(found) != 1 || found[spot{0, "safe"}].value != "value" {
		t.Errorf("found %v, want what was safe and nothing else", found)
	}
}

// Ensure that the end of a store is, too, that the folder cannot be synced for a new segment of the
// log: the names of tables may have been lost with it, and the next sync would say that all is well.
func TestBadDisk_FolderOfTheLog(t *testing.T) {
	t.Parallel()
	var state atomic.Int64 // 1 when a segment was made, 2 when the sync after that has failed
	told := make(chan error, 1)
	fs := &tapFS{FS: vfs.NewCrashableMem(), before: func(op fileOp) error {
		if is(opSync, "log.3")(op) {
			state.CompareAndSwap(0, 1)
		}
		if op.kind == opSyncDir && state.CompareAndSwap(1, 2) {
			return syscall.EIO
		}
		return nil
	}}
	e := openTest(t, fs, Options{MemTableSize: 32 << 10, OnFailure: func(err error) { told <- err }})
	k := keyOf("name")
	var err error
	for i := 0; err == nil && i < 1000; i++ { // the second segment comes into use, so a third is made
		_, err = e.Update(t.Context(), storage.Scope{Keys: []storage.Key{k}}, func(tx storage.Txn) error {
			return tx.Put(k, storage.Record{Kind: storage.KindString, Value: make([]byte, 1000)})
		})
	}
	if err == nil {
		closeTest(t, e)
		t.Fatal("the store goes on")
	}
	for call, err := range map[string]error{"Update": err, "OnFailure": <-told, "Close": e.Close()} {
		if !errors.Is(err, storage.ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v, want %v, and why", call, err, storage.ErrFailed)
		}
	}
}

// eventually polls what goroutines do.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for begin := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("never: %s", what)
		}
	}
}
