package repair

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
)

func (h *past) check(t testing.TB) CheckReport {
	t.Helper()
	report, err := Check(context.Background(), storeDir, CheckOptions{FS: h.fs})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Ensure that an undamaged store has no problems, and that its sessions are counted.
func TestCheck_Sound(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	var done, total int64
	report, err := Check(context.Background(), storeDir, CheckOptions{FS: h.fs, Progress: func(d, of int64) {
		if d < done || d > of {
			t.Errorf("%d of %d bytes after %d", d, of, done)
		}
		done, total = d, of
	}})
	if err != nil {
		t.Fatal(err)
	}
	if report.Damage != 0 || len(report.Problems) != 0 {
		t.Errorf("problems: %v", report.Problems)
	}
	counts := map[int]int64{}
	for _, s := range h.sessions {
		counts[s.db]++
	}
	if len(report.Databases) != 2 {
		t.Fatalf("databases %+v", report.Databases)
	}
	for _, db := range report.Databases {
		if db.Sessions != counts[db.Database] {
			t.Errorf("database %d has %d sessions, want %d", db.Database, db.Sessions, counts[db.Database])
		}
	}
	if report.Tables < 4 || report.Bytes < 4e6 {
		t.Errorf("%d tables, %d bytes", report.Tables, report.Bytes)
	}
	if report.Changes != pastLogged || report.LogBytes < pastLogged/3*1000 {
		t.Errorf("%d changes in %d bytes of the log, want %d", report.Changes, report.LogBytes, pastLogged)
	}
	if done != total || total < report.Bytes {
		t.Errorf("%d of %d bytes read at the end", done, total)
	}
}

// Ensure that each way in which a store can be wrong is reported, by one line of its own.
func TestCheck_Problems(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	sound.settle(t) // what is changed in the tables alone the log might make anew
	opened := sound.open(t)
	counts := opened.head.Counts
	if err := opened.close(); err != nil {
		t.Fatal(err)
	}
	add := func(b *pebbledb.Batch, space uint16, n storage.Count) error {
		return b.Set(layout.Numbered(layout.KeyCount, space), layout.EncodeCount(tree.Sum(counts[space], n)), nil)
	}
	p, name, x := sound.some(t, 100)
	entryKey := layout.AppendRecordKey(nil, layout.PrefixHeader, p, name)
	valueKey := layout.AppendRecordKey(nil, layout.PrefixValue, p, name)
	setEntry := func(b *pebbledb.Batch, x layout.Header) error {
		raw := make([]byte, layout.HeaderSize)
		x.Encode(raw)
		return b.Set(entryKey, raw, nil)
	}
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	tests := []struct {
		name  string
		want  string // the line
		batch func(b *pebbledb.Batch) error
	}{
		{"no value", "an entry and no value", func(b *pebbledb.Batch) error { return b.Delete(valueKey, nil) }},
		{"no entry", "a value and no entry", func(b *pebbledb.Batch) error {
			return errors.Join(b.Delete(entryKey, nil), add(b, p.PhysicalDB(), storage.Count{Records: -1, Expiring: -1}))
		}},
		{"size", "another size", func(b *pebbledb.Batch) error { return b.Set(valueKey, []byte("short"), nil) }},
		{"entry", "makes no sense: the session", func(b *pebbledb.Batch) error { return b.Set(entryKey, []byte{1, 2}, nil) }},
		{"newer entry", "newer version", func(b *pebbledb.Batch) error { return b.Set(entryKey, []byte{99}, nil) }},
		{"key", "too short", func(b *pebbledb.Batch) error { return b.Set([]byte("dxy"), nil, nil) }},
		{"position", "does not belong", func(b *pebbledb.Batch) error {
			y := layout.Header{Kind: storage.KindString, Size: 1, Revision: 1}
			raw := make([]byte, layout.HeaderSize)
			y.Encode(raw)
			return errors.Join(b.Set(layout.AppendRecordKey(nil, layout.PrefixHeader, 5, []byte("x")), raw, nil),
				b.Set(layout.AppendRecordKey(nil, layout.PrefixValue, 5, []byte("x")), []byte("v"), nil),
				add(b, 0, storage.Count{Records: 1}))
		}},
		{"index", "the index lacks it", func(b *pebbledb.Batch) error { return b.Delete(layout.AppendIndexKey(nil, x.Indexed, p, name), nil) }},
		{"late index", "after its deadline", func(b *pebbledb.Batch) error {
			y := x
			y.Indexed = x.Deadline + 1
			return errors.Join(setEntry(b, y), tree.SetIndex(b, y.Indexed, p, name))
		}},
		{"fence", "believes to have been there", func(b *pebbledb.Batch) error {
			y := x
			y.Indexed = 10
			return errors.Join(setEntry(b, y), tree.SetIndex(b, y.Indexed, p, name), b.Set(layout.KeyFence, binary.BigEndian.AppendUint64(nil, 11), nil))
		}},
		{"index key", "index entry at time 7: it makes no sense", func(b *pebbledb.Batch) error { return tree.SetIndex(b, 7, 5, []byte("x")) }},
		{"count", "counter of database 1: it says ", func(b *pebbledb.Batch) error {
			return add(b, 1, storage.Count{Expiring: 1})
		}},
		{"count of nothing", "counter of database 9", func(b *pebbledb.Batch) error {
			return b.Set(layout.Numbered(layout.KeyCount, 9), layout.EncodeCount(storage.Count{Records: 1}), nil)
		}},
		{"bad count", "sizes of the databases cannot be read", func(b *pebbledb.Batch) error {
			return b.Set(layout.Numbered(layout.KeyCount, 9), []byte("three"), nil)
		}},
		{"revision", "its revision is higher", func(b *pebbledb.Batch) error {
			y := x
			y.Revision = 1 << 60
			return setEntry(b, y)
		}},
		{"reserved", "revision: the highest revision in use has 3 bytes", func(b *pebbledb.Batch) error { return b.Set(layout.KeyRevision, []byte("abc"), nil) }},
		{"format", "format: the version of the format is missing", func(b *pebbledb.Batch) error { return b.Delete(layout.KeyFormat, nil) }},
		{"seed", "seed: the key of the hash that gives each session its position is missing", func(b *pebbledb.Batch) error { return b.Delete(layout.KeySeed, nil) }},
		{"fence size", "fence: ", func(b *pebbledb.Batch) error { return b.Set(layout.KeyFence, number(1)[:7], nil) }},
		{"space", "swaps make no sense", func(b *pebbledb.Batch) error {
			return b.Set(layout.Numbered(layout.KeyPhysicalDB, 3), []byte{0, 1}, nil)
		}},
		{"space size", "swaps make no sense", func(b *pebbledb.Batch) error { return b.Set(layout.Numbered(layout.KeyPhysicalDB, 3), []byte{0}, nil) }},
		{"stranger", "keys that begin with byte 7a", func(b *pebbledb.Batch) error { return b.Set([]byte("zebra"), nil, nil) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := sound.clone(t)
			h.raw(t, tt.batch)
			h.reportsOne(t, tt.want)
		})
	}
}

// reportsOne checks that the store has exactly one problem, and no name in it.
func (h *past) reportsOne(t testing.TB, want string) {
	t.Helper()
	report := h.check(t)
	if report.Damage != 1 || len(report.Problems) != 1 {
		t.Fatalf("%d problems, want one: %v", report.Damage, report.Problems)
	}
	line := report.Problems[0].String()
	if !strings.Contains(line, want) {
		t.Errorf("reported %q, want something with %q", line, want)
	}
	if strings.Contains(line, "session-0") {
		t.Errorf("%q names a session", line)
	}
}

// Ensure that damage to each part of a file is reported with the file's name.
func TestCheck_Files(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	bottom, blocksOf := sound.table(t, 6, 1)
	top, _ := sound.table(t, 0, 0)
	frames := sound.frames(t)
	log, manifest, options := frames[9].file, sound.files(t, "MANIFEST-*")[0], sound.files(t, "OPTIONS-*")[0]
	half := func(b []byte) []byte { return b[:len(b)/2] }
	tests := []struct {
		name   string
		want   string
		others bool // what is lost with it is reported, too
		damage func(t *testing.T, h *past)
	}{
		{"data block", "table " + bottom, true, func(t *testing.T, h *past) { h.flip(t, bottom, int64(blocksOf.Data[20].Offset)+50) }},
		{"index block", "table " + bottom, true, func(t *testing.T, h *past) { h.flip(t, bottom, int64(blocksOf.Index[0].Offset)+50) }},
		{"filter", "table " + bottom, false, func(t *testing.T, h *past) { h.flip(t, bottom, int64(blocksOf.Filter[0].Offset)+50) }},
		{"properties", "table " + bottom, true, func(t *testing.T, h *past) { h.flip(t, bottom, int64(blocksOf.Properties.Offset)+5) }},
		{"footer", "table " + bottom, true, func(t *testing.T, h *past) { h.flip(t, bottom, int64(blocksOf.Footer.Offset)+5) }},
		{"short table", "table " + bottom, true, func(t *testing.T, h *past) { h.change(t, bottom, half) }},
		{"long table", "table " + bottom, true, func(t *testing.T, h *past) { h.change(t, bottom, func(b []byte) []byte { return append(b, 0) }) }},
		{"no table", "table " + bottom + " (level 6): the file, of ", true, func(t *testing.T, h *past) { h.remove(t, bottom) }},
		{"no new table", "table " + top + " (level 0): the file, of ", true, func(t *testing.T, h *past) { h.remove(t, top) }},
		{"log", "log " + log, true, func(t *testing.T, h *past) { h.flip(t, log, frames[9].from+30) }},
		{"manifest", "list of tables: ", false, func(t *testing.T, h *past) { h.flip(t, manifest, 60) }},
		{"end of manifest", "list of tables: ", false, func(t *testing.T, h *past) {
			h.flip(t, manifest, int64(len(readAll(t, h.fs, h.fs.PathJoin(storeDir, manifest))))-5)
		}},
		{"no manifest", "list of tables: ", false, func(t *testing.T, h *past) { h.remove(t, manifest) }},
		{"no marker", "list of tables: ", false, func(t *testing.T, h *past) { h.remove(t, h.files(t, "marker.manifest.*")[0]) }},
		{"options", options + ": ", false, func(t *testing.T, h *past) {
			h.change(t, options, func([]byte) []byte { return []byte("[Version]\n  pebble_version=0.1\n[Options]\n  comparer=none\n") })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := sound.clone(t)
			tt.damage(t, h)
			if !tt.others {
				h.reportsOne(t, tt.want)
				return
			}
			report := h.check(t)
			named := 0
			for _, p := range report.Problems {
				if strings.Contains(p.String(), tt.want) {
					named++
				}
			}
			if named != 1 || report.Damage < len(report.Problems) {
				t.Errorf("%d lines with %q among %v", named, tt.want, report.Problems)
			}
		})
	}
}

func (h *past) remove(t testing.TB, name string) {
	t.Helper()
	if err := h.fs.Remove(h.fs.PathJoin(storeDir, name)); err != nil {
		t.Fatal(err)
	}
}

// Ensure that an index that has to be read several times is compared as one read once.
func TestCheck_IndexInParts(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	h.settle(t) // what is changed in the tables alone the log might make anew
	for _, n := range []int{1, 700, 2000} {
		p, name, x := h.some(t, n)
		h.raw(t, func(b *pebbledb.Batch) error { return b.Delete(layout.AppendIndexKey(nil, x.Indexed, p, name), nil) })
	}
	last := h.lastIndex(t)
	h.raw(t, func(b *pebbledb.Batch) error { return b.Delete(last, nil) })
	for _, most := range []int{0, 1000, 333} {
		report, err := Check(context.Background(), storeDir, CheckOptions{FS: h.fs, mostExpected: most})
		if err != nil {
			t.Fatal(err)
		}
		if report.Damage != 4 {
			t.Errorf("%d at a time: problems %v, want 4", most, report.Problems)
		}
	}
}

// lastIndex returns the last key of the index.
func (h *past) lastIndex(t testing.TB) (key []byte) {
	t.Helper()
	s := h.open(t)
	it := s.cursor(layout.PrefixIndex, 0)
	for it.next() {
		key = append(key[:0], it.key()...)
	}
	it.close()
	if err := s.close(); err != nil || key == nil {
		t.Fatalf("last index key: %v", err)
	}
	return key
}

// Ensure that a store that was never opened where it lies gets no lock file, and that
// whoever opens it meanwhile is noticed.
func TestCheck_NoLock(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	h.remove(t, "LOCK")
	before := h.contents(t)
	if report := h.check(t); report.Damage != 0 {
		t.Errorf("problems: %v", report.Problems)
	}
	if after := h.contents(t); after != before {
		t.Error("Check changed the folder")
	}
	opened := false
	_, err := Check(context.Background(), storeDir, CheckOptions{FS: h.fs, Progress: func(int64, int64) {
		if !opened {
			opened = true
			writeAll(t, h.fs, h.fs.PathJoin(storeDir, "LOCK"), nil)
		}
	}})
	if !errors.Is(err, folder.ErrLocked) {
		t.Errorf("Check of a store that was opened meanwhile: %v, want %v", err, folder.ErrLocked)
	}
}

// Ensure that a store that is open is not checked, and one of a newer version neither.
func TestCheck_Refused(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	e := openStore(t, h.fs, storeDir)
	if _, err := Check(context.Background(), storeDir, CheckOptions{FS: h.fs}); !errors.Is(err, folder.ErrLocked) {
		t.Errorf("Check of an open store: %v, want %v", err, folder.ErrLocked)
	}
	closeStore(t, e, h.fs, storeDir)
	h.raw(t, func(b *pebbledb.Batch) error { return b.Set(layout.KeyFormat, []byte{0, 0, 1, 0}, nil) })
	if _, err := Check(context.Background(), storeDir, CheckOptions{FS: h.fs}); !errors.Is(err, layout.ErrNewerFormat) {
		t.Errorf("Check of a newer store: %v, want %v", err, layout.ErrNewerFormat)
	}
}

// Ensure that of many problems of one kind a hundred are told and all are counted.
func TestCheck_Many(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	h.raw(t, func(b *pebbledb.Batch) error {
		for i := range 250 {
			if err := tree.SetIndex(b, 7, layout.HashSlot(i), []byte("x")); err != nil {
				return err
			}
		}
		return nil
	})
	report := h.check(t)
	if report.Damage != 250 || len(report.Problems) != 101 || report.Problems[100].Where != "150 more" {
		t.Errorf("%d problems in %d lines, the last %v", report.Damage, len(report.Problems), report.Problems[len(report.Problems)-1])
	}
}
