package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace/smalldisk"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

const smallDisk = 48 << 20

type smallFS = smalldisk.FS

// newSmallFS returns a file system of total bytes over fs, whose files in testDir count.
func newSmallFS(t testing.TB, fs vfs.FS, total int64) *smallFS {
	t.Helper()
	s, err := smalldisk.New(fs, testDir, total)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// leaveRoom has somebody else take all but n bytes, some of the reserve too if need be, and
// then looks at the room.
func leaveRoom(e *Engine, fs *smallFS, n int64) {
	for e.guard.Ballast().Held() > n && e.guard.Ballast().Release(0) {
		continue
	}
	fs.Leave(n - e.guard.Ballast().Held())
	e.guard.Look()
}

// attempt updates one record and returns nil or storage.ErrFull. What was applied is synced.
func attempt(t testing.TB, e *Engine, fn func(storage.Txn) error, keys ...storage.Key) error {
	t.Helper()
	b, err := e.Update(context.Background(), storage.Scope{Keys: keys, All: len(keys) == 0}, fn)
	switch {
	case err == nil:
		syncTo(t, e, b)
	case !errors.Is(err, storage.ErrFull):
		t.Fatalf("Update: %v", err)
	}
	return err
}

func tryPut(t testing.TB, e *Engine, name, value string, deadline ttl.Instant) error {
	t.Helper()
	k := keyOf(name)
	return attempt(t, e, func(tx storage.Txn) error {
		return tx.Put(k, storage.Record{Kind: storage.KindString, Value: []byte(value), Deadline: deadline})
	}, k)
}

func tryDelete(t testing.TB, e *Engine, name string) error {
	t.Helper()
	k := keyOf(name)
	return attempt(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k)
}

// noiseOf returns n bytes that do not compress.
func noiseOf(rng *rand.Rand, n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(rng.Uint32()), byte(rng.Uint32())}).Read(b) // never fails
	return string(b)
}

// Ensure that, the less room there is, first what makes the store larger is refused, then
// later deadlines, and then the rest; that a refused update has changed nothing, whatever
// else it did; and that all are welcome when there is room again.
func TestRoom_Order(t *testing.T) {
	t.Parallel()
	a, b, fresh := keyOf("a"), keyOf("b"), keyOf("fresh")
	rec := storage.Record{Kind: storage.KindString, Value: []byte("value"), Deadline: 5000}
	updates := []struct {
		name  string
		needs diskspace.Class
		fn    func(storage.Txn) error
	}{
		{"new record", diskspace.ClassInsert, func(tx storage.Txn) error { return tx.Put(fresh, rec) }},
		{"other value", diskspace.ClassInsert, func(tx storage.Txn) error { return tx.Put(a, rec) }},
		{"one goes, one comes", diskspace.ClassInsert, func(tx storage.Txn) error { return errors.Join(tx.Delete(a), tx.Put(fresh, rec)) }},
		{"flush, and one comes", diskspace.ClassInsert, func(tx storage.Txn) error { return errors.Join(tx.Flush(0), tx.Put(fresh, rec)) }},
		{"later deadline", diskspace.ClassExtend, func(tx storage.Txn) error { return tx.SetDeadline(a, 9000) }},
		{"no deadline any more", diskspace.ClassExtend, func(tx storage.Txn) error { return tx.SetDeadline(a, ttl.Never) }},
		{"one goes, one stays longer", diskspace.ClassExtend, func(tx storage.Txn) error { return errors.Join(tx.Delete(b), tx.SetDeadline(a, 9000)) }},
		{"earlier deadline", diskspace.ClassDelete, func(tx storage.Txn) error { return tx.SetDeadline(a, 3000) }},
		{"deletion", diskspace.ClassDelete, func(tx storage.Txn) error { return tx.Delete(a) }},
		{"came and went", diskspace.ClassDelete, func(tx storage.Txn) error { return errors.Join(tx.Put(fresh, rec), tx.Delete(fresh)) }},
		{"flush", diskspace.ClassDelete, func(tx storage.Txn) error { return tx.Flush(0) }},
		{"swap", diskspace.ClassDelete, func(tx storage.Txn) error { return tx.Swap(0, 1) }},
	}
	for _, u := range updates {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			fs := newSmallFS(t, vfs.NewMem(), smallDisk)
			e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
			defer closeTest(t, e)
			lowest := func(c diskspace.Class) int64 { return e.guard.Threshold(c) + e.guard.Margin() }
			for _, level := range []struct {
				room    int64
				refused diskspace.Class // this one and those before it
			}{
				{lowest(diskspace.ClassInsert) + 64<<10, -1},
				{lowest(diskspace.ClassInsert) - 1, diskspace.ClassInsert},
				{lowest(diskspace.ClassExtend) - 1, diskspace.ClassExtend},
				{lowest(diskspace.ClassDelete) - 1, diskspace.ClassDelete},
				{lowest(diskspace.ClassInsert) + e.guard.Hysteresis(diskspace.ClassInsert) + 64<<10, -1},
			} {
				fs.Release()
				e.guard.Look()
				put(t, e, "a", "old", 4000)
				put(t, e, "b", "old", 4000)
				before := survey(t, e)
				leaveRoom(e, fs, level.room)
				err := attempt(t, e, u.fn)
				if got, want := err != nil, u.needs <= level.refused; got != want {
					t.Errorf("room for %d bytes: refused is %v, want %v", level.room, got, want)
				}
				if after := survey(t, e); err != nil && !maps.Equal(before, after) {
					t.Errorf("room for %d bytes: refused, and the store changed from %v to %v", level.room, before, after)
				}
				if disk := e.Disk(); disk.Full != (level.refused >= diskspace.ClassInsert) {
					t.Errorf("room for %d bytes: Disk = %+v", level.room, disk)
				}
			}
		})
	}
}

// Ensure that the sweeper goes on removing records as long as there is room for deletions.
func TestRoom_Sweeps(t *testing.T) {
	t.Parallel()
	fs := newSmallFS(t, vfs.NewMem(), smallDisk)
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	put(t, e, "early", "value", 10)
	put(t, e, "late", "value", 20)
	leaveRoom(e, fs, e.guard.Ballast().Held())
	if n := sweepAll(t, e, 15, 100); n != 1 {
		t.Errorf("%d records were swept on a full disk, want 1", n)
	}
	leaveRoom(e, fs, e.guard.Threshold(diskspace.ClassDelete)/2)
	if n, _, err := e.Sweep(t.Context(), 25, 100); n != 0 || !errors.Is(err, storage.ErrFull) {
		t.Errorf("with nothing left to write to Sweep = %d, %v, want %v", n, err, storage.ErrFull)
	}
	fs.Release()
	e.watchDisk()
	if n := sweepAll(t, e, 25, 100); n != 1 {
		t.Errorf("%d records were swept when there was room, want 1", n)
	}
}

// Ensure that the space of records is given back, too, that were deleted while there was room,
// just before there was none.
func TestRoom_DeletedBefore(t *testing.T) {
	t.Parallel()
	fs := newSmallFS(t, vfs.NewMem(), smallDisk)
	clock := ttl.NewManual(1)
	e := openTest(t, fs, Options{Clock: clock})
	defer closeTest(t, e)
	rng := rand.New(rand.NewPCG(1, 2))
	const records = 1500
	for i := range records {
		put(t, e, fmt.Sprint(i), noiseOf(rng, 8<<10), ttl.Never)
	}
	settle(t, e, fs)
	admit := e.guard.Compactions.Hold() // or the space may be free before there is no room
	for i := range records / 2 {
		if err := tryDelete(t, e, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	e.guard.Look()
	leaveRoom(e, fs, e.guard.Required(diskspace.ClassInsert)-512<<10)
	if tryPut(t, e, "new", "value", ttl.Never) == nil {
		t.Fatal("there is room")
	}
	admit()
	defer keepMoving(clock)()
	eventually(t, "new records are accepted", func() bool { return tryPut(t, e, "new", "value", ttl.Never) == nil })
}

// Ensure that when somebody else takes the disk, deletions are refused before the log
// cannot be written, however many come between two looks at the room.
func TestRoom_DeletionsStopInTime(t *testing.T) {
	t.Parallel()
	fs := newSmallFS(t, vfs.NewMem(), smallDisk)
	clock := ttl.NewManual(1)
	e := openTest(t, fs, Options{Clock: clock})
	defer closeTest(t, e)
	const records = 4000 // twice as many as deletions fit the log
	rng := rand.New(rand.NewPCG(1, 1))
	names := make([]string, records+1) // which no table makes smaller
	for i := range names {
		names[i] = fmt.Sprint(i, noiseOf(rng, 1000))
	}
	name := func(i int) string { return names[i] }
	for i := range records {
		put(t, e, name(i), "value", ttl.Never)
	}
	fs.Leave(0)
	ended := 0
	for ended < records && tryDelete(t, e, name(ended)) == nil {
		ended++
	}
	if ended < 10 || ended == records {
		t.Errorf("%d of %d deletions were accepted", ended, records)
	}
	if n := len(survey(t, e)); n != records-ended {
		t.Errorf("%d records after %d of %d were deleted", n, ended, records)
	}
	fs.Release()
	defer keepMoving(clock)()
	eventually(t, "deletions are accepted", func() bool { return tryDelete(t, e, name(ended)) == nil })
}

// Ensure that the tables in memory that wait when the disk is taken do not use up what
// deletions need.
func TestRoom_FlushLeavesRoomForDeletions(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	fs := newSmallFS(t, vfs.NewMem(), smallDisk)
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	for i := range 24 {
		syncTo(t, e, put(t, e, fmt.Sprint(i), noiseOf(rng, 8<<10), ttl.Never))
	}
	fs.Leave(0)
	done, err := e.db.AsyncFlush()
	if err != nil {
		t.Fatal(err)
	}
	<-done
	fs.Leave(0) // and what the flush freed
	e.watchDisk()
	for i := range 24 {
		if err := tryDelete(t, e, fmt.Sprint(i)); err != nil {
			t.Fatalf("deletion %d after a flush from the reserve, of which %d bytes are left: %v", i, e.guard.Ballast().Held(), err)
		}
	}
}

// Ensure that when no table can be written out, changes are refused and do not wait; and that all goes
// on when tables can be written.
func TestRoom_StuckTable(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	fs := newSmallFS(t, vfs.NewMem(), smallDisk)
	fs.Refuses = func(category vfs.DiskWriteCategory) bool { return full.Load() && category == diskspace.CategoryFlush }
	clock := ttl.NewManual(1)
	e := openTest(t, fs, Options{Clock: clock})
	defer closeTest(t, e)
	const records = 4000 // twice as many as deletions fit the log
	name := func(i int) string { return fmt.Sprintf("%04d%s", i, strings.Repeat("x", 1000)) }
	for i := range records {
		put(t, e, name(i), "value", ttl.Never)
	}
	bring(t, e)
	put(t, e, "last", "value", ttl.Never)
	full.Store(true)
	e.checkpoints.ask()
	eventually(t, "a table is stuck", e.guard.FlushBlocked)
	ended := 0
	for ended < records && tryDelete(t, e, name(ended)) == nil { // a change that waits hangs the test
		ended++
	}
	if ended < 5 || ended == records {
		t.Errorf("%d of %d deletions were accepted", ended, records)
	}
	if _, found := get(t, e, name(ended)); !found {
		t.Error("a record is not found while changes are refused")
	}
	full.Store(false)
	defer keepMoving(clock)()
	eventually(t, "new records are accepted", func() bool { return tryPut(t, e, "new", "value", ttl.Never) == nil })
}

// keepMoving moves a clock, so that what is done now and then is.
func keepMoving(clock *ttl.Manual) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			clock.Advance(100 * time.Millisecond)
			time.Sleep(time.Millisecond) // the pace of the clock
		}
	})
	return func() {
		cancel()
		group.Wait()
	}
}

// killed returns the disk as kill -9 leaves it.
func killed(t testing.TB, fs *smallFS) *smallFS {
	t.Helper()
	mem := fs.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	return newSmallFS(t, mem, fs.Total())
}

// Ensure that a store opens on a disk of which every byte is taken, thanks to its reserve,
// with all that was acknowledged, and that records can be deleted there.
func TestOpen_FullDisk(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	fs := newSmallFS(t, vfs.NewCrashableMem(), 20<<20)
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), MemTableSize: 1 << 20})
	for i := 0; tryPut(t, e, fmt.Sprint(i), noiseOf(rng, 8<<10), 5000) == nil; i++ {
		continue
	}
	if err := e.checkpoint(t.Context()); err != nil || e.followed() != e.log.End() { // a start writes nothing of what came before
		t.Fatal(err, e.followed(), e.log.End())
	}
	if err := tryDelete(t, e, "0"); err != nil {
		t.Fatal(err)
	}
	want := survey(t, e)
	again := killed(t, fs)
	closeTest(t, e)

	again.Leave(0)
	e = openTest(t, again, Options{Clock: ttl.NewManual(1), MemTableSize: 1 << 20})
	if got := survey(t, e); !maps.Equal(got, want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	again.Leave(0) // and what opening freed
	e.guard.Look()
	if err := tryPut(t, e, "new", "value", 5000); err == nil {
		t.Error("a new record is accepted on a full disk")
	}
	for _, name := range []string{"1", "2", "3"} {
		if err := tryDelete(t, e, name); err != nil {
			t.Errorf("a deletion on a full disk: %v", err)
		}
	}
	closeTest(t, e)
	again.Release()
	e = openTest(t, again, Options{Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	if err := tryPut(t, e, "new", "value", 5000); err != nil {
		t.Errorf("a new record when there is room: %v", err)
	}
	if held := e.guard.Ballast().Held(); held != e.guard.Ballast().Whole() {
		t.Errorf("the reserve has %d bytes when there is room, want %d", held, e.guard.Ballast().Whole())
	}
}

// Ensure that without a reserve and without room Open says so at once, changes nothing, and
// succeeds when there is room.
func TestOpen_NoRoomAtAll(t *testing.T) {
	t.Parallel()
	fs := newSmallFS(t, vfs.NewCrashableMem(), smallDisk)
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	for i := range 500 {
		put(t, e, fmt.Sprint(i), strings.Repeat("x", 1000), ttl.Never)
	}
	syncTo(t, e, put(t, e, "last", "value", ttl.Never))
	want := survey(t, e)
	again := killed(t, fs)
	closeTest(t, e)
	for i := range diskspace.BallastPieces {
		if err := again.Remove(again.PathJoin(testDir, fmt.Sprint(layout.BallastPrefix, i))); err != nil {
			t.Fatal(err)
		}
	}
	again.Leave(0)
	files := again.Sizes()
	opts := Options{Clock: ttl.NewManual(1), FS: again, CacheBytes: 1 << 20, MemTableSize: 256 << 10}
	if _, err := Open(testDir, opts); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("Open = %v, want %v", err, storage.ErrFull)
	}
	for path, size := range files {
		if got := again.Sizes()[path]; got != size {
			t.Errorf("%s has %d bytes after Open, and had %d", path, got, size)
		}
	}
	again.Release()
	e = openTest(t, again, Options{Clock: ttl.NewManual(1)})
	defer closeTest(t, e)
	if got := survey(t, e); !maps.Equal(got, want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
}

// openWaiting opens a store, and calls free when it says that it waits for room.
func openWaiting(opts Options, log *logLines, free func()) (e *Engine, err error) {
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		e, err = Open(testDir, opts)
	}()
	for {
		select {
		case <-opened:
			return e, err
		case <-time.After(time.Millisecond): // how often it looks
			if strings.Contains(log.String(), "waiting for room") {
				free()
			}
		}
	}
}

// Ensure that an Open needs no room for what it finds in the log, however much that is: it serves it,
// and brings it to the tree when there is room.
func TestOpen_NoRoomForTables(t *testing.T) {
	t.Parallel()
	fs := newSmallFS(t, vfs.NewCrashableMem(), smallDisk)
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), LogBytes: 16 << 20})
	followed := e.followed()
	for i := range 3000 {
		put(t, e, fmt.Sprint(i), strings.Repeat("x", 1000), ttl.Never)
	}
	syncTo(t, e, put(t, e, "a", "value", ttl.Never))
	if e.followed() != followed {
		t.Fatal("there was a checkpoint, so there is less to be made again")
	}
	again := killed(t, fs)
	closeTest(t, e)
	var full atomic.Bool
	full.Store(true)
	again.Refuses = func(category vfs.DiskWriteCategory) bool { return full.Load() && category == diskspace.CategoryFlush }
	clock := ttl.NewManual(1)
	e = openTest(t, again, Options{Clock: clock})
	defer closeTest(t, e)
	defer keepMoving(clock)()
	if n := len(survey(t, e)); n != 3001 {
		t.Errorf("%d records, want 3001", n)
	}
	full.Store(false)
	checkStore(t, e)
	if e.followed() == followed {
		t.Error("nothing was brought to the tree")
	}
}

// Ensure that there is none where the file system does not tell its sizes, and that room has
// no end there.
func TestReserve_UnknownDisk(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{})
	defer closeTest(t, e)
	e.watchDisk()
	names, err := fs.List(testDir)
	if err != nil || slices.ContainsFunc(names, layout.IsBallast) || e.guard.Ballast().Held() > 0 {
		t.Errorf("files %v, %v, a ballast of %d bytes", names, err, e.guard.Ballast().Held())
	}
	if free := e.Disk().Available; free < 1<<62 {
		t.Errorf("%d bytes can be written, want no end", free)
	}
	put(t, e, "a", "value", ttl.Never)
}

// Ensure that a store with a limit behaves at it as on a full disk: it refuses what would make
// its files larger than that, and when records are deleted, gives their space back and goes on.
func TestRoom_Quota(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	fs := newSmallFS(t, vfs.NewMem(), 1<<40)
	clock := ttl.NewManual(1)
	e := openTest(t, fs, Options{Clock: clock, MaxDisk: diskspace.MinQuota, LogBytes: 4 << 20}) // what the log has it keeps
	defer closeTest(t, e)
	defer keepMoving(clock)()
	held := func() int64 { n, _ := fs.Held(); return n }
	most := func() int64 { _, n := fs.Held(); return n }
	var names []string
	for refused := 0; refused < 100; {
		name := fmt.Sprint(len(names))
		if tryPut(t, e, name, noiseOf(rng, 8<<10), ttl.Never) != nil {
			refused++
			time.Sleep(5 * time.Millisecond) // what is merged meanwhile makes room
			continue
		}
		names = append(names, name)
	}
	if most := most(); most < diskspace.MinQuota/2 {
		t.Errorf("the files had %d bytes, the limit is %d", most, diskspace.MinQuota)
	}
	if disk := e.Disk(); !disk.Full || disk.Quota != diskspace.MinQuota || disk.Used < diskspace.MinQuota/2 || disk.Available < 1<<39 {
		t.Errorf("Disk = %+v", disk)
	}
	for _, name := range names[:len(names)/10*9] {
		if err := tryDelete(t, e, name); err != nil {
			t.Fatalf("a deletion at the limit: %v", err)
		}
	}
	eventually(t, "new records are accepted", func() bool { return tryPut(t, e, "new", "value", ttl.Never) == nil })
	if err := e.checkpoint(t.Context()); err != nil { // what memory has of the deletions
		t.Fatal(err)
	}
	eventually(t, "the space is given back", func() bool { return held() < diskspace.MinQuota*3/4 })
	if most := most(); most > diskspace.MinQuota {
		t.Errorf("the files had %d bytes, the limit is %d", most, diskspace.MinQuota)
	}
	// Pebble leaves what was put off alone for half a minute; that must keep nothing waiting.
	for i := range 4000 {
		name := names[i%200]
		eventually(t, "records are written anew", func() bool { return tryPut(t, e, name, noiseOf(rng, 8<<10), ttl.Never) == nil })
	}
}

// Ensure that whatever happens to the disk, a store that is filled, emptied, swept, killed and
// opened again has exactly what was acknowledged, and that no update has any other error than
// that there is no room.
func TestRoom_Random(t *testing.T) {
	t.Parallel()
	for range testNumber(t, "SESSIOND_FULL_DISKS", 4) {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			x := &fullLife{
				t: t, rng: rand.New(rand.NewPCG(seed, 0)), clock: ttl.NewManual(1), want: world{},
				fs:   newSmallFS(t, vfs.NewCrashableMem(), 24<<20+int64(seed%(24<<20))),
				opts: Options{OnFailure: func(err error) { panic(fmt.Sprintf("seed %d: %v", seed, err)) }},
			}
			x.opts.Clock = x.clock
			defer keepMoving(x.clock)()
			x.e = openTest(t, x.fs, x.opts)
			for range 4000 {
				x.step()
			}
			x.restart()
			closeTest(t, x.e)
			t.Logf("%d updates were accepted, %d refused; %d records are left", x.accepted, x.refused, len(x.want))
		})
	}
}

// fullLife is a store on a disk that others fill, and what it must hold.
type fullLife struct {
	t     *testing.T
	rng   *rand.Rand
	clock *ttl.Manual
	fs    *smallFS
	opts  Options
	e     *Engine
	want  world
	now   ttl.Instant // of the sweeper

	accepted, refused int
}

func (x *fullLife) step() {
	s := spot{name: fmt.Sprint(x.rng.IntN(1500))}
	switch n := x.rng.IntN(1000); {
	case n < 550:
		im := image{noiseOf(x.rng, x.rng.IntN(24<<10)), x.deadline()}
		rec := storage.Record{Kind: storage.KindString, Value: []byte(im.value), Deadline: im.deadline}
		if x.update(func(tx storage.Txn) error { return tx.Put(s.key(), rec) }, s.key()) {
			x.want[s] = im
		}
	case n < 700:
		im, found := x.want[s]
		im.deadline = x.deadline()
		if found && x.update(func(tx storage.Txn) error { return tx.SetDeadline(s.key(), im.deadline) }, s.key()) {
			x.want[s] = im
		}
	case n < 900:
		if x.update(func(tx storage.Txn) error { return tx.Delete(s.key()) }, s.key()) {
			delete(x.want, s)
		}
	case n < 902:
		if x.update(func(tx storage.Txn) error { return tx.Flush(0) }) {
			clear(x.want)
		}
	case n < 915:
		x.fs.Leave(x.rng.Int64N(1 << 20))
	case n < 925:
		x.fs.Leave(0)
	case n < 945:
		x.fs.Release()
	case n < 948:
		x.restart()
	case n < 955:
		x.sweep()
	case n < 960:
		x.e.watchDisk()
	default:
		rec, found := get(x.t, x.e, s.name)
		if im, ok := x.want[s]; found != ok || found && (string(rec.Value) != im.value || rec.Deadline != im.deadline) {
			x.t.Fatalf("%q is there: %v, want %v", s.name, found, ok)
		}
	}
}

func (x *fullLife) deadline() ttl.Instant { return x.now + 1 + ttl.Instant(x.rng.Int64N(1000)) }

func (x *fullLife) update(fn func(storage.Txn) error, keys ...storage.Key) bool {
	x.t.Helper()
	if attempt(x.t, x.e, fn, keys...) != nil {
		x.refused++
		return false
	}
	x.accepted++
	return true
}

// sweep removes what is due a little later, or some of it and says that there is no room.
func (x *fullLife) sweep() {
	x.now += ttl.Instant(x.rng.Int64N(200))
	if _, _, err := x.e.Sweep(x.t.Context(), x.now, 1<<20); err != nil && !errors.Is(err, storage.ErrFull) {
		x.t.Fatalf("Sweep: %v", err)
	}
	found := survey(x.t, x.e)
	for s, im := range x.want {
		if _, there := found[s]; !there && im.deadline.Due(x.now) {
			delete(x.want, s)
		}
	}
}

// restart kills the store or closes it, opens it again and looks at all it has. Where there is
// no room for that, somebody makes some.
func (x *fullLife) restart() {
	next := x.fs
	if kill := x.rng.IntN(2) == 0; kill {
		next = killed(x.t, x.fs)
		next.Take(x.fs)
		x.fs.Release()
	}
	closeTest(x.t, x.e)
	x.fs = next
	opts := x.opts
	opts.FS, opts.CacheBytes, opts.MemTableSize = x.fs, 1<<20, 256<<10
	log := &logLines{}
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	e, err := openWaiting(opts, log, x.fs.Release)
	if errors.Is(err, storage.ErrFull) {
		x.fs.Release()
		e, err = openWaiting(opts, log, x.fs.Release)
	}
	if err != nil {
		x.t.Fatalf("Open: %v", err)
	}
	x.e = e
	found := survey(x.t, e)
	for _, s := range slices.Collect(maps.Keys(x.want)) {
		if found[s] != x.want[s] {
			x.t.Fatalf("%q was acknowledged, and after a restart there are %d bytes until %d, want %d until %d",
				s.name, len(found[s].value), found[s].deadline, len(x.want[s].value), x.want[s].deadline)
		}
	}
	if len(found) != len(x.want) {
		x.t.Fatalf("%d records after a restart, want %d", len(found), len(x.want))
	}
}

// Ensure that a compaction is stopped before it takes what others need, and that a store in
// which none gets through refuses changes before Pebble would make them wait.
func TestRoom_NoCompaction(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	fs := newSmallFS(t, vfs.NewMem(), 1<<40)
	fs.Refuses = func(category vfs.DiskWriteCategory) bool {
		return full.Load() && category == diskspace.CategoryCompaction
	}
	clock := ttl.NewManual(1)
	e := openTest(t, fs, Options{Clock: clock})
	defer closeTest(t, e)
	defer keepMoving(clock)()
	full.Store(true)
	written := 0
	for ; written < 2000 && tryPut(t, e, fmt.Sprint(written%100), strings.Repeat("x", 4000), ttl.Never) == nil; written++ {
		if !e.guard.MayFlush() { // it would wait for ever; changes must not
			continue
		}
		done, err := e.db.AsyncFlush()
		if err != nil {
			t.Fatal(err)
		}
		<-done
	}
	if written == 2000 {
		t.Error("changes are accepted without an end, though nothing can be compacted")
	}
	get(t, e, "1")
	full.Store(false)
	eventually(t, "new records are accepted", func() bool { return tryPut(t, e, "new", "value", ttl.Never) == nil })
}
