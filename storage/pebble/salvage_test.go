package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// past is a closed store with a history over several levels: the bottom one has several
// tables, and tables above and a log hold what happened since.
type past struct {
	fs       vfs.FS
	sessions map[string]session
	ended    map[string]bool
}

type session struct {
	db       int
	value    string
	deadline ttl.Instant
}

const (
	pastSessions = 4000
	pastNow      = ttl.Instant(1_000_000)
)

// sharedPast is one history for all tests, which clone it.
var sharedPast struct {
	sync.Once
	h *past
}

func soundPast(t testing.TB) *past {
	t.Helper()
	sharedPast.Do(func() { sharedPast.h = livePast(t, vfs.NewMem()) })
	return sharedPast.h.clone(t)
}

// livePast makes a history. Session i was last touched by what i%10 says.
func livePast(t testing.TB, fs vfs.FS) *past {
	t.Helper()
	h := &past{fs, map[string]session{}, map[string]bool{}}
	e := openStill(t, fs)
	rng := rand.New(rand.NewPCG(1, 2))
	each := func(from, step int, fn func(i int, tx storage.Txn, k storage.Key)) {
		for i := from; i < pastSessions; i += step {
			k := storage.Key{DB: i % 2, Name: fmt.Appendf(nil, "session-%06d", i)}
			update(t, e, func(tx storage.Txn) error { fn(i, tx, k); return nil }, k)
		}
	}
	put := func(i int, tx storage.Txn, k storage.Key) {
		value := make([]byte, 900+rng.IntN(200))
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		s := session{k.DB, string(value), pastNow + ttl.Instant(rng.IntN(1e6))}
		if i%7 == 0 {
			s.deadline = ttl.Never
		}
		h.sessions[string(k.Name)] = s
		delete(h.ended, string(k.Name))
		if err := tx.Put(k, storage.Record{Kind: storage.KindString, Value: value, Deadline: s.deadline}); err != nil {
			t.Fatal(err)
		}
	}
	end := func(_ int, tx storage.Txn, k storage.Key) {
		delete(h.sessions, string(k.Name))
		h.ended[string(k.Name)] = true
		if err := tx.Delete(k); err != nil {
			t.Fatal(err)
		}
	}
	touch := func(_ int, tx storage.Txn, k storage.Key) {
		s := h.sessions[string(k.Name)]
		s.deadline = pastNow + 3e6
		h.sessions[string(k.Name)] = s
		if err := tx.SetDeadline(k, s.deadline); err != nil {
			t.Fatal(err)
		}
	}
	each(0, 1, put)
	if err := e.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	each(1, 10, end)
	each(2, 10, put)
	each(3, 10, touch)
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	each(4, 30, end)
	each(5, 30, put)
	each(6, 30, touch)
	closeTest(t, e)
	return h
}

// openStill opens the store on fs as Open does, but nothing is compacted unless asked for,
// and then into tables of about a quarter of a megabyte.
func openStill(t testing.TB, fs vfs.FS) *Engine {
	t.Helper()
	opts := Options{fs: fs, Fatal: func(err error) { panic(err) }, memTableSize: 8 << 20}.withDefaults()
	lock, err := lockFolder(fs, testDir)
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(opts, lock)
	e.home = newHome(fs, testDir)
	e.stop = func() {}
	e.synced = openSynced(fs, testDir, marks{}, opts.Logger)
	p := opts.pebble(walFS{FS: fs, dir: &folder{}, demand: &e.flusher.demand, synced: e.synced, fail: opts.Fatal}, lock)
	p.DisableAutomaticCompactions = true
	for i := range p.TargetFileSizes {
		p.TargetFileSizes[i] = 256 << 10
	}
	if e.db, err = pebbledb.Open(testDir, p); err != nil {
		t.Fatal(err)
	}
	if err := e.load(); err != nil {
		t.Fatal(err)
	}
	return e
}

// clone copies the history, to be damaged.
func (h *past) clone(t testing.TB) *past {
	t.Helper()
	fs := vfs.NewMem()
	if _, err := vfs.Clone(h.fs, fs, testDir, testDir, vfs.CloneSync); err != nil {
		t.Fatal(err)
	}
	return &past{fs, h.sessions, h.ended}
}

func readAll(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeAll(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// change rewrites a file of the store.
func (h *past) change(t testing.TB, name string, fn func(b []byte) []byte) {
	t.Helper()
	path := h.fs.PathJoin(testDir, name)
	writeAll(t, h.fs, path, fn(readAll(t, h.fs, path)))
}

func (h *past) flip(t testing.TB, name string, at int64) {
	t.Helper()
	h.change(t, name, func(b []byte) []byte { b[at] ^= 0x55; b[at+1] ^= 0xaa; return b })
}

// files returns the names that match a pattern, in order.
func (h *past) files(t testing.TB, pattern string) (names []string) {
	t.Helper()
	all, err := h.fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if ok, _ := filepath.Match(pattern, name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// log returns the name of the log that holds the newest changes.
func (h *past) log(t testing.TB) string {
	t.Helper()
	s := h.open(t)
	defer func() { _ = s.close() }()
	return s.view.logs[len(s.view.logs)-1].name
}

// open opens what is left of the store.
func (h *past) open(t testing.TB) *salvage {
	t.Helper()
	s, err := openSalvage(testDir, h.fs, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// table returns the i-th table of a level, and where its blocks lie.
func (h *past) table(t testing.TB, level, i int) (string, *sstable.Layout) {
	t.Helper()
	s := h.open(t)
	defer func() { _ = s.close() }()
	for _, tab := range s.tables {
		if tab.level != level {
			continue
		}
		if i--; i >= 0 {
			continue
		}
		f, err := h.fs.Open(h.fs.PathJoin(testDir, tab.name))
		if err != nil {
			t.Fatal(err)
		}
		var readable objstorage.Readable
		if readable, err = sstable.NewSimpleReadable(f); err != nil {
			t.Fatal(err)
		}
		r, err := sstable.NewReader(context.Background(), readable, s.pebble.MakeReaderOptions())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		layout, err := r.Layout()
		if err != nil {
			t.Fatal(err)
		}
		return tab.name, layout
	}
	t.Fatalf("level %d has too few tables: %+v", level, s.tables)
	return "", nil
}

// raw writes to the store behind the engine's back.
func (h *past) raw(t testing.TB, fn func(b *pebbledb.Batch) error) {
	t.Helper()
	opts := Options{fs: h.fs, Fatal: func(err error) { panic(err) }}.withDefaults()
	db, err := pebbledb.Open(testDir, opts.pebble(h.fs, nil))
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	if err := errors.Join(fn(b), b.Commit(pebbledb.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// some returns the place, name and entry of a session with a deadline, the n-th in order.
func (h *past) some(t testing.TB, n int) (p place, name []byte, x entry) {
	t.Helper()
	s := h.open(t)
	defer func() { _ = s.close() }()
	_, _, err := s.walk(context.Background(), func(f *found) error {
		if f.judge(&s.head) == whole && f.entry.deadline != ttl.Never {
			if n--; n == 0 {
				p, name, x = f.place, bytes.Clone(f.name), f.entry
			}
		}
		return nil
	})
	if err != nil || name == nil {
		t.Fatalf("no such session: %v", err)
	}
	return p, name, x
}

// Ensure that a log is read around its damage, and only as far as it was safe.
func TestSalvageLog(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	name := h.log(t)
	number, _, _ := parseSynced(name)
	b := readAll(t, h.fs, h.fs.PathJoin(testDir, name))
	pieces, closed := readPieces(b, number, nil)
	if len(pieces) != 1 || !closed || pieces[0].from != 0 || pieces[0].end < 4*chunkBlock {
		t.Fatalf("an intact log: closed %v, %+v", closed, pieces)
	}
	all := usedRecords(b, number, pieces[0].end)
	end := pieces[0].end
	open := slices.Clone(b)
	clear(open[end-logHead:]) // as if it had not been closed
	const block = chunkBlock
	tests := []struct {
		name   string
		log    []byte
		flip   []int64 // offsets
		cut    int64
		safe   int64
		newest bool
		damage int   // stretches
		lost   int64 // most bytes that may be lost
	}{
		{name: "closed", log: b, newest: true},
		{name: "open", log: open, safe: end - logHead, newest: true},
		{name: "flip", log: b, flip: []int64{1000}, newest: true, damage: 1, lost: 2 * block},
		{name: "two flips", log: b, flip: []int64{1000, 3*block + 10}, newest: true, damage: 2, lost: 4 * block},
		{name: "flip in the last block", log: b, flip: []int64{end - 100}, safe: end, newest: true, damage: 1, lost: block},
		{name: "flip in an open log", log: open, flip: []int64{block + 10}, safe: 3 * block, newest: true, damage: 1, lost: 2 * block},
		{name: "hole behind what is safe", log: open, flip: []int64{3*block + 10}, safe: 2 * block, newest: true, lost: end},
		{name: "damage, then a hole", log: open, flip: []int64{100, 3*block + 10}, safe: 2 * block, newest: true, damage: 1, lost: end},
		{name: "cut", log: b, cut: 2 * block, safe: end, newest: true, damage: 1, lost: end},
		{name: "cut and nobody knows", log: b, cut: 2 * block, newest: true, lost: end},
		{name: "cut and not the newest", log: b, cut: 2*block + 10, damage: 1, lost: end},
		{name: "first byte", log: b, flip: []int64{0}, safe: end, newest: true, damage: 1, lost: 2 * block},
		{name: "not there", log: nil, safe: end, newest: true, damage: 1, lost: end},
	}
	for _, tt := range tests {
		c := slices.Clone(tt.log)
		for _, at := range tt.flip {
			c[at] ^= 0x10
		}
		if tt.cut > 0 {
			c = c[:tt.cut]
		}
		used, damage := salvageLog(c, number, tt.safe, tt.newest)
		records := usedRecords(c, number, used)
		if len(damage) != tt.damage {
			t.Errorf("%s: damage %v, want %d", tt.name, damage, tt.damage)
		}
		next := 0 // each record is one of the intact log, in order
		var kept int64
		for _, r := range records {
			for next < len(all) && !bytes.Equal(all[next], r) {
				next++
			}
			kept += int64(len(r)) + logHead
			if next++; next > len(all) {
				t.Fatalf("%s: a record that nobody wrote", tt.name)
			}
		}
		if lost := end - kept; lost > tt.lost+block {
			t.Errorf("%s: %d of %d bytes are lost", tt.name, lost, end)
		}
	}
}

// usedRecords returns the readable records up to an offset.
func usedRecords(log []byte, number uint64, used int64) (records [][]byte) {
	readPieces(log, number, func(at int64, r []byte) {
		if at < used {
			records = append(records, bytes.Clone(r))
		}
	})
	return records
}

// Ensure that bytes in a value that look like a chunk are not taken for one, when the chunk
// that holds them cannot be read.
func TestSalvageLog_Forged(t *testing.T) {
	t.Parallel()
	const number = 7
	chunk := func(payload []byte) []byte {
		c := make([]byte, logHead, logHead+len(payload))
		c = append(c, payload...)
		binary.LittleEndian.PutUint16(c[4:], uint16(len(payload)))
		c[6] = chunkWhole + logChunks
		binary.LittleEndian.PutUint32(c[7:], number)
		binary.LittleEndian.PutUint32(c, chunkSum(c[6:]))
		return c
	}
	forged := chunk([]byte("end the session of somebody"))
	b := chunk(append(make([]byte, 100), forged...))
	if records := usedRecords(b, number, int64(len(b))); len(records) != 1 {
		t.Fatalf("%d records in an intact log", len(records))
	}
	b[20] ^= 1
	used, damage := salvageLog(b, number, int64(len(b)), true)
	if used != 0 || len(damage) != 1 || len(usedRecords(b, number, int64(len(b)))) != 0 {
		t.Errorf("used up to %d, damage %v", used, damage)
	}
}

// Ensure that nothing can be changed through the view of a damaged store.
func TestSalvageFS_ReadOnly(t *testing.T) {
	t.Parallel()
	s := &salvageFS{FS: vfs.NewMem()}
	writeAll(t, s.FS, "a", []byte("kept"))
	_, create := s.Create("b", vfs.WriteCategoryUnspecified)
	_, open := s.OpenReadWrite("a", vfs.WriteCategoryUnspecified)
	_, reuse := s.ReuseForWrite("a", "b", vfs.WriteCategoryUnspecified)
	for what, err := range map[string]error{
		"Create": create, "OpenReadWrite": open, "ReuseForWrite": reuse, "Link": s.Link("a", "b"),
		"Remove": s.Remove("a"), "RemoveAll": s.RemoveAll("a"), "Rename": s.Rename("a", "b"), "MkdirAll": s.MkdirAll("b", 0o700),
	} {
		if err == nil {
			t.Errorf("%s was allowed", what)
		}
	}
	if names, _ := s.FS.List(""); len(names) != 1 || string(readAll(t, s.FS, "a")) != "kept" {
		t.Errorf("the folder has %v", names)
	}
}
