package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that Check tells when a backup was made and what is in it, changes nothing, and that of
// every file that is damaged, cut or missing it says so, with its name, and Restore refuses it. All
// that the log of a backup has is needed: its end cannot be torn.
func TestCheck_Backup(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{Clock: ttl.NewManual(77)})
	for i := range 300 {
		syncTo(t, e, put(t, e, fmt.Sprint("session ", i), strings.Repeat("x", 500), ttl.Never))
	}
	var done, total int64
	e.guard.BlockFlush() // so that there is no checkpoint before, and the log of the copy has something in it
	_, err := Tools.Backup(context.Background(), e, testBackup, func(a, b int64) { done, total = a, b })
	if err != nil || done != total || total < 80_000 {
		t.Errorf("Backup: %v, %d of %d bytes", err, done, total)
	}
	e.guard.Look()
	closeTest(t, e)
	data := path.Join(testBackup, "data-000001")
	names, err := fs.List(data)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	check := func() (ToolCheck, error) { return Tools.Check(context.Background(), testBackup, fs) }

	report, err := check()
	if err != nil || report.Damage != 0 || report.Made != 77 || report.Tables == 0 || report.Changes != 300 ||
		!maps.Equal(report.Databases, map[int]int64{0: 300}) {
		t.Errorf("a sound backup: %+v, %v", report, err)
	}
	if after, err := fs.List(data); err != nil || !slices.Equal(slices.Sorted(slices.Values(after)), names) {
		t.Errorf("Check left %v, %v, of %v", after, err, names)
	}

	damages := map[string]func([]byte) []byte{
		"a changed byte": func(b []byte) []byte {
			used := len(bytes.TrimRight(b, "\x00")) // the rest of a segment holds nothing
			b[used/2] ^= 1
			return b
		},
		"a changed end": func(b []byte) []byte { b[len(bytes.TrimRight(b, "\x00"))-1] ^= 1; return b },
		"a cut end":     func(b []byte) []byte { return b[:len(b)-1] },
		"no file":       func([]byte) []byte { return nil },
	}
	files := []string{path.Join(testBackup, layout.ReceiptName)}
	for _, name := range names {
		if layout.KindOf(name) == layout.ContentFile && !strings.HasPrefix(name, "OPTIONS") || strings.HasPrefix(name, "MANIFEST") {
			files = append(files, path.Join(data, name))
		}
	}
	for _, name := range files {
		whole, err := folder.ReadFile(fs, name)
		if err != nil {
			t.Fatal(err)
		}
		for what, damage := range damages {
			switch {
			case what == "no file" && path.Base(name) == layout.ReceiptName:
				continue // without it there is no backup
			case what != "no file" && len(whole) == 0:
				continue // a log of Pebble's, which has nothing in it
			case path.Base(name) == "log.control" && strings.HasPrefix(what, "a changed"):
				damage = func(b []byte) []byte { b[20] ^= 1; b[len(b)/2+20] ^= 1; return b } // one of two copies is enough
			}
			err := fs.Remove(name)
			if b := damage(slices.Clone(whole)); b != nil && err == nil {
				err = folder.WriteFile(fs, name, b)
			}
			report, checkErr := check()
			if err := errors.Join(err, checkErr); err != nil || report.Damage == 0 || !strings.Contains(fmt.Sprint(report.Problems), path.Base(name)) {
				t.Errorf("%s in %s: %+v, %v", what, name, report, err)
			}
			_, err = Tools.Restore(context.Background(), testBackup, "restored", fs)
			if !errors.Is(err, layout.ErrDamaged) && !errors.Is(err, Tools.ErrIncomplete) && !errors.Is(err, Tools.ErrReceipt) || !strings.Contains(err.Error(), path.Base(name)) {
				t.Errorf("%s in %s: Restore: %v", what, name, err)
			}
			if left, err := fs.List("restored"); err == nil && len(left) > 0 {
				t.Errorf("%s in %s: Restore left %v", what, name, left)
			}
			if err := folder.WriteFile(fs, name, slices.Clone(whole)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
