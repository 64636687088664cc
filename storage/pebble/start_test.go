package pebble

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that a start that fails after Pebble has opened its part leaves the folder as it was, the
// tables that an older list does not name among it: when what was wrong is made good, all is there.
func TestOpen_FailedStart(t *testing.T) {
	t.Parallel()
	sound := soundPast(t)
	manifest := sound.files(t, "MANIFEST-*")[0]
	newest := readAll(t, sound.fs, sound.fs.PathJoin(testDir, manifest))
	tests := []struct {
		name         string
		damage, mend func(h *past)
		want         error
		words        string
	}{
		{
			name:   "list of tables from before the checkpoint",
			damage: func(h *past) { h.change(t, manifest, func(b []byte) []byte { return b[:len(b)-1] }) },
			mend:   func(h *past) { writeAll(t, h.fs, h.fs.PathJoin(testDir, manifest), newest) },
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
				if _, err := Open(testDir, Options{FS: h.fs}); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
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
			e := openTest(t, h.fs, Options{})
			wrong := h.differences(readSessions(t, e))
			closeTest(t, e)
			if len(wrong) > 0 {
				t.Errorf("%d sessions are not as they were", len(wrong))
			}
			closeTest(t, openTest(t, h.fs, Options{})) // Pebble keeps the MANIFEST before the newest
			if left := h.files(t, manifest); len(left) != 0 {
				t.Errorf("starts that succeeded left %v", left)
			}
		})
	}
}

// Ensure that the creation of a store goes on wherever it was broken off.
func TestOpen_BrokenCreation(t *testing.T) {
	t.Parallel()
	mem, fs, hook := newHooked()
	steps := 0
	crashes(mem, hook, func() { closeTest(t, openTest(t, fs, Options{LogBytes: minLogBytes})) }, func(step int, left *vfs.MemFS) {
		steps++
		for range 2 {
			e, err := Open(testDir, Options{FS: left, LogBytes: minLogBytes, CacheBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			put(t, e, "name", "value", ttl.Never)
			closeTest(t, e)
		}
		if report, err := Check(t.Context(), testDir, CheckOptions{FS: left}); err != nil || report.Damage > 0 {
			t.Fatalf("step %d: %v, %v", step, report.Problems, err)
		}
	})
	if steps < 20 {
		t.Errorf("%d steps", steps)
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
		_, err := Open(testDir, Options{FS: h.fs})
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
		report, err := Check(t.Context(), testDir, CheckOptions{FS: readOnlyFS{h.fs}})
		if err != nil || (report.Damage > 0) != damaged || report.Changes < pastLogged-1 {
			t.Errorf("damaged %v: %d changes, problems %v, %v", damaged, report.Changes, report.Problems, err)
		}
		if h.contents(t) != before {
			t.Errorf("damaged %v: the folder was changed", damaged)
		}
	}
}
