package pebble

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// mapped is a mapped file of a file system in memory.
type mapped struct {
	b    []byte
	boot uint64
}

func (m *mapped) open(_ string, size int) (*mapping, error) {
	if m.b == nil {
		m.b = make([]byte, size)
	}
	return &mapping{m.b, m.boot, func() error { return nil }, func() error { return nil }}, nil
}

// after returns what is in the file after the end of the process of e.
func (m *mapped) after(e *Engine) *mapped {
	e.journal.mu.Lock()
	defer e.journal.mu.Unlock()
	return m.clone()
}

func (m *mapped) clone() *mapped { return &mapped{bytes.Clone(m.b), m.boot} }

// torn returns the file after the machine has started anew, with some of its pages as they were
// before.
func (m *mapped) torn(before *mapped, share int, rng *rand.Rand) *mapped {
	const page = 4 << 10
	b := bytes.Clone(m.b)
	for at := 0; at < len(b); at += page {
		if rng.IntN(100) >= share {
			copy(b[at:at+page], before.b[at:])
		}
	}
	return &mapped{b, m.boot + 1}
}

// waits reports whether a reply would wait for b.
func waits(e *Engine, b storage.Barrier) bool { return !e.flusher.covers(b) }

// afterKill opens what is left of a store after the end of its process.
func afterKill(t *testing.T, e *Engine, fs *vfs.MemFS, m *mapped) *Engine {
	t.Helper()
	left := m.after(e)
	clone := afterCrash(fs, kill, 1)
	return openTest(t, clone, Options{Durability: e.durability, mapFile: left.open})
}

// Ensure that a reply to a change of one record waits for nothing, and that the change is
// there after the end of the process, though the log does not have it.
func TestJournal_Kill(t *testing.T) {
	t.Parallel()
	fs, m := vfs.NewCrashableMem(), &mapped{}
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1), mapFile: m.open})
	defer closeTest(t, e)
	for _, name := range []string{"touched", "written", "deleted", "shorter", "for ever", "all"} {
		syncTo(t, e, put(t, e, name, "old", 1000))
	}
	remove := func(name string) storage.Barrier {
		return update(t, e, func(tx storage.Txn) error { return tx.Delete(keyOf(name)) }, keyOf(name))
	}
	for i, b := range []storage.Barrier{
		setDeadline(t, e, "touched", 2000),
		setDeadline(t, e, "touched", 3000),
		put(t, e, "written", "new", 500),
		put(t, e, "written", "newer", ttl.Never),
		remove("deleted"),
		setDeadline(t, e, "shorter", 10),
		setDeadline(t, e, "for ever", ttl.Never),
		setDeadline(t, e, "all", 7),
		put(t, e, "all", "newest", 8),
		setDeadline(t, e, "all", 9),
	} {
		if waits(e, b) {
			t.Errorf("change %d waits for %+v", i, b)
		}
	}
	survivor := afterKill(t, e, fs, m)
	for name, want := range map[string]image{
		"touched": {"old", 3000}, "written": {"newer", ttl.Never}, "deleted": {}, "shorter": {"old", 10},
		"for ever": {"old", ttl.Never}, "all": {"newest", 9},
	} {
		rec, found := get(t, survivor, name)
		if got := (image{string(rec.Value), rec.Deadline}); got != want || found != (want != image{}) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	closeTest(t, survivor)
}

// Ensure that a change is not made again if it rests on one that is lost, or if the record has
// moved on: it was deleted, written anew, or touched by what is in the log.
func TestJournal_OnlyWhatFollows(t *testing.T) {
	t.Parallel()
	fs, m := vfs.NewCrashableMem(), &mapped{}
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1), mapFile: m.open})
	defer closeTest(t, e)
	for _, name := range []string{"gone", "anew", "on"} {
		syncTo(t, e, put(t, e, name, "old", 1000))
		setDeadline(t, e, name, 2000)
	}
	stale := m.after(e)
	update(t, e, func(tx storage.Txn) error { return tx.Delete(keyOf("gone")) }, keyOf("gone"))
	update(t, e, func(tx storage.Txn) error { return tx.Delete(keyOf("anew")) }, keyOf("anew"))
	put(t, e, "anew", "new", 3000)
	setDeadline(t, e, "on", 1500)
	syncTo(t, e, storage.Barrier{System: e.order.issued.Load()})
	put(t, e, "lost", "value", 1000) // nobody waits for it
	setDeadline(t, e, "lost", 2000)
	for name, m := range map[string]*mapped{"of now": m, "of before the round": stale} {
		survivor := afterKill(t, e, fs, m)
		for name, want := range map[string]image{"gone": {}, "anew": {"new", 3000}, "on": {"old", 1500}, "lost": {}} {
			rec, found := get(t, survivor, name)
			if got := (image{string(rec.Value), rec.Deadline}); got != want || found != (want != image{}) {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if t.Failed() {
			t.Errorf("with the journal %s", name)
		}
		closeTest(t, survivor)
	}
}

// Ensure that a change of more than one record, one that read another, and one that creates a
// record are left to the log: a part of what led to them may be lost.
func TestJournal_OneRecordOnly(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{Durability: storage.EverySec, Clock: ttl.NewManual(1), mapFile: new(mapped).open})
	defer closeTest(t, e)
	put(t, e, "a", "value", 1000)
	put(t, e, "b", "value", 1000)
	syncTo(t, e, storage.Barrier{System: e.order.issued.Load()})
	a, b := keyOf("a"), keyOf("b")
	touch := func(tx storage.Txn) error { return tx.SetDeadline(a, 2000) }
	for name, change := range map[string]func() storage.Barrier{
		"creates": func() storage.Barrier { return put(t, e, "c", "value", 1000) },
		"touches both": func() storage.Barrier {
			return update(t, e, func(tx storage.Txn) error { _ = touch(tx); return tx.SetDeadline(b, 2000) }, a, b)
		},
		"reads the other": func() storage.Barrier {
			return update(t, e, func(tx storage.Txn) error { _, _, err := tx.Stat(b); _ = touch(tx); return err }, a, b)
		},
		"reads the size": func() storage.Barrier {
			return update(t, e, func(tx storage.Txn) error { _, err := tx.Len(0); _ = touch(tx); return err }, a)
		},
		"may read all": func() storage.Barrier { return update(t, e, touch) },
		"is large":     func() storage.Barrier { return put(t, e, "a", strings.Repeat("x", maxNote), 1000) },
	} {
		syncTo(t, e, storage.Barrier{System: e.order.issued.Load()})
		if !waits(e, change()) {
			t.Errorf("a change that %s waits for nothing", name)
		}
	}
}

// Ensure that a change is left to the log if the log has yet to hand over what its caller did or
// saw before: it would survive alone.
func TestJournal_After(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		e := openTest(t, vfs.NewMem(), Options{Durability: mode, Clock: ttl.NewManual(1), mapFile: new(mapped).open})
		k := keyOf("touched")
		syncTo(t, e, put(t, e, "touched", "value", 1000))
		touch := func(after storage.Barrier) bool {
			b, err := e.Update(t.Context(), storage.Scope{Keys: []storage.Key{k}, After: after}, func(tx storage.Txn) error {
				return tx.SetDeadline(k, 2000)
			})
			if err != nil {
				t.Fatal(err)
			}
			return !waits(e, b)
		}
		before := put(t, e, "new", "value", 1000)
		if touch(before) {
			t.Errorf("%s: a change waits for nothing though the one before it was not handed over", name)
		}
		syncTo(t, e, before.Join(storage.Barrier{System: e.order.issued.Load()}))
		if kept := touch(before); kept != (mode != storage.Strict) {
			t.Errorf("%s: once it is handed over, a change waits for nothing: %v", name, kept)
		}
		closeTest(t, e)
	}
}

// Ensure that changes which are made again while a store opens are not written over those in the
// journal: the process may end before the log has them.
func TestJournal_IsReadFirst(t *testing.T) {
	t.Parallel()
	fs, m := vfs.NewCrashableMem(), &mapped{}
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1), mapFile: m.open})
	defer closeTest(t, e)
	syncTo(t, e, put(t, e, "name", "value", 1000))
	setDeadline(t, e, "name", 2000)
	left := m.after(e)
	before := bytes.Clone(left.b)
	disk := &countingFS{FS: afterCrash(fs, kill, 1)}
	opening, syncs := true, 0
	var look func() // in each sync of the log
	look = func() {
		disk.during.Store(&look)
		if syncs++; opening && !bytes.Equal(left.b, before) {
			t.Error("the journal was written to before the log had what it holds")
		}
	}
	disk.during.Store(&look)
	survivor := openTest(t, disk, Options{Durability: storage.EverySec, mapFile: left.open})
	opening = false
	disk.during.Store(nil)
	if rec, _ := get(t, survivor, "name"); rec.Deadline != 2000 || syncs == 0 {
		t.Errorf("deadline %d after %d syncs, want 2000 after one or more", rec.Deadline, syncs)
	}
	closeTest(t, survivor)
}

// Ensure that a record is found after its database has got another number.
func TestJournal_AfterSwap(t *testing.T) {
	t.Parallel()
	fs, m := vfs.NewCrashableMem(), &mapped{}
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), mapFile: m.open})
	defer closeTest(t, e)
	put(t, e, "name", "value", 1000)
	syncTo(t, e, update(t, e, func(tx storage.Txn) error { return tx.Swap(0, 3) }))
	k := storage.Key{DB: 3, Name: []byte("name")}
	syncTo(t, e, update(t, e, func(tx storage.Txn) error { return tx.SetDeadline(k, 2000) }, k))
	survivor := afterKill(t, e, fs, m)
	defer closeTest(t, survivor)
	_, err := survivor.View(t.Context(), storage.Scope{Keys: []storage.Key{k}}, func(r storage.Reader) error {
		rec, _, err := r.Stat(k)
		if rec.Deadline != 2000 {
			t.Errorf("deadline %d, want 2000", rec.Deadline)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Ensure that a full half makes changes wait for the log, which empties it.
func TestJournal_Full(t *testing.T) {
	t.Parallel()
	m := &mapped{}
	e := openTest(t, vfs.NewMem(), Options{Clock: ttl.NewManual(1), mapFile: m.open})
	defer closeTest(t, e)
	syncTo(t, e, put(t, e, "name", "value", 1000))
	per := (journalHalf - halfHead) / (noteHead + len("name"))
	for round := range 3 {
		for i := range per {
			if b := setDeadline(t, e, "name", ttl.Instant(2000+i+round*per)); waits(e, b) {
				t.Fatalf("round %d: change %d of %d waits", round, i, per)
			}
		}
		b := setDeadline(t, e, "name", ttl.Instant(1999+(round+1)*per)+1)
		if !waits(e, b) {
			t.Fatal("a change waits for nothing though the journal is full")
		}
		syncTo(t, e, b)
	}
}

// Ensure that a change is in the journal until the log has it: while a round is under way, those
// from before it and those since.
func TestJournal_DuringRound(t *testing.T) {
	t.Parallel()
	disk, m := vfs.NewCrashableMem(), &mapped{}
	var hold atomic.Bool
	held, goOn := make(chan struct{}), make(chan struct{})
	before := func(op fileOp) error {
		if is(opWrite, "*.log")(op) && hold.CompareAndSwap(true, false) {
			close(held)
			<-goOn
		}
		return nil
	}
	fs := &tapFS{FS: disk, before: before, after: func(fileOp) {}}
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1), mapFile: m.open})
	defer closeTest(t, e)
	check := func(when string, deadlines ...ttl.Instant) {
		t.Helper()
		survivor := afterKill(t, e, disk, m)
		defer closeTest(t, survivor)
		for i, want := range deadlines {
			if rec, _ := get(t, survivor, fmt.Sprint(i)); rec.Deadline != want {
				t.Errorf("%s: deadline %d of record %d, want %d", when, rec.Deadline, i, want)
			}
		}
	}
	for i := range 3 {
		syncTo(t, e, put(t, e, fmt.Sprint(i), "value", 1000))
	}
	setDeadline(t, e, "0", 2000)
	hold.Store(true)
	var round sync.WaitGroup
	round.Go(func() { syncTo(t, e, storage.Barrier{System: e.order.issued.Load()}) })
	<-held
	setDeadline(t, e, "1", 3000)
	check("during the round", 2000, 3000)
	close(goOn)
	round.Wait()
	setDeadline(t, e, "2", 4000)
	check("after the round", 2000, 3000, 4000)
}

// Ensure that the end of a round forgets what was kept before it began, and nothing else.
func TestJournal_Halves(t *testing.T) {
	t.Parallel()
	m := &mapped{}
	e := openTest(t, vfs.NewMem(), Options{mapFile: m.open})
	defer closeTest(t, e)
	keep := func(revision uint64) {
		c := &cell{name: []byte("name"), was: entry{revision: revision}, existed: true, exists: true}
		if !e.journal.keep(c) {
			t.Fatalf("change %d is not kept", revision)
		}
	}
	keep(1)
	for n := range uint64(4) {
		e.journal.turn()
		keep(n + 2)
		e.journal.forget()
		first, _ := decodeHalf(m.b[:journalHalf], 0)
		second, _ := decodeHalf(m.b[journalHalf:], 0)
		if notes := append(first, second...); len(notes) != 1 || notes[0].before != n+2 {
			t.Errorf("after round %d there are %+v", n+1, notes)
		}
	}
}

// Ensure that what has survived in the journal is safe before its file is used again, and
// that a clean end leaves nothing in it.
func TestJournal_MadeAgainIsSafe(t *testing.T) {
	t.Parallel()
	fs, m := vfs.NewCrashableMem(), &mapped{}
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), mapFile: m.open})
	syncTo(t, e, put(t, e, "name", "value", 1000))
	setDeadline(t, e, "name", 2000)
	left := m.after(e)
	clone := afterCrash(fs, kill, 1)
	second := openTest(t, clone, Options{Clock: ttl.NewManual(1), mapFile: left.open})
	third := openTest(t, clone.CrashClone(vfs.CrashCloneCfg{}), Options{}) // a power cut, and no journal
	if rec, _ := get(t, third, "name"); rec.Deadline != 2000 {
		t.Errorf("deadline %d, want 2000", rec.Deadline)
	}
	for _, e := range []*Engine{e, second, third} {
		closeTest(t, e)
	}
	for half := range 2 {
		if notes, sound := decodeHalf(m.b[half*journalHalf:][:journalHalf], 0); len(notes) > 0 || !sound {
			t.Errorf("half %d has %d changes after a clean end, sound %v", half, len(notes), sound)
		}
	}
}

// Ensure that whatever is in the file, what is not damaged is found up to the damage, and the
// store opens.
func TestJournal_Damage(t *testing.T) {
	t.Parallel()
	fs, m := vfs.NewCrashableMem(), &mapped{}
	e := openTest(t, fs, Options{Clock: ttl.NewManual(1), mapFile: m.open})
	const names = 20
	for i := range names {
		syncTo(t, e, put(t, e, fmt.Sprint("name", i), "value", 1000))
	}
	for i := range names {
		setDeadline(t, e, fmt.Sprint("name", i), 2000)
	}
	half := m.after(e).b[e.journal.active*journalHalf:][:journalHalf]
	whole, sound := decodeHalf(half, 0)
	if len(whole) != names || !sound {
		t.Fatalf("%d changes, sound %v", len(whole), sound)
	}
	used := e.journal.used[e.journal.active]
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		b := bytes.Clone(half)
		at := rng.IntN(used)
		b[at] ^= byte(1 + rng.IntN(255))
		notes, sound := decodeHalf(b, 0)
		if at < halfHead {
			continue // it seems to be another kind of file, or to end elsewhere
		}
		if sound || len(notes) > (at-halfHead)/(used/names)+1 {
			t.Fatalf("byte %d of %d: %d changes, sound %v", at, used, len(notes), sound)
		}
		for i, n := range notes {
			if n.before != whole[i].before || n.now != whole[i].now || !bytes.Equal(n.name, whole[i].name) {
				t.Fatalf("byte %d: change %d is %+v", at, i, n)
			}
		}
	}
	for _, at := range []int{0, usedAt, halfHead, used / 2} {
		damaged := m.after(e)
		damaged.b[e.journal.active*journalHalf+at] ^= 0xff
		closeTest(t, afterKill(t, e, fs, damaged))
	}
	closeTest(t, e)
}

// Ensure that a file that is taken away under the mapping costs the journal and nothing else.
func TestJournal_Fault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := Open(dir, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1)})
	if err != nil {
		t.Fatal(err)
	}
	if e.journal.size() == 0 {
		closeTest(t, e)
		t.Skip("no files are mapped on this system")
	}
	syncTo(t, e, put(t, e, "name", "value", 1000))
	if b := setDeadline(t, e, "name", 1500); waits(e, b) {
		t.Errorf("with a journal a change waits for %+v", b)
	}
	if err := os.Truncate(filepath.Join(dir, journalName), 0); err != nil {
		t.Fatal(err)
	}
	b := setDeadline(t, e, "name", 2000)
	if !waits(e, b) {
		t.Error("without a journal a change waits for nothing")
	}
	syncTo(t, e, b)
	closeTest(t, e)
	if e, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	if rec, _ := get(t, e, "name"); rec.Deadline != 2000 {
		t.Errorf("deadline %d, want 2000", rec.Deadline)
	}
	closeTest(t, e)
}

// Ensure that a disk that has no room for the file is no reason not to open.
func TestJournal_None(t *testing.T) {
	t.Parallel()
	e := openTest(t, vfs.NewMem(), Options{mapFile: func(string, int) (*mapping, error) { return nil, os.ErrPermission }})
	syncTo(t, e, put(t, e, "name", "value", 1000))
	if b := setDeadline(t, e, "name", 2000); !waits(e, b) {
		t.Error("without a journal a change waits for nothing")
	}
	closeTest(t, e)
}

func FuzzDecodeHalf(f *testing.F) {
	n := note{place: 1, name: []byte("name"), before: 2, what: noteValue, now: entry{revision: 3, deadline: 4}, value: []byte("value")}
	half := n.append(append([]byte(journalMagic), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(halfHead+n.size())))
	f.Add(half)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < halfHead {
			return
		}
		notes, _ := decodeHalf(b, 0)
		again := slices.Clone(b[:halfHead])
		for i := range notes {
			again = notes[i].append(again)
		}
		if !bytes.HasPrefix(b, again) {
			t.Errorf("%d changes of %x come back as %x", len(notes), b, again)
		}
	})
}

func BenchmarkJournal_Keep(b *testing.B) {
	e := openTest(b, vfs.NewMem(), Options{mapFile: new(mapped).open})
	defer func() { _ = e.Close() }()
	c := &cell{place: 1, name: []byte("sess:0123456789abcdef0123456789abcdef"), existed: true, exists: true}
	b.ReportAllocs()
	for b.Loop() {
		if !e.journal.keep(c) {
			e.journal.turn()
			e.journal.forget()
		}
	}
}
