package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// backupDir is on another disk than the store.
const backupDir = "backups/sessions"

// twoFilesystems is a disk of which everything below backups is another file system.
type twoFilesystems struct{ vfs.FS }

func across(a, b string) bool {
	return strings.HasPrefix(a, "backups") != strings.HasPrefix(b, "backups")
}

func (x twoFilesystems) Link(from, to string) error {
	if across(from, to) {
		return syscall.EXDEV
	}
	return x.FS.Link(from, to)
}

func (x twoFilesystems) Rename(from, to string) error {
	if across(from, to) {
		return syscall.EXDEV
	}
	return x.FS.Rename(from, to)
}

// openAt opens the store in a folder.
func openAt(t *testing.T, fs vfs.FS, dir string) (e *pebble.Engine, db *pebbledb.DB) {
	t.Helper()
	e, err := pebble.Open(dir, pebble.Options{
		FS: fs, Logger: slog.New(slog.DiscardHandler), OnFailure: func(err error) { t.Error(err) },
		Opened: func(tree *pebbledb.DB) { db = tree },
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, db
}

// records returns the value of each record of database 0.
func records(t *testing.T, e *pebble.Engine) map[string]string {
	t.Helper()
	all := map[string]string{}
	_, err := e.View(t.Context(), storage.Whole, func(r storage.Reader) error {
		var keys []storage.Key
		_, err := r.Scan(0, 0, 1e6, func(k storage.Key, _ storage.Record) bool {
			keys = append(keys, storage.Key{Name: slices.Clone(k.Name)})
			return true
		})
		for _, k := range keys {
			rec, _, failed := r.Get(k)
			err = errors.Join(err, failed)
			all[string(k.Name)] = string(rec.Value)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Ensure that a table of an earlier copy is taken for the same only if it is: not if it is
// another store's, nor if this store wrote it at another time, as it is when a restored
// copy made another history under the same names.
func TestBackup_OtherTables(t *testing.T) {
	t.Parallel()
	others := map[string]func(*receipt){
		"store": func(v *receipt) { v.store++ },
		"time":  func(v *receipt) { v.files[len(v.files)-1].modified++ },
		"size":  func(*receipt) {}, // below
	}
	for name, change := range others {
		fs := twoFilesystems{vfs.NewMem()}
		e, db := openAt(t, fs, "store")
		rng := rand.New(rand.NewPCG(1, 7))
		for i := range 100 {
			k, value := storage.Key{Name: fmt.Appendf(nil, "one %d", i)}, make([]byte, 4000)
			for j := range value {
				value[j] = byte(rng.Uint32())
			}
			_, err := e.Update(t.Context(), storage.Scope{Keys: []storage.Key{k}}, func(tx storage.Txn) error {
				return tx.Put(k, storage.Record{Kind: storage.KindString, Value: value})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		want := records(t, e)
		for range 2 { // the first brings the records to the tree
			if _, err := Make(t.Context(), e, backupDir, Options{}); err != nil {
				t.Fatal(err)
			}
			if err := db.Compact(context.Background(), []byte{0}, []byte{0xff}, false); err != nil {
				t.Fatal(err)
			}
		}
		into, err := openBackup(fs, backupDir)
		if err != nil {
			t.Fatal(err)
		}
		v := into.now
		slices.SortFunc(v.files, func(a, b backupFile) int { return cmp.Compare(a.size, b.size) })
		v.files = slices.DeleteFunc(v.files, func(f backupFile) bool { return !layout.IsTable(f.name) })
		change(&v)
		largest := v.files[len(v.files)-1]
		garbage := make([]byte, largest.size)
		if name == "size" {
			garbage = garbage[1:]
		}
		if err := errors.Join(into.publish(v), folder.WriteFile(fs, into.path(v.data, largest.name), garbage)); err != nil {
			t.Fatal(err)
		}
		if _, err := Make(t.Context(), e, backupDir, Options{}); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(t.Context(), backupDir, "restored", RestoreOptions{FS: fs}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		copied, _ := openAt(t, fs, "restored")
		if got := records(t, copied); !maps.Equal(got, want) {
			t.Errorf("%s: the copy has a table that is not the store's", name)
		}
		if err := errors.Join(copied.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	}
}

// Ensure that a backup that was begun and never completed is refused.
func TestRestore_NeverCompleted(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	into := &backupFolder{fs: fs, dir: backupDir}
	if err := into.prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), backupDir, "restored", RestoreOptions{FS: fs}); !errors.Is(err, ErrIncomplete) {
		t.Errorf("Restore: %v, want %v", err, ErrIncomplete)
	}
}
