package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

const testBackup = "backups/sessions"

func backUp(t testing.TB, e *Engine, dir string) ToolCopy {
	t.Helper()
	b, err := Tools.Backup(context.Background(), e, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func restoredOptions(fs vfs.FS) Options {
	return Options{
		FS: fs, CacheBytes: 1 << 20, MemTableSize: 256 << 10, Clock: ttl.NewManual(1),
		Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
		OnFailure: func(err error) { panic(err) },
	}
}

// openRestored restores the backup in testBackup and opens the store that comes of it.
func openRestored(t testing.TB, fs vfs.FS) *Engine {
	t.Helper()
	const dir = "restored"
	if err := fs.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Tools.Restore(context.Background(), testBackup, dir, fs); err != nil {
		t.Fatal(err)
	}
	e, err := Open(dir, restoredOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// contents returns every value of database 0 by name.
func contents(t testing.TB, e *Engine) map[string]string {
	t.Helper()
	all := map[string]string{}
	_, err := e.View(context.Background(), storage.Whole, func(r storage.Reader) error {
		var names []string
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			var err error
			cursor, err = r.Scan(0, cursor, 1000, func(k storage.Key, _ storage.Record) bool {
				names = append(names, string(k.Name))
				return true
			})
			if err != nil {
				return err
			}
		}
		for _, name := range names {
			rec, _, err := r.Get(keyOf(name))
			if err != nil {
				return err
			}
			all[name] = string(rec.Value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// history is a load whose every beginning can be told from everything else: each change
// takes the next number and leaves it in four places.
type history struct {
	acknowledged atomic.Uint64
	writers      int
	quiet        sync.RWMutex // held for writing while nothing may be changed
}

func numberOf(value string) uint64 {
	if len(value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(value))
}

// write makes changes until stop is closed.
func (h *history) write(t *testing.T, e *Engine, writer int, stop chan struct{}) {
	rng := rand.New(rand.NewPCG(uint64(writer), 1))
	last, own := keyOf("last"), keyOf(fmt.Sprint("writer ", writer))
	from, to := keyOf(fmt.Sprint("here ", writer)), keyOf(fmt.Sprint("there ", writer))
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		func() {
			h.quiet.RLock()
			defer h.quiet.RUnlock()
			var n uint64
			step := keyOf(fmt.Sprintf("step %d of %d", i, writer))
			b := update(t, e, func(tx storage.Txn) error {
				rec, _, err := tx.Get(last)
				n = numberOf(string(rec.Value)) + 1
				value := append(binary.BigEndian.AppendUint64(nil, n), make([]byte, rng.IntN(3000))...)
				return errors.Join(err,
					tx.Put(last, storage.Record{Value: value[:8]}), tx.Put(own, storage.Record{Value: value[:8]}),
					tx.Put(step, storage.Record{Value: value}),
					tx.Delete(from), tx.Put(to, storage.Record{Value: value[:8], Deadline: crashBase}))
			}, last, own, step, from, to)
			from, to = to, from // a token that is in one of two places
			syncTo(t, e, b)
			raise(&h.acknowledged, n)
		}()
	}
}

// check holds a copy to being a beginning of the history with at least the changes up to
// least.
func (h *history) check(t *testing.T, e *Engine, least uint64) {
	t.Helper()
	all := contents(t, e)
	last := numberOf(all["last"])
	if last < least {
		t.Errorf("the copy ends at change %d, %d was acknowledged before it began", last, least)
	}
	seen := map[uint64]bool{}
	for w := range h.writers {
		newest := uint64(0)
		for i := 0; ; i++ {
			value, found := all[fmt.Sprintf("step %d of %d", i, w)]
			if !found {
				break
			}
			newest = numberOf(value)
			seen[newest] = true
		}
		if got := numberOf(all[fmt.Sprint("writer ", w)]); got != newest {
			t.Errorf("writer %d is at %d, its newest change is %d", w, got, newest)
		}
		here, there := numberOf(all[fmt.Sprint("here ", w)]), numberOf(all[fmt.Sprint("there ", w)])
		if here+there != newest {
			t.Errorf("the token of writer %d is here since %d, there since %d, its newest change is %d", w, here, there, newest)
		}
	}
	for n := range last + 2 {
		if inside := n >= 1 && n <= last; seen[n] != inside {
			t.Errorf("change %d of %d: found %v", n, last, seen[n])
		}
	}
}

// Ensure that a backup made under load is the store at one instant, with all that was
// acknowledged before, in each mode, while tables and logs come and go and the sweeper
// works; and that each replaces the one before.
func TestEngine_Backup_OneInstant(t *testing.T) {
	t.Parallel()
	for mode := storage.Session; mode <= storage.EverySec; mode++ {
		t.Run(fmt.Sprint("mode=", mode), func(t *testing.T) {
			t.Parallel()
			fs := vfs.NewMem()
			e := openTest(t, fs, Options{Durability: mode, Clock: ttl.NewManual(1)})
			h := &history{writers: 4}
			stop := make(chan struct{})
			var group sync.WaitGroup
			for w := range h.writers {
				group.Go(func() { h.write(t, e, w, stop) })
			}
			group.Go(func() { h.sweep(t, e, stop) })
			for range 3 {
				least := h.acknowledged.Load() + 100
				for h.acknowledged.Load() < least {
					put(t, e, "filler", strings.Repeat("y", 500), crashBase)
				}
				backUp(t, e, testBackup)
				h.quiet.Lock() // what is written now would tell nothing more
				copied := openRestored(t, fs)
				h.check(t, copied, least)
				closeTest(t, copied)
				h.quiet.Unlock()
			}
			close(stop)
			group.Wait()
			if e.db.Metrics().Flush.Count < 3 {
				t.Errorf("%d flushes, too few to matter", e.db.Metrics().Flush.Count)
			}
			closeTest(t, e)
		})
	}
}

// sweep makes records that end at once, and sweeps them, until stop is closed.
func (h *history) sweep(t *testing.T, e *Engine, stop chan struct{}) {
	for now := ttl.Instant(1); ; now++ {
		select {
		case <-stop:
			return
		default:
			func() {
				h.quiet.RLock()
				defer h.quiet.RUnlock()
				put(t, e, fmt.Sprint("brief ", now%50), strings.Repeat("b", 100), now)
				sweepAll(t, e, now, 10)
			}()
		}
	}
}

// hookFS calls before each operation that changes what names there are.
type hookFS struct {
	vfs.FS
	before func(names ...string) error
}

func (fs hookFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.before(name); err != nil {
		return nil, err
	}
	return fs.FS.Create(name, c)
}

func (fs hookFS) Link(from, to string) error {
	if err := fs.before(from, to); err != nil {
		return err
	}
	return fs.FS.Link(from, to)
}

func (fs hookFS) Rename(from, to string) error {
	if err := fs.before(from, to); err != nil {
		return err
	}
	return fs.FS.Rename(from, to)
}

func (fs hookFS) Remove(name string) error {
	return errors.Join(fs.before(name), fs.FS.Remove(name))
}

func (fs hookFS) RemoveAll(name string) error {
	return errors.Join(fs.before(name), fs.FS.RemoveAll(name))
}

func (fs hookFS) MkdirAll(name string, perm os.FileMode) error {
	return errors.Join(fs.before(name), fs.FS.MkdirAll(name, perm))
}

func (fs hookFS) OpenDir(name string) (vfs.File, error) { // to sync it
	if err := fs.before(name); err != nil {
		return nil, err
	}
	return fs.FS.OpenDir(name)
}

// crashes runs fn and hands crash a copy of what a crash would have left before each of its
// steps and after the last. If the share is 0 it is a power cut, above it is a kinder one.
func crashes(mem *vfs.MemFS, hook *atomic.Pointer[func()], fn func(), crash func(step int, left *vfs.MemFS)) {
	var mu sync.Mutex
	var clones []*vfs.MemFS
	clone := func() {
		mu.Lock()
		defer mu.Unlock()
		shares := []int{powerCut, torn}
		if len(clones)%4 == 0 {
			shares[1] = kill
		}
		for _, share := range shares {
			rng := rand.New(rand.NewPCG(uint64(len(clones)), 1))
			clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: rng}))
		}
	}
	hook.Store(&clone)
	fn()
	hook.Store(nil)
	clone()
	mu.Lock()
	defer mu.Unlock()
	for i, left := range clones {
		crash(i, left)
	}
}

// newHooked returns a crashable file system on which hook, while it is set, is called
// before each step.
func newHooked() (mem *vfs.MemFS, fs vfs.FS, hook *atomic.Pointer[func()]) {
	mem, hook = vfs.NewCrashableMem(), new(atomic.Pointer[func()])
	return mem, hookFS{mem, func(...string) error {
		if fn := hook.Load(); fn != nil {
			(*fn)()
		}
		return nil
	}}, hook
}

// Ensure that a crash at any point of a backup leaves the store whole, and the old backup or
// the new one, and that the next backup takes what it left for what it is. The first
// backup may leave none.
func TestEngine_Backup_Crash(t *testing.T) {
	t.Parallel()
	mem, fs, hook := newHooked()
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1)})
	old := map[string]string(nil)
	for _, value := range []string{"first", "second"} {
		put(t, e, "k", value, ttl.Never)
		syncTo(t, e, storage.Everything)
		if err := e.checkpoint(context.Background()); err != nil { // a table that is new
			t.Fatal(err)
		}
		syncTo(t, e, put(t, e, "l", value, ttl.Never))
		whole := contents(t, e)
		done := false
		crashes(mem, hook, func() { backUp(t, e, testBackup) }, func(step int, left *vfs.MemFS) {
			store := openTest(t, left, Options{})
			if rec, _ := get(t, store, "k"); string(rec.Value) != value {
				t.Fatalf("step %d: the store has %q, want %q", step, rec.Value, value)
			}
			_, err := Tools.Restore(context.Background(), testBackup, "restored", left)
			if err == nil {
				copied, err := Open("restored", restoredOptions(left))
				if err != nil {
					t.Fatal(err)
				}
				got := contents(t, copied)
				closeTest(t, copied)
				if done = maps.Equal(got, whole); !done && !maps.Equal(got, old) {
					t.Fatalf("step %d: the backup has %q, want %q or %q", step, got, old, whole)
				}
			} else if old != nil || done {
				t.Fatalf("step %d: the backup is gone: %v", step, err)
			}
			backUp(t, store, testBackup)
			if names, _ := left.List(testBackup); len(names) != 2 {
				t.Errorf("step %d: the next backup leaves %q", step, names)
			}
			if step%8 == 0 {
				closeTest(t, openRestored(t, left))
			}
			closeTest(t, store)
		})
		if !done {
			t.Error("after the last step the backup is not the new one")
		}
		old = whole
	}
	closeTest(t, e)
}

// Ensure that a crash at any point of a restore leaves nothing that opens, or the whole
// store, or no trace; and that restoring again works if there is no store.
func TestRestore_Crash(t *testing.T) {
	t.Parallel()
	mem, fs, hook := newHooked()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	put(t, e, "k", "v", ttl.Never)
	if err := e.checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	put(t, e, "l", "v", ttl.Never)
	want := contents(t, e)
	backUp(t, e, testBackup)
	closeTest(t, e)
	ctx := context.Background()
	done := false
	crashes(mem, hook, func() {
		if _, err := Tools.Restore(ctx, testBackup, "restored", fs); err != nil {
			t.Fatal(err)
		}
	}, func(step int, left *vfs.MemFS) {
		if names, err := left.List("restored"); err != nil || len(names) == 0 {
			return
		}
		store, err := Open("restored", restoredOptions(left))
		if done = err == nil; !done {
			if !errors.Is(err, folder.ErrForeign) {
				t.Fatalf("step %d: Open: %v, want %v", step, err, folder.ErrForeign)
			}
			store = openRestoredAgain(t, step, left)
		}
		if got := contents(t, store); !maps.Equal(got, want) {
			t.Errorf("step %d: the store has %q, want %q", step, got, want)
		}
		closeTest(t, store)
	})
	if !done {
		t.Error("after the last step there is no store")
	}
}

// openRestoredAgain is openRestored on what an interrupted Restore has left.
func openRestoredAgain(t *testing.T, step int, left vfs.FS) *Engine {
	t.Helper()
	if _, err := Tools.Restore(context.Background(), testBackup, "restored", left); err != nil {
		t.Fatalf("step %d: %v", step, err)
	}
	e, err := Open("restored", restoredOptions(left))
	if err != nil {
		t.Fatalf("step %d: %v", step, err)
	}
	return e
}

// twoDisks is a file system in which nothing can be linked or renamed between the folder
// of backups and the rest. It counts the tables that are created among the backups.
func twoDisks() (fs vfs.FS, tables *atomic.Int64) {
	tables = new(atomic.Int64)
	return hookFS{vfs.NewMem(), func(names ...string) error {
		if len(names) == 1 && strings.HasPrefix(names[0], "backups") && layout.IsTable(names[0]) {
			tables.Add(1)
		}
		if len(names) == 2 && strings.HasPrefix(names[0], "backups") != strings.HasPrefix(names[1], "backups") {
			return syscall.EXDEV
		}
		return nil
	}}, tables
}

// Ensure that a second backup on another disk copies what is new and nothing else.
func TestEngine_Backup_OtherDisk(t *testing.T) {
	t.Parallel()
	fs, tables := twoDisks()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
	fill(t, e, "one ", 'a')
	restDamageTest(t, e)
	e.guard.Halt() // what one of them writes is new, whatever is in it
	first := backUp(t, e, testBackup)
	if first.Copied != first.Bytes || first.Bytes < 300<<10 || tables.Load() == 0 {
		t.Errorf("the first backup copied %d of %d bytes, %d tables", first.Copied, first.Bytes, tables.Load())
	}
	tables.Store(0)
	put(t, e, "little", "more", ttl.Never)
	second := backUp(t, e, testBackup)
	if second.Bytes < 300<<10 || second.Copied > second.Bytes-300<<10 || tables.Load() > 1 { // that with the little
		t.Errorf("the second backup copied %d of %d bytes, %d tables", second.Copied, second.Bytes, tables.Load())
	}
	closeTest(t, openRestored(t, fs))
	closeTest(t, e)
}

// fill stores 400 KB under names of its own, in tables that Pebble has no reason to touch.
func fill(t *testing.T, e *Engine, prefix string, b byte) {
	t.Helper()
	value := make([]byte, 4000)
	rng := rand.New(rand.NewPCG(uint64(b), 7))
	for i := range 100 {
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		put(t, e, fmt.Sprint(prefix, i), string(value), ttl.Never)
	}
	if err := errors.Join(e.checkpoint(context.Background()), e.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false)); err != nil {
		t.Fatal(err)
	}
}

// Ensure that a backup that is called off, or finds no room, leaves the one before and
// nothing else.
func TestEngine_Backup_Interrupted(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		stop func(cancel func()) error
		want error
	}{
		"canceled": {func(cancel func()) error { cancel(); return nil }, context.Canceled},
		"full":     {func(func()) error { return syscall.ENOSPC }, syscall.ENOSPC},
	}
	for name, tt := range cases {
		ctx, cancel := context.WithCancel(context.Background())
		disks, _ := twoDisks()
		var begun atomic.Bool
		fs := hookFS{disks, func(names ...string) error {
			if begun.Load() && strings.HasPrefix(names[0], testBackup+"/data-") && strings.HasSuffix(names[0], ".sst") {
				return tt.stop(cancel)
			}
			return nil
		}}
		e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
		put(t, e, "k", "old", ttl.Never)
		backUp(t, e, testBackup)
		fill(t, e, "new ", 'n')
		begun.Store(true)
		if _, err := Tools.Backup(ctx, e, testBackup, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		begun.Store(false)
		if _, err := fs.Stat(fs.PathJoin(testDir, layout.StageName)); err == nil {
			t.Errorf("%s: the stage is still there", name)
		}
		if names, _ := fs.List(testBackup); len(names) != 2 {
			t.Errorf("%s: it left %q", name, names)
		}
		copied := openRestored(t, fs)
		if got := contents(t, copied); len(got) != 1 || got["k"] != "old" {
			t.Errorf("%s: the backup before has %d records", name, len(got))
		}
		closeTest(t, copied)
		backUp(t, e, testBackup)
		closeTest(t, e)
		cancel()
	}
}

// Ensure that a backup goes nowhere where it could do harm.
func TestEngine_Backup_Refused(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	for _, name := range []string{"letters/to-ada", "data-000001/of-somebody", "mine/BACKUP/x", "near/data-000001/x"} {
		if err := errors.Join(fs.MkdirAll(fs.PathDir(name), folder.Mode), folder.WriteFile(fs, name, []byte("Dear Ada,"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(fs.MkdirAll("later", folder.Mode), folder.WriteFile(fs, "later/BACKUP", []byte("sessiond backup 3\nx"))); err != nil {
		t.Fatal(err)
	}
	e := openTest(t, fs, Options{})
	defer closeTest(t, e)
	tests := []struct {
		dir  string
		want error
	}{
		{"letters", folder.ErrForeign}, {"data-000001", folder.ErrForeign}, {"near", folder.ErrForeign}, {"mine", nil},
		{"later", layout.ErrNewerFormat},
		{testDir, folder.ErrForeign}, {testDir + "/elsewhere", folder.ErrForeign}, {testDir + "/backup/deeper", folder.ErrForeign},
	}
	for _, tt := range tests {
		if _, err := Tools.Backup(context.Background(), e, tt.dir, nil); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.dir, err, tt.want)
		}
	}
	for _, dir := range []string{testDir + "/backup", "empty", "a/b/c"} {
		backUp(t, e, dir)
		backUp(t, e, dir)
	}
	if text, err := folder.ReadFile(fs, "letters/to-ada"); err != nil || string(text) != "Dear Ada," {
		t.Errorf("the letter reads %q, %v", text, err)
	}
}

// Ensure that a backup with something missing is refused, and that nothing is restored
// over anything.
func TestRestore_Refused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spoil func(fs vfs.FS) error
		want  error
	}{
		"absent":   {func(fs vfs.FS) error { return fs.RemoveAll(testBackup) }, Tools.ErrIncomplete},
		"no data":  {func(fs vfs.FS) error { return fs.RemoveAll(testBackup + "/data-000001") }, Tools.ErrIncomplete},
		"no table": {func(fs vfs.FS) error { return fs.Remove(testBackup + "/data-000001/" + tableIn(fs)) }, Tools.ErrIncomplete},
		"half a table": {func(fs vfs.FS) error {
			return folder.WriteFile(fs, testBackup+"/data-000001/"+tableIn(fs), []byte("half"))
		}, Tools.ErrIncomplete},
		"damaged table": {func(fs vfs.FS) error {
			name := testBackup + "/data-000001/" + tableIn(fs)
			text, err := folder.ReadFile(fs, name)
			text[len(text)/2] ^= 1
			return errors.Join(err, folder.WriteFile(fs, name, text))
		}, layout.ErrDamaged},
		"half a receipt": {func(fs vfs.FS) error {
			text, err := folder.ReadFile(fs, testBackup+"/BACKUP")
			return errors.Join(err, folder.WriteFile(fs, testBackup+"/BACKUP", text[:len(text)-4]))
		}, Tools.ErrReceipt},
		"target in use": {func(fs vfs.FS) error {
			return errors.Join(fs.MkdirAll("restored", folder.Mode), folder.WriteFile(fs, "restored/x", nil))
		}, folder.ErrForeign},
		"": {func(vfs.FS) error { return nil }, nil},
	}
	for name, tt := range tests {
		fs := vfs.NewMem()
		e := openTest(t, fs, Options{})
		fill(t, e, "k", 'k')
		backUp(t, e, testBackup)
		closeTest(t, e)
		if err := tt.spoil(fs); err != nil {
			t.Fatal(name, err)
		}
		b, err := Tools.Restore(context.Background(), testBackup, "restored", fs)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if names, _ := fs.List("restored"); err != nil && slices.Contains(names, layout.RestoreName) {
			t.Errorf("%s: it left %q", name, names)
		}
		if err == nil && (len(b.Records) != 1 || b.Records[0] != 100) {
			t.Errorf("records %v, want 100 in database 0", b.Records)
		}
	}
}

// tableIn returns the name of a table of the backup.
func tableIn(fs vfs.FS) string {
	names, _ := fs.List(testBackup + "/data-000001")
	for _, name := range names {
		if layout.IsTable(name) {
			return name
		}
	}
	return "no table"
}

// Ensure that sizes go with the numbers that clients know the databases by.
func TestEngine_Backup_Records(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1_700_000_000_000)})
	put(t, e, "a", "1", ttl.Never)
	put(t, e, "b", "1", 5)
	update(t, e, func(tx storage.Txn) error { return tx.Swap(0, 3) })
	put(t, e, "c", "1", ttl.Never) // nobody synced it, and it is there
	b := backUp(t, e, testBackup)
	if want := map[int]int64{0: 1, 3: 2}; !maps.Equal(b.Records, want) || b.Made != 1_700_000_000_000 {
		t.Errorf("backup %+v, want records %v", b, want)
	}
	closeTest(t, e)
	r, err := Tools.Restore(context.Background(), testBackup, "restored", fs)
	if err != nil || !maps.Equal(r.Records, b.Records) || r.Made != b.Made {
		t.Errorf("restored %+v, %v, want %+v", r, err, b)
	}
}

// Ensure that Open drops what a killed backup has left: links to tables keep their space.
func TestOpen_DropsStage(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	closeTest(t, openTest(t, fs, Options{}))
	if err := fs.MkdirAll(fs.PathJoin(testDir, layout.StageName), folder.Mode); err != nil {
		t.Fatal(err)
	}
	closeTest(t, openTest(t, fs, Options{}))
	if _, err := fs.Stat(fs.PathJoin(testDir, layout.StageName)); err == nil {
		t.Error("the stage is still there")
	}
}
