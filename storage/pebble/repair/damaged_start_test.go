package repair

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that a start that fails after Pebble has opened its part leaves the folder as it was, the
// tables that an older list does not name among it: when what was wrong is made good, all is there.
func TestOpen_FailedStart(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	manifest := sound.files(t, "MANIFEST-*")[0]
	newest := readAll(t, sound.fs, sound.fs.PathJoin(storeDir, manifest))
	tests := []struct {
		name         string
		damage, mend func(h *past)
		want         error
		words        string
	}{
		{
			name:   "list of tables from before the checkpoint",
			damage: func(h *past) { h.change(t, manifest, func(b []byte) []byte { return b[:len(b)-1] }) },
			mend:   func(h *past) { writeAll(t, h.fs, h.fs.PathJoin(storeDir, manifest), newest) },
			want:   layout.ErrDamaged, words: manifest + " ends too early, or is an older one",
		},
		{
			name: "no seed", want: layout.ErrDamaged, words: "seed is missing",
			damage: func(h *past) { h.raw(t, func(b *pebbledb.Batch) error { return b.Delete(layout.KeySeed, nil) }) },
		},
		{
			name: "newer format", want: layout.ErrNewerFormat, words: "it has format 4",
			damage: func(h *past) {
				h.raw(t, func(b *pebbledb.Batch) error { return b.Set(layout.KeyFormat, []byte{0, 0, 0, 4}, nil) })
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := sound.clone(t)
			tt.damage(h)
			before := h.contents(t)
			for range 2 {
				if _, err := pebble.Open(storeDir, pebble.Options{FS: h.fs}); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
					t.Fatalf("Open: %v, want %v and %q", err, tt.want, tt.words)
				}
				if after := h.contents(t); after != before {
					t.Fatalf("the folder was changed: %v", h.files(t, "*"))
				}
			}
			if tt.mend == nil {
				return
			}
			tt.mend(h)
			e := openStore(t, h.fs, storeDir)
			wrong := h.differences(readSessions(t, e))
			closeStore(t, e, h.fs, storeDir)
			if len(wrong) > 0 {
				t.Errorf("%d sessions are not as they were", len(wrong))
			}
			closeStore(t, openStore(t, h.fs, storeDir), h.fs, storeDir) // Pebble keeps the MANIFEST before the newest
			if left := h.files(t, manifest); len(left) != 0 {
				t.Errorf("starts that succeeded left %v", left)
			}
		})
	}
}

// Ensure that a store without its log, or with one that was never written, is refused before anything
// is changed, and is none that is still to be created.
func TestOpen_NoLog(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	for what, damage := range map[string]func(h *past){
		"no control file":      func(h *past) { h.remove(t, "log.control") },
		"an empty one":         func(h *past) { h.change(t, "log.control", func([]byte) []byte { return nil }) },
		"one of zeros":         func(h *past) { h.change(t, "log.control", func(b []byte) []byte { clear(b); return b }) },
		"no file of the log's": func(h *past) { removeFiles(t, h, "log.*") },
	} {
		h := sound.clone(t)
		damage(h)
		before := h.contents(t)
		_, err := pebble.Open(storeDir, pebble.Options{FS: h.fs})
		if !errors.Is(err, layout.ErrDamaged) || !strings.Contains(err.Error(), "log.control ") || !strings.Contains(err.Error(), "sessiond check") {
			t.Errorf("%s: Open: %v, want %v", what, err, layout.ErrDamaged)
		}
		if h.contents(t) != before {
			t.Errorf("%s: the folder was changed", what)
		}
		if report := h.check(t); report.Damage != 1 || !strings.Contains(report.Problems[0].String(), "log.control") {
			t.Errorf("%s: Check found %v", what, report.Problems)
		}
	}
}

func removeFiles(t *testing.T, h *past, pattern string) {
	t.Helper()
	for _, name := range h.files(t, pattern) {
		h.remove(t, name)
	}
}

// readOnlyFS is a disk that is mounted for reading only.
type readOnlyFS struct{ vfs.FS }

func (fs readOnlyFS) refuse(name string) error {
	return &os.PathError{Op: "write", Path: name, Err: syscall.EROFS}
}

func (fs readOnlyFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, fs.refuse(name)
}

func (fs readOnlyFS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return nil, fs.refuse(name)
}

func (fs readOnlyFS) ReuseForWrite(_, name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, fs.refuse(name)
}

func (fs readOnlyFS) Link(_, name string) error                 { return fs.refuse(name) }
func (fs readOnlyFS) Rename(_, name string) error               { return fs.refuse(name) }
func (fs readOnlyFS) Remove(name string) error                  { return fs.refuse(name) }
func (fs readOnlyFS) RemoveAll(name string) error               { return fs.refuse(name) }
func (fs readOnlyFS) MkdirAll(name string, _ os.FileMode) error { return fs.refuse(name) }
func (fs readOnlyFS) Lock(name string) (io.Closer, error)       { return nil, fs.refuse(name) }

// Ensure that a store on a disk for reading only is checked like any other, whether its log is
// sound or not.
func TestCheck_ReadOnlyDisk(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	f := sound.frames(t)[50]
	for _, damaged := range []bool{false, true} {
		h := sound.clone(t)
		if damaged {
			h.flip(t, f.file, f.from+30)
		}
		before := h.contents(t)
		report, err := Check(t.Context(), storeDir, CheckOptions{FS: readOnlyFS{h.fs}})
		if err != nil || (report.Damage > 0) != damaged || report.Changes < pastLogged-1 {
			t.Errorf("damaged %v: %d changes, problems %v, %v", damaged, report.Changes, report.Problems, err)
		}
		if h.contents(t) != before {
			t.Errorf("damaged %v: the folder was changed", damaged)
		}
	}
}

// Ensure that a flipped bit in a list of tables is refused wherever another edit follows: Pebble would
// take it for the end of the list.
func TestDamage_Manifest(t *testing.T) {
	t.Parallel()
	h := soundPast(t)
	name := h.files(t, "MANIFEST-*")[0]
	good := readAll(t, h.fs, h.fs.PathJoin(storeDir, name))
	last := 0 // where the last chunk begins
	for at := 0; at+pebblefile.ChunkHead < len(good); at += pebblefile.ChunkHead + int(binary.LittleEndian.Uint16(good[at+4:])) {
		last = at
	}
	if last < 1000 || last > pebblefile.ChunkBlock {
		t.Fatalf("the last chunk of %d bytes begins at %d", len(good), last)
	}
	for at := 0; at < last; at += 97 {
		b := slices.Clone(good)
		b[at] ^= 1 << (at % 8)
		writeAll(t, h.fs, h.fs.PathJoin(storeDir, name), b)
		before := h.contents(t)
		_, err := pebble.Open(storeDir, pebble.Options{FS: h.fs})
		if !errors.Is(err, layout.ErrDamaged) || !strings.Contains(err.Error(), name+" is damaged at ") {
			t.Fatalf("byte %d of %d: %v", at, len(good), err)
		}
		if _, err := Repair(t.Context(), storeDir, repairedDir, RepairOptions{FS: h.fs}); !errors.Is(err, ErrManifest) {
			t.Fatalf("byte %d of %d: Repair: %v", at, len(good), err)
		}
		if h.contents(t) != before {
			t.Fatalf("byte %d of %d: the folder was changed", at, len(good))
		}
	}
}

// Ensure that one flipped bit in any byte of a frame, whatever it says, is refused by the file and
// the byte where the frame begins, and that what its rest is filled up with means nothing.
func TestDamage_EveryFrame(t *testing.T) {
	t.Parallel()
	fs, m := vfs.NewMem(), &markFile{}
	e, err := pebble.Open(storeDir, pebble.Options{
		FS: fs, Clock: ttl.NewManual(1000), LogBytes: 1 << 20, MapFile: m.open, BootID: 1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	keyOf := func(name string) storage.Key { return storage.Key{Name: []byte(name)} }
	put := func(name, value string, deadline ttl.Instant) {
		changeStore(t, e, func(tx storage.Txn) error {
			return tx.Put(keyOf(name), storage.Record{Kind: storage.KindString, Value: []byte(value), Deadline: deadline})
		}, keyOf(name))
	}
	put("swept", "v", 900)
	for _, name := range []string{"touched", "deleted"} {
		put(name, "v", 5000)
	}
	follow(t, e)
	put("put", "value", 6000)
	changeStore(t, e, func(tx storage.Txn) error { return tx.SetDeadline(keyOf("touched"), 7000) }, keyOf("touched"))
	changeStore(t, e, func(tx storage.Txn) error { return tx.Delete(keyOf("deleted")) }, keyOf("deleted"))
	changeStore(t, e, func(tx storage.Txn) error { return tx.Flush(1) })
	changeStore(t, e, func(tx storage.Txn) error { return tx.Swap(0, 2) })
	if n, _, err := e.Sweep(t.Context(), 1000, 10); n != 1 || err != nil {
		t.Fatalf("Sweep = %d, %v", n, err)
	}
	changeStore(t, e, func(tx storage.Txn) error {
		return errors.Join(tx.Flush(1), tx.Put(keyOf("a"), storage.Record{Kind: storage.KindString}), tx.Swap(2, 3))
	})
	if err := e.Sync(t.Context(), storage.Everything); err != nil {
		t.Fatal(err)
	}
	left := vfs.NewMem()
	if _, err := vfs.Clone(fs, left, storeDir, storeDir, vfs.CloneSync); err != nil {
		t.Fatal(err)
	}
	writeAll(t, left, left.PathJoin(storeDir, "log.mark"), slices.Clone(m.b))
	closeStore(t, e, fs, storeDir)

	h := &past{fs: left}
	kinds := map[layout.ChangeKind]bool{}
	for _, f := range h.frames(t) {
		for _, kind := range f.kinds {
			kinds[kind] = true
		}
		b := readAll(t, left, left.PathJoin(storeDir, f.file))
		for at := f.from; at < f.to; at++ {
			filling := at >= f.used
			b[at] ^= 1 << (at % 8)
			writeAll(t, left, left.PathJoin(storeDir, f.file), b)
			if filling {
				if report := h.check(t); report.Damage != 0 {
					t.Errorf("byte %d of %+v, which is filled up: %v", at, f, report.Problems)
				}
			} else {
				_, err := pebble.Open(storeDir, pebble.Options{FS: left})
				want := fmt.Sprintf("%s is damaged at byte %d: ", f.file, f.from)
				if !errors.Is(err, layout.ErrDamaged) || !strings.Contains(err.Error(), want) {
					t.Fatalf("byte %d of %+v: %v, want %v and %q", at, f, err, layout.ErrDamaged, want)
				}
			}
			b[at] ^= 1 << (at % 8)
		}
		writeAll(t, left, left.PathJoin(storeDir, f.file), b)
	}
	for _, kind := range []layout.ChangeKind{layout.ChangePut, layout.ChangeTouch, layout.ChangeDelete, layout.ChangeFlush, layout.ChangePhysicalDBs, layout.ChangeClock} {
		if !kinds[kind] {
			t.Errorf("no frame has a change of kind %d", kind)
		}
	}
	if report := h.check(t); report.Damage != 0 {
		t.Errorf("when all is as it was: %v", report.Problems)
	}
}
