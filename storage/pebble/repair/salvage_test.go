package repair

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/logfile"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
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
	pastLogged   = 3 * (pastSessions/30 + 1) // changes that only the log has
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
	m := &markFile{}
	e, db := openStill(t, fs, m)
	rng := rand.New(rand.NewPCG(1, 2))
	each := func(from, step int, fn func(i int, tx storage.Txn, k storage.Key)) {
		for i := from; i < pastSessions; i += step {
			k := storage.Key{DB: i % 2, Name: fmt.Appendf(nil, "session-%06d", i)}
			changeStore(t, e, func(tx storage.Txn) error { fn(i, tx, k); return nil }, k)
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
	follow(t, e)
	if err := db.Compact(context.Background(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	each(1, 10, end)
	each(2, 10, put)
	each(3, 10, touch)
	follow(t, e)
	each(4, 30, end)
	each(5, 30, put)
	each(6, 30, touch)
	if err := e.Sync(context.Background(), storage.Everything); err != nil {
		t.Fatal(err)
	}
	killed := h.clone(t) // the log has what came since the checkpoint
	writeAll(t, killed.fs, killed.fs.PathJoin(storeDir, "log.mark"), slices.Clone(m.b))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return killed
}

// settle brings to the tables what only the log has.
func (h *past) settle(t testing.TB) {
	t.Helper()
	e, _ := openStill(t, h.fs, &markFile{})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// clone copies the history, to be damaged.
func (h *past) clone(t testing.TB) *past {
	t.Helper()
	fs := vfs.NewMem()
	if _, err := vfs.Clone(h.fs, fs, storeDir, storeDir, vfs.CloneSync); err != nil {
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
	if _, err := f.Write(slices.Clone(b)); err != nil { // a file may do with it what it likes
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// change rewrites a file of the store.
func (h *past) change(t testing.TB, name string, fn func(b []byte) []byte) {
	t.Helper()
	path := h.fs.PathJoin(storeDir, name)
	writeAll(t, h.fs, path, fn(readAll(t, h.fs, path)))
}

func (h *past) flip(t testing.TB, name string, at int64) {
	t.Helper()
	h.change(t, name, func(b []byte) []byte { b[at] ^= 0x55; b[at+1] ^= 0xaa; return b })
}

// files returns the names that match a pattern, in order.
func (h *past) files(t testing.TB, pattern string) (names []string) {
	t.Helper()
	all, err := h.fs.List(storeDir)
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

// open opens what is left of the store.
func (h *past) open(t testing.TB) *salvage {
	t.Helper()
	s, err := openSalvage(storeDir, h.fs, func(int) {})
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
		f, err := h.fs.Open(h.fs.PathJoin(storeDir, tab.name))
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
		blocksOf, err := r.Layout()
		if err != nil {
			t.Fatal(err)
		}
		return tab.name, blocksOf
	}
	t.Fatalf("level %d has too few tables: %+v", level, s.tables)
	return "", nil
}

// raw writes to the store behind the engine's back.
func (h *past) raw(t testing.TB, fn func(b *pebbledb.Batch) error) {
	t.Helper()
	db, err := pebbledb.Open(storeDir, tree.Options(tree.Config{
		FS: h.fs, MemTableBytes: 8 << 20, Logger: slog.New(slog.DiscardHandler), Fatal: func(err error) { panic(err) },
	}))
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	if err := errors.Join(fn(b), b.Commit(pebbledb.NoSync), db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// some returns the place, name and entry of a session with a deadline that the log has nothing of,
// the n-th in order.
func (h *past) some(t testing.TB, n int) (p layout.HashSlot, name []byte, x layout.Header) {
	t.Helper()
	s := h.open(t)
	defer func() { _ = s.close() }()
	_, _, err := s.walk(context.Background(), func(f *found) error {
		var i int
		if _, err := fmt.Sscanf(string(f.name), "session-%06d", &i); err != nil {
			return err
		}
		logged := i%30 == 4 || i%30 == 5 || i%30 == 6
		if f.judge(&s.head) == whole && f.entry.Deadline != ttl.Never && !logged {
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

// Ensure that nothing can be changed through the view of a damaged store.
func TestSalvageFS_ReadOnly(t *testing.T) {
	t.Parallel()
	s := &salvageFS{FS: vfs.NewMem(), memory: vfs.NewMem()}
	writeAll(t, s.FS, "a", []byte("kept"))
	f, err := s.Create("b", vfs.WriteCategoryUnspecified)
	if err := errors.Join(err, f.Close(), s.Rename("b", "c"), s.Remove("a"), s.MkdirAll("d", 0o700)); err != nil {
		t.Error(err)
	}
	_, open := s.OpenReadWrite("a", vfs.WriteCategoryUnspecified)
	_, reuse := s.ReuseForWrite("a", "b", vfs.WriteCategoryUnspecified)
	for what, err := range map[string]error{
		"OpenReadWrite": open, "ReuseForWrite": reuse, "Link": s.Link("a", "b"),
		"RemoveAll": s.RemoveAll("a"), "Rename": s.Rename("a", "b"),
	} {
		if err == nil {
			t.Errorf("%s was allowed", what)
		}
	}
	if names, _ := s.FS.List(""); len(names) != 1 || string(readAll(t, s.FS, "a")) != "kept" {
		t.Errorf("the folder has %v", names)
	}
}

// pastFrame is a frame of the log that the tables do not have.
type pastFrame struct {
	file           string
	from, used, to int64 // in the file: behind used it is filled up
	names          []string
	kinds          []layout.ChangeKind
}

// frames returns the frames that the tables do not have.
func (h *past) frames(t testing.TB) (list []pastFrame) {
	t.Helper()
	config := wal.Config{FS: logfile.FS{FS: h.fs, ReadOnly: true}, Dir: storeDir, Segments: wal.MaxSegments}
	files := map[wal.LSN]string{} // by their beginning
	size := wal.LSN(0)
	for _, name := range h.files(t, "log.*[0-9]") {
		b := readAll(t, h.fs, h.fs.PathJoin(storeDir, name))
		begin := wal.LSN(binary.LittleEndian.Uint64(b[32:]))
		files[begin], size = name, wal.LSN(len(b))
	}
	_, err := wal.Inspect(config, 0, func(f wal.Frame) error {
		begin := f.LSN / size * size
		x := pastFrame{file: files[begin], to: int64(f.LSN - begin)}
		n := int64(wal.HeaderSize + len(f.Payload))
		x.from = (x.to - n) &^ 7
		x.used = x.from + n
		list = append(list, x)
		return layout.EachChange(f.Payload, func(c *layout.Change) error {
			x := &list[len(list)-1]
			x.names, x.kinds = append(x.names, string(c.Name)), append(x.kinds, c.Kind)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// log returns the name of the segment that holds the newest changes.
func (h *past) log(t testing.TB) string {
	t.Helper()
	frames := h.frames(t)
	return frames[len(frames)-1].file
}
