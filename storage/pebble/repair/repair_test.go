package repair

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

const repairedDir = "repaired"

func (h *past) repair(t testing.TB) RepairReport {
	t.Helper()
	report, err := Repair(context.Background(), storeDir, repairedDir, RepairOptions{FS: h.fs})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// repaired reads all sessions of the new store.
func (h *past) repaired(t testing.TB) map[string]session {
	t.Helper()
	e, err := pebble.Open(repairedDir, pebble.Options{FS: h.fs, OnFailure: func(err error) { panic(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, e, h.fs, repairedDir)
	return readSessions(t, e)
}

// readSessions returns all that a store has.
func readSessions(t testing.TB, e *pebble.Engine) map[string]session {
	t.Helper()
	all := map[string]session{}
	for db := range 2 {
		_, err := e.View(context.Background(), storage.Whole, func(r storage.Reader) error {
			var failed error
			_, err := r.Scan(db, 0, 1e9, func(k storage.Key, _ storage.Record) bool {
				rec, found, err := r.Get(k)
				if err != nil || !found {
					failed = errors.Join(failed, err, fmt.Errorf("%q is gone", k.Name))
				}
				all[string(k.Name)] = session{db, string(rec.Value), rec.Deadline}
				return true
			})
			return errors.Join(err, failed)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// gaps returns what cannot be read of the old store: entries and values.
func (h *past) gaps(t testing.TB) (entries, values []gap, seed layout.Seed) {
	t.Helper()
	s := h.open(t)
	defer func() { _ = s.close() }()
	entries, values, err := s.walk(context.Background(), func(*found) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return entries, values, s.head.Seed
}

// Ensure that every session that damage did not touch is in the repaired store as it was,
// that no ended one is, that the report's numbers are true, and that damage costs no more
// than what it touches.
func TestRepair(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	bottom, blocksOf := sound.table(t, 6, 1)
	top, above := sound.table(t, 0, 0)
	log := sound.log(t)
	p, name, x := sound.some(t, 100)
	one := string(name)
	blocks := func(table string, offsets ...uint64) func(*testing.T, *past) {
		return func(t *testing.T, h *past) {
			for _, at := range offsets {
				h.flip(t, table, int64(at)+50)
			}
		}
	}
	raw := func(fn func(*pebbledb.Batch) error) func(*testing.T, *past) {
		return func(t *testing.T, h *past) { h.raw(t, fn) }
	}
	tests := []struct {
		name   string
		damage func(*testing.T, *past)
		most   int    // sessions that may be lost
		least  int    // and those that must be
		given  string // what the report must give up
		anew   string // what it must say was made anew
	}{
		{name: "nothing", damage: func(*testing.T, *past) {}},
		{name: "data block", damage: blocks(bottom, blocksOf.Data[20].Offset), most: 40, least: 1, given: "cannot be read"},
		{name: "two data blocks", damage: blocks(bottom, blocksOf.Data[10].Offset, blocksOf.Data[25].Offset), most: 80, least: 2, given: "cannot be read"},
		{name: "upper data block", damage: blocks(top, above.Data[2].Offset), most: 200, least: 1, given: "cannot be read"},
		{name: "index block", damage: blocks(bottom, blocksOf.Index[0].Offset), most: 500, least: 100, given: "cannot be read"},
		{name: "filter block", damage: blocks(bottom, blocksOf.Filter[0].Offset)},
		{name: "no table", damage: func(t *testing.T, h *past) { h.remove(t, bottom) }, most: 500, least: 100, given: "cannot be read"},
		{name: "short table", damage: func(t *testing.T, h *past) {
			h.change(t, bottom, func(b []byte) []byte { return b[:len(b)/2] })
		}, most: 500, least: 100, given: "cannot be read"},
		{name: "no upper table", damage: func(t *testing.T, h *past) { h.remove(t, top) }, most: pastSessions, least: pastSessions / 20, given: "cannot be read"},
		{name: "value", damage: raw(func(b *pebbledb.Batch) error {
			return b.Delete(layout.AppendRecordKey(nil, layout.PrefixValue, p, name), nil)
		}), most: 1, least: 1, given: "an entry and no value"},
		{name: "entry", damage: raw(func(b *pebbledb.Batch) error {
			return b.Delete(layout.AppendRecordKey(nil, layout.PrefixHeader, p, name), nil)
		}), most: 1, least: 1, given: "a value and no entry"},
		{name: "size", damage: raw(func(b *pebbledb.Batch) error {
			return b.Set(layout.AppendRecordKey(nil, layout.PrefixValue, p, name), []byte("short"), nil)
		}), most: 1, least: 1, given: "another size"},
		{name: "index entry", damage: raw(func(b *pebbledb.Batch) error {
			return b.Delete(layout.AppendIndexKey(nil, x.Indexed, p, name), nil)
		})},
		{name: "counters", damage: raw(func(b *pebbledb.Batch) error {
			return b.Set(layout.Numbered(layout.KeyCount, 0), layout.EncodeCount(storage.Count{Records: 5}), nil)
		}), anew: "sizes"},
		{name: "seed", damage: raw(func(b *pebbledb.Batch) error { return b.Delete(layout.KeySeed, nil) }), anew: "hash"},
		{name: "spaces", damage: raw(func(b *pebbledb.Batch) error {
			return b.Set(layout.Numbered(layout.KeyPhysicalDB, 3), []byte{0}, nil)
		}), given: "swapped"},
		{name: "log", damage: func(t *testing.T, h *past) { h.remove(t, log) }, most: pastSessions, given: "log " + log + ": is damaged at byte 0: the file is missing"},
		{name: "options", damage: func(t *testing.T, h *past) { h.remove(t, h.files(t, "OPTIONS-*")[0]) }},
		{name: "format marker", damage: func(t *testing.T, h *past) { h.remove(t, h.files(t, "marker.format*")[0]) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := sound.clone(t)
			tt.damage(t, h)
			before := h.contents(t)
			report := h.repair(t)
			if after := h.contents(t); after != before {
				t.Error("the damaged store was changed")
			}
			got := h.repaired(t)
			h.compare(t, got, tt.name == "log")
			if lost := len(h.sessions) - len(got); tt.name != "log" && (lost > tt.most || lost < tt.least) {
				t.Errorf("%d sessions are lost, want %d to %d", lost, tt.least, tt.most)
			}
			checkNumbers(t, report, got)
			given := fmt.Sprint(report.GivenUp)
			if !strings.Contains(given, tt.given) || (tt.given == "") != (len(report.GivenUp) == 0) {
				t.Errorf("given up %s, want something with %q", given, tt.given)
			}
			if !strings.Contains(fmt.Sprint(report.Renewed), tt.anew) {
				t.Errorf("made anew %v, want something with %q", report.Renewed, tt.anew)
			}
			if _, found := got[one]; found && tt.most == 1 {
				t.Error("the half session was saved")
			}
			if strings.Contains(given, "session-0") {
				t.Errorf("%s names a session", given)
			}
		})
	}
}

// compare holds the saved sessions against the history and against what could not be read.
func (h *past) compare(t *testing.T, got map[string]session, logLost bool) {
	t.Helper()
	for name, s := range got {
		if h.ended[name] && !logLost {
			t.Errorf("%s was ended and is back", name)
		}
		if want, found := h.sessions[name]; found && s != want && !logLost {
			t.Errorf("%s is saved with %d bytes until %d, want %d until %d", name, len(s.value), s.deadline, len(want.value), want.deadline)
		}
	}
	entries, values, seed := h.gaps(t)
	for name, s := range h.sessions {
		if _, saved := got[name]; saved || logLost {
			continue
		}
		at := uint64(layout.SlotOf(uint16(s.db), seed.Hash([]byte(name))))
		touched := func(gaps []gap) bool { return slices.ContainsFunc(gaps, func(g gap) bool { return g.holds(at) }) }
		if !touched(entries) && !touched(values) && len(entries)+len(values) > 0 {
			t.Errorf("%s is lost, and could have been read", name)
		}
	}
}

// checkNumbers compares the report with what was saved.
func checkNumbers(t *testing.T, report RepairReport, got map[string]session) {
	t.Helper()
	counts := map[int]int64{}
	for _, s := range got {
		counts[s.db]++
	}
	for _, db := range report.Databases {
		if db.Saved != counts[db.Database] {
			t.Errorf("database %d: %d sessions reported as saved, there are %d", db.Database, db.Saved, counts[db.Database])
		}
		delete(counts, db.Database)
	}
	if len(counts) > 0 {
		t.Errorf("sessions saved that the report does not tell of: %v", counts)
	}
}

// differences returns the names of sessions that are not as they were, or were ended and are back.
func (h *past) differences(got map[string]session) (names []string) {
	for name, want := range h.sessions {
		if s, found := got[name]; !found || s != want {
			names = append(names, name)
		}
	}
	for name := range got {
		if h.ended[name] {
			names = append(names, name)
		}
	}
	return names
}

// Ensure that of a damaged log all is saved that lies before the damage and behind it: what was ended
// there stays ended, and only what the damage took may be as before, which the report says.
func TestRepair_Log(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	frames := sound.frames(t)
	first, last := frames[0], frames[len(frames)-1]
	if len(frames) != pastLogged || first.file != last.file {
		t.Fatalf("%d frames from %s to %s", len(frames), first.file, last.file)
	}
	log := sound.log(t)
	flip := func(at ...int64) func(*testing.T, *past) {
		return func(t *testing.T, h *past) {
			for _, at := range at {
				h.flip(t, log, at)
			}
		}
	}
	control := func(change func(b []byte) []byte) func(*testing.T, *past) {
		return func(t *testing.T, h *past) { h.change(t, "log.control", change) }
	}
	whole := func(from, to int64) string {
		return fmt.Sprintf("log %s: %d bytes from byte %d on cannot be read", log, to-from, from)
	}
	type test struct {
		name   string
		damage func(*testing.T, *past)
		lost   []pastFrame // which may be missing, and no others
		given  string      // what the report says of it
	}
	tests := []test{
		{"cut", func(t *testing.T, h *past) {
			h.change(t, log, func(b []byte) []byte { return b[:frames[100].from+5] })
		}, frames[100:], "log " + log + ": is damaged at byte "},
		{"two", flip(frames[20].from+30, frames[60].from+30), []pastFrame{frames[20], frames[60]}, whole(frames[60].from, frames[60].to)},
		{"neighbours", flip(frames[20].from+30, frames[21].from+30), frames[20:22], whole(frames[20].from, frames[21].to)},
		{"header of the segment", flip(20), nil, "log " + log + ": is damaged at byte 0"},
		{"no control file", func(t *testing.T, h *past) { h.remove(t, "log.control") }, nil, "log log.control: is missing"},
		{"control file", control(func(b []byte) []byte { b[50] ^= 1; b[4096+50] ^= 1; return b }), nil, "log log.control: is damaged at byte 4096"},
		{"empty control file", control(func(b []byte) []byte { return nil }), nil, "log log.control: is missing"},
	}
	for _, at := range []int64{0, 4, 8} { // its checksum, its length, its position
		tests = append(tests, test{fmt.Sprint("byte ", at), flip(frames[50].from + at), frames[50:51], whole(frames[50].from, frames[50].to)})
	}
	for seed := range uint64(2) {
		f := frames[rand.New(rand.NewPCG(seed, 0)).IntN(len(frames)-1)]
		tests = append(tests, test{fmt.Sprint("seed ", seed), flip(f.from + 24), []pastFrame{f}, whole(f.from, f.to)})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := sound.clone(t)
			tt.damage(t, h)
			before := h.contents(t)
			if _, err := pebble.Open(storeDir, pebble.Options{FS: h.fs}); !errors.Is(err, layout.ErrDamaged) || !strings.Contains(err.Error(), "log.") {
				t.Errorf("Open: %v, want %v and a file", err, layout.ErrDamaged)
			}
			if report := h.check(t); report.Damage == 0 || !strings.Contains(fmt.Sprint(report.Problems), tt.given) {
				t.Errorf("Check found %v, want something with %q", report.Problems, tt.given)
			}
			report := h.repair(t)
			if h.contents(t) != before {
				t.Error("the damaged store was changed")
			}
			if !strings.Contains(fmt.Sprint(report.GivenUp), tt.given) {
				t.Errorf("given up %v, want something with %q", report.GivenUp, tt.given)
			}
			got := h.repaired(t)
			checkNumbers(t, report, got)
			for _, name := range h.differences(got) {
				if !slices.ContainsFunc(tt.lost, func(f pastFrame) bool { return slices.Contains(f.names, name) }) {
					t.Errorf("%s is not as it was, and the damage did not touch it", name)
				}
			}
		})
	}
}

// contents stands for everything in the folder of the old store.
func (h *past) contents(t testing.TB) string {
	t.Helper()
	all := sha256.New()
	for _, name := range h.files(t, "*") {
		_, _ = fmt.Fprintln(all, name, sha256.Sum256(readAll(t, h.fs, h.fs.PathJoin(storeDir, name))))
	}
	return fmt.Sprintf("%x", all.Sum(nil))
}

// Ensure that nothing is saved without the list of tables: tables that it no longer names
// hold sessions that were ended.
func TestRepair_Manifest(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	manifest := sound.files(t, "MANIFEST-*")
	newest := manifest[len(manifest)-1]
	for name, damage := range map[string]func(h *past){
		"gone":      func(h *past) { h.remove(t, newest) },
		"no marker": func(h *past) { h.remove(t, h.files(t, "marker.manifest.*")[0]) },
		"bits":      func(h *past) { h.flip(t, newest, 40) },
		"cut": func(h *past) { // by the edit of the checkpoint, which frees the log
			h.change(t, newest, func(b []byte) []byte { return b[:len(b)-1] })
		},
	} {
		h := sound.clone(t)
		damage(h)
		_, err := Repair(context.Background(), storeDir, repairedDir, RepairOptions{FS: h.fs})
		if !errors.Is(err, ErrManifest) {
			t.Errorf("%s: Repair returned %v, want %v", name, err, ErrManifest)
		}
		if names, err := h.fs.List(repairedDir); err == nil {
			t.Errorf("%s: the new folder has %v", name, names)
		}
	}
}

// Ensure that the new store has a folder of its own.
func TestRepair_Target(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	_, err := Repair(context.Background(), storeDir, storeDir, RepairOptions{FS: h.fs})
	if err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into itself: %v", err)
	}
	dir := t.TempDir()
	for _, to := range []string{dir, dir + "/new", dir + "/a/b"} {
		_, err := Repair(context.Background(), dir, to, RepairOptions{})
		if err == nil || !strings.Contains(err.Error(), "lies in the old one") {
			t.Errorf("into %s: %v", to, err)
		}
	}
}

// Ensure that a repair that was broken off leaves nothing that Open takes for a store.
func TestRepair_BrokenOff(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	ctx, stop := context.WithCancel(context.Background())
	_, err := Repair(ctx, storeDir, repairedDir, RepairOptions{FS: h.fs, Progress: func(done, total int64) {
		if done > total/2 {
			stop()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Repair: %v", err)
	}
	e, err := pebble.Open(repairedDir, pebble.Options{FS: h.fs, OnFailure: func(err error) { panic(err) }})
	if !errors.Is(err, folder.ErrForeign) {
		t.Errorf("Open: %v, want %v", err, folder.ErrForeign)
	}
	if err == nil {
		closeStore(t, e, h.fs, repairedDir)
	}
}

// Ensure that whatever byte of whatever file is damaged, Check and Repair come to an end, no
// session comes out other than it was, none that was ended comes back, and what Check finds
// sound is.
func TestRepair_AnyByte(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	names := sound.files(t, "*")
	log := sound.log(t)
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := sound.clone(t)
			rng := rand.New(rand.NewPCG(seed, 1))
			var name string
			var size int
			for size < 2 || name == log {
				name = names[rng.IntN(len(names))]
				size = len(readAll(t, h.fs, h.fs.PathJoin(storeDir, name)))
			}
			at := rng.Int64N(int64(size - 1))
			h.flip(t, name, at)
			checked := h.check(t)
			report, err := Repair(context.Background(), storeDir, repairedDir, RepairOptions{FS: h.fs})
			if errors.Is(err, ErrManifest) {
				if checked.Damage == 0 {
					t.Errorf("%s at %d: Repair returned %v, and Check found nothing", name, at, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s at %d: %v", name, at, err)
			}
			got := h.repaired(t)
			h.compare(t, got, false)
			checkNumbers(t, report, got)
			if len(report.GivenUp) > 0 && checked.Damage == 0 {
				t.Errorf("%s at %d: given up %v, and Check found nothing", name, at, report.GivenUp)
			}
			if len(report.GivenUp) == 0 && len(got) != len(h.sessions) {
				t.Errorf("%s at %d: %d of %d sessions saved, and nothing given up", name, at, len(got), len(h.sessions))
			}
		})
	}
}

// Ensure that the new store goes on where the old one stood: its hash, its revisions, its
// clock and which databases were swapped.
func TestRepair_Head(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	h.raw(t, func(b *pebbledb.Batch) error {
		return errors.Join(b.Set(layout.Numbered(layout.KeyPhysicalDB, 0), []byte{0, 1}, nil), b.Set(layout.Numbered(layout.KeyPhysicalDB, 1), []byte{0, 0}, nil), b.Set(layout.KeyClock, binary.BigEndian.AppendUint64(nil, 123_456), nil))
	})
	s := h.open(t)
	old := s.head
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if report := h.repair(t); len(report.GivenUp)+len(report.Renewed) > 0 {
		t.Errorf("given up %v, made anew %v", report.GivenUp, report.Renewed)
	}
	for name, s := range h.repaired(t) {
		if want := h.sessions[name]; s.db != 1-want.db {
			t.Fatalf("%s is in database %d, want %d", name, s.db, 1-want.db)
		}
	}
	closeStore(t, openStore(t, h.fs, repairedDir), h.fs, repairedDir)
	repaired, err := openSalvage(repairedDir, h.fs, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	now := repaired.head
	if err := repaired.close(); err != nil {
		t.Fatal(err)
	}
	if now.Seed != old.Seed {
		t.Error("the seed changed")
	}
	if now.Clock < 123_456 {
		t.Errorf("the clock stood at %d, want 123456", now.Clock)
	}
	if now.Revision <= old.Revision || old.Revision == 0 {
		t.Errorf("revisions go on from %d, those up to %d were in use", now.Revision, old.Revision)
	}
}

// Ensure that a flushed database stays empty when what says that it was flushed cannot be
// read: one range tombstone, far away from most of what it ended.
func TestRepair_Flushed(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	e, _ := openStill(t, h.fs, &markFile{})
	changeStore(t, e, func(tx storage.Txn) error { return tx.Flush(1) })
	follow(t, e)
	closeStore(t, e, h.fs, storeDir)
	// The tombstones are in the newest table, the first of its level in Pebble's list or not.
	damaged := false
	for i := 0; !damaged; i++ {
		name, blocksOf := h.table(t, 0, i)
		if damaged = blocksOf.RangeDel.Length > 0; damaged {
			h.flip(t, name, int64(blocksOf.RangeDel.Offset)+5)
		}
	}
	report := h.repair(t)
	if len(report.GivenUp) == 0 {
		t.Error("nothing was given up")
	}
	for name, s := range h.repaired(t) {
		if h.sessions[name].db == 1 || s.db == 1 {
			t.Fatalf("%s was flushed and is back", name)
		}
	}
}

// poorDisk does not give back a part of the log.
type poorDisk struct {
	vfs.FS
	frames []pastFrame
}

func (d poorDisk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	if err == nil && name == d.PathJoin(storeDir, d.frames[0].file) {
		f = poorFile{f, name, d.frames[0].from, d.frames[len(d.frames)-1].to}
	}
	return f, err
}

type poorFile struct {
	vfs.File
	name     string
	from, to int64
}

func (f poorFile) ReadAt(p []byte, off int64) (int, error) {
	if off < f.to && off+int64(len(p)) > f.from {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: syscall.EIO}
	}
	return f.File.ReadAt(p, off)
}

// Ensure that a part of a log that the disk does not give back costs that part.
func TestRepair_BadDisk(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	frames := h.frames(t)[150:200]
	h.fs = poorDisk{h.fs, frames}
	if report := h.check(t); report.Damage == 0 {
		t.Error("Check found nothing")
	}
	report := h.repair(t)
	if want := fmt.Sprintf("log %s: ", frames[0].file); !strings.Contains(fmt.Sprint(report.GivenUp), want) {
		t.Errorf("given up %v, want something with %q", report.GivenUp, want)
	}
	most := (frames[len(frames)-1].to-frames[0].from)/900 + 20 // a block at each end may go with it
	if wrong := h.differences(h.repaired(t)); len(wrong) < 2 || int64(len(wrong)) > most {
		t.Errorf("%d sessions are not as they were, want up to %d", len(wrong), most)
	}
}
