package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that marks are read as they were written, and that anything else says nothing.
func TestMarks_Decode(t *testing.T) {
	t.Parallel()
	full := marks{}
	const many = uint64(2 * maxLogs)
	for i := range many {
		full.manifests = setMark(full.manifests, mark{i, int64(i) << 40}, maxManifests)
		full.logs = setMark(full.logs, mark{i << 40, int64(i)}, maxLogs)
	}
	if len(full.manifests) != maxManifests || len(full.logs) != maxLogs || full.logs[maxLogs-1].number != (many-1)<<40 {
		t.Fatalf("the newest marks are %+v", full)
	}
	for _, want := range []marks{{}, {manifests: []mark{{1, 70}}}, {logs: []mark{{2, 9}, {3, 8}}}, full} {
		b := want.append(nil)
		if len(b) > syncedSize {
			t.Errorf("%d bytes do not fit into a sector", len(b))
		}
		if got := decodeMarks(append(b, 0, 0)); !slices.Equal(got.logs, want.logs) || !slices.Equal(got.manifests, want.manifests) {
			t.Errorf("decoded %+v, want %+v", got, want)
		}
		for i := range b {
			damaged := bytes.Clone(b)
			damaged[i] ^= 0x10
			for _, b := range [][]byte{damaged, b[:i]} {
				if got := decodeMarks(b); !reflect.DeepEqual(got, marks{}) {
					t.Fatalf("byte %d: a damaged file says %+v", i, got)
				}
			}
		}
	}
}

// FuzzDecodeMarks ensures that no file makes decodeMarks panic, and that what it takes is
// what append writes.
func FuzzDecodeMarks(f *testing.F) {
	f.Add(marks{manifests: []mark{{1, 70}}, logs: []mark{{2, 9}}}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := decodeMarks(b)
		if again := decodeMarks(m.append(nil)); !slices.Equal(again.logs, m.logs) || !slices.Equal(again.manifests, m.manifests) {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}

// Ensure that what the file says is what was really synced: no less after a reply that waits
// for the disk, and no more before.
func TestSynced_SaysWhatIsSafe(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openTest(t, fs, Options{Durability: storage.Session, Clock: ttl.NewManual(1)})
	newest := func(fs vfs.FS) (m mark) {
		t.Helper()
		known, err := readMarks(fs, testDir)
		if err != nil || len(known.logs) == 0 || len(known.manifests) == 0 {
			t.Fatalf("marks %+v, %v", known, err)
		}
		return known.logs[len(known.logs)-1]
	}
	syncTo(t, e, put(t, e, "a", strings.Repeat("x", 5000), 100))
	before := newest(fs)
	if info, err := fs.Stat(fs.PathJoin(testDir, logName(before.number))); err != nil || before.size < 5000 || before.size > info.Size() {
		t.Errorf("marked %+v of %v, %v", before, info, err)
	}
	syncTo(t, e, setDeadline(t, e, "a", 200)) // only handed to the operating system
	if got := newest(fs); got != before {
		t.Errorf("marked %+v, want %+v", got, before)
	}
	closeTest(t, e)
	survivor := fs.CrashClone(vfs.CrashCloneCfg{})
	if got := newest(survivor); got.number != before.number || got.size <= before.size {
		t.Errorf("after Close marked %+v, before %+v", got, before)
	}
	closeTest(t, openTest(t, survivor, Options{}))
}

// Ensure that a store opens after any power cut, at work, in Open and in Close, whatever
// share of what was not synced survives, and after many of them one upon the other.
// SESSIOND_DAMAGE_CUTS is how many there are.
func TestDamage_PowerCutsOpen(t *testing.T) {
	t.Parallel()
	seed := damageSetting("SEED", rand.Uint64())
	t.Logf("seed %d", seed)
	for chain := range uint64(4) {
		t.Run(fmt.Sprint(chain), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, chain))
			fs := vfs.NewCrashableMem()
			for cut := range damageSetting("CUTS", 60) / 4 {
				fs = powerCutAtWork(t, fs, rng)
				e, err := openDamageTest(fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng}), testDir, 256<<10)
				if err != nil {
					t.Fatalf("after cut %d: %v", cut, err)
				}
				closeTest(t, e)
			}
		})
	}
}

// powerCutAtWork opens, changes and closes the store again and again, and returns the disk
// after a power cut at some point of that.
func powerCutAtWork(t *testing.T, fs *vfs.MemFS, rng *rand.Rand) *vfs.MemFS {
	t.Helper()
	var steps atomic.Int64
	stop := make(chan struct{})
	var work sync.WaitGroup
	workRNG := rand.New(rand.NewPCG(rng.Uint64(), 0))
	work.Go(func() {
		for {
			mode := storage.Durability(workRNG.IntN(3))
			e, err := Open(testDir, Options{
				Durability: mode, CacheBytes: 1 << 20, memTableSize: 256 << 10, fs: fs, Logger: slog.New(slog.DiscardHandler), Clock: ttl.NewManual(1),
			})
			if err != nil {
				t.Errorf("Open at work: %v", err)
				steps.Store(1 << 40)
				return
			}
			for range workRNG.IntN(200) {
				b := put(t, e, fmt.Sprint(workRNG.IntN(50)), strings.Repeat("v", workRNG.IntN(8000)), ttl.Never)
				if workRNG.IntN(3) == 0 {
					syncTo(t, e, b)
				}
				steps.Add(1)
				select {
				case <-stop:
					_ = e.Close()
					return
				default:
				}
			}
			_ = e.Close()
			steps.Add(20)
		}
	})
	for until := rng.Int64N(400); steps.Load() < until; {
		if t.Failed() {
			break
		}
	}
	survivor := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 70, 100}[rng.IntN(4)], RNG: rng})
	close(stop)
	work.Wait()
	return survivor
}

// Ensure that the file never says more than is safe: with each of its versions a store opens
// that lost in a power cut all that was not synced at that moment.
func TestSynced_NeverAhead(t *testing.T) {
	t.Parallel()
	disk := vfs.NewCrashableMem()
	versions := 0
	spy := markSpy{FS: disk, wrote: func(b []byte) {
		versions++
		survivor := disk.CrashClone(vfs.CrashCloneCfg{})
		damageFolder{syncedName: b}.write(t, survivor, testDir)
		if _, problems, err := inspect(survivor, testDir, Options{}.withDefaults().pebble(survivor, nil)); err != nil || len(problems) > 0 {
			t.Errorf("version %d: %v, %v", versions, problems, err)
		}
	}}
	for range 3 {
		e, err := openDamageTest(spy, testDir, 256<<10)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 150 { // the log goes round
			syncTo(t, e, put(t, e, fmt.Sprint(i), strings.Repeat("v", 50*i), ttl.Never))
		}
		closeTest(t, e)
	}
	if versions < 450 {
		t.Errorf("the file was written %d times", versions)
	}
}

// markSpy hears of every write to the file "synced".
type markSpy struct {
	vfs.FS
	wrote func([]byte)
}

func (s markSpy) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.FS.OpenReadWrite(name, category, opts...)
	if err == nil && strings.HasSuffix(name, syncedName) {
		f = spiedMarks{f, s.wrote}
	}
	return f, err
}

type spiedMarks struct {
	vfs.File
	wrote func([]byte)
}

func (f spiedMarks) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	f.wrote(b)
	return n, err
}

// Ensure that logs and MANIFESTs are read as Pebble reads them, records and all, and that the
// inventory has exactly the tables that Pebble has.
func TestInspect_ReadsWhatPebbleReads(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	for i := range 600 { // the log goes round, and its files are written over
		put(t, e, fmt.Sprint(i%100), strings.Repeat("v", 10*i), ttl.Never)
		if i%100 == 50 {
			update(t, e, func(tx storage.Txn) error { return tx.Flush(1) })
			if err := e.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	restDamageTest(t, e)
	live, err := e.db.SSTables()
	if err != nil {
		t.Fatal(err)
	}
	closeTest(t, e)
	names, _ := fs.List(testDir)
	manifests := 0
	for _, name := range names {
		number, log, ok := parseSynced(name)
		if !ok {
			continue
		}
		f, err := fs.Open(fs.PathJoin(testDir, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		var got [][]byte
		each := func(b []byte) error {
			got = append(got, bytes.Clone(b))
			return nil
		}
		if log {
			if _, closed, err := readLog(bytes.NewReader(b), number, each); err != nil || !closed {
				t.Errorf("%s: closed %v, %v", name, closed, err)
			}
		} else {
			manifests++
			if end, err := readManifest(bytes.NewReader(b), each); err != nil || end != int64(len(b)) {
				t.Errorf("%s: valid up to %d of %d, %v", name, end, len(b), err)
			}
		}
		if want := recordsOf(b, number); len(want) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d records, want %d", name, len(got), len(want))
		}
	}
	if manifests == 0 {
		t.Error("no MANIFEST")
	}
	x := inspection{fs: fs, dir: testDir, has: inventory{tables: map[uint64]uint64{}, files: map[uint64]uint64{}}, names: names}
	current, _ := x.marked(manifestMarker)
	if err := x.manifest(current); err != nil || len(x.problems) > 0 {
		t.Fatalf("manifest: %v, %v", err, x.problems)
	}
	want := map[uint64]uint64{}
	for _, level := range live {
		for _, x := range level {
			want[uint64(x.FileNum)] = x.Size
		}
	}
	if len(want) == 0 || !reflect.DeepEqual(x.has.tables, want) {
		t.Errorf("tables %v, want %v", x.has.tables, want)
	}
}

// recordsOf returns the records that Pebble finds.
func recordsOf(b []byte, number uint64) (all [][]byte) {
	r := openRecords(record.NewReader, b, number)
	for {
		next, err := r.Next()
		if err != nil {
			return all
		}
		b, err := io.ReadAll(next)
		if err != nil {
			return all
		}
		all = append(all, b)
	}
}

// openRecords gets by with a type that is Pebble's own.
func openRecords[N ~uint64](open func(io.Reader, N) *record.Reader, b []byte, number uint64) *record.Reader {
	return open(bytes.NewReader(b), N(number))
}

// FuzzInventory ensures that no record of a MANIFEST makes apply panic.
func FuzzInventory(f *testing.F) {
	f.Add([]byte{editAdd, 0, 5, 10, 1, 'a', 1, 'b', 1, 2})
	f.Add([]byte{editAddRanges, 0, 5, 10, 1, 1, 'a', 1, 'b', 1, 'a', 1, 'b', 1, 2, morePart, 7, moreEnd})
	f.Fuzz(func(t *testing.T, b []byte) {
		v := inventory{tables: map[uint64]uint64{}, files: map[uint64]uint64{}}
		_ = v.apply(b)
	})
}

// BenchmarkReadLog guards the time that a start spends on reading a log first.
func BenchmarkReadLog(b *testing.B) {
	var log bytes.Buffer
	w := record.NewLogWriter(&log, 7, record.LogWriterConfig{WriteWALSyncOffsets: func() bool { return false }})
	for w.Size() < 64<<20 {
		if _, err := w.WriteRecord(make([]byte, 1000)); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(log.Len()))
	for b.Loop() {
		if end, closed, err := readLog(bytes.NewReader(log.Bytes()), 7, nil); end < 64<<20 || !closed || err != nil {
			b.Fatalf("valid up to %d, closed %v, %v", end, closed, err)
		}
	}
}
