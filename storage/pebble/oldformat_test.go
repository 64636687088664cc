package pebble

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// testdata/format-N is the folder of a store in format N as a program of its time left it,
// and testdata/format-N.txt lists the sessions in it, one in a line:
//
//	database  deadline, Unix ms, or 0  "name"  "value"
//
// Such a folder is made once, by the first program that writes the format, with
//
//	go test ./storage/pebble -run TestFormat_OldFoldersOpen -update
//
// and never again: what is there is not replaced. The one of format 1 is by a program that
// wrote no 'm' "seen".

// oldNow is when the folders were last swept, and oldLater when their sessions have ended.
const (
	oldNow   ttl.Instant = 1_800_000_000_000
	oldLater ttl.Instant = 1_900_000_000_000
)

// Ensure that a store in any format that ever was opens with exactly the sessions that were
// in it, in tables and in the log, and is as good as new.
func TestFormat_OldFoldersOpen(t *testing.T) {
	newest := filepath.Join("testdata", fmt.Sprint("format-", formatVersion))
	if _, err := os.Stat(newest); *updateGolden && errors.Is(err, fs.ErrNotExist) {
		makeOldFolder(t, newest)
	}
	lists, err := filepath.Glob(filepath.Join("testdata", "format-*.txt"))
	if err != nil || len(lists) != formatVersion {
		t.Fatalf("the folders are %q, %v; want one for each of %d formats", lists, err, formatVersion)
	}
	for _, list := range lists {
		t.Run(filepath.Base(list), func(t *testing.T) {
			t.Parallel()
			dir := strings.TrimSuffix(list, ".txt")
			for _, pattern := range []string{"*.sst", "*.log"} {
				if size := sizeOf(t, filepath.Join(dir, pattern)); size == 0 {
					t.Errorf("%s has nothing in %s", dir, pattern)
				}
			}
			work := t.TempDir()
			if err := os.CopyFS(work, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			want := readOldSessions(t, list)
			e := openOld(t, work)
			wantOldSessions(t, e, want)
			checkStore(t, e)

			k := oldSession{db: 2, name: "written later"}
			update(t, e, func(tx storage.Txn) error {
				return tx.Put(k.key(), storage.Record{Kind: storage.KindString, Value: []byte("v"), Deadline: oldLater})
			})
			want[k] = oldState{oldLater, "v"}
			closeTest(t, e)
			e = openOld(t, work)
			wantOldSessions(t, e, want)
			sweepAll(t, e, oldLater, 16)
			maps.DeleteFunc(want, func(_ oldSession, s oldState) bool { return s.deadline != ttl.Never })
			wantOldSessions(t, e, want)
			if n := indexEntries(t, e); n != 0 {
				t.Errorf("%d index entries are left", n)
			}
			closeTest(t, e)
		})
	}
}

// oldSession is where a session is, and oldState what it is.
type oldSession struct {
	db   int
	name string
}

type oldState struct {
	deadline ttl.Instant
	value    string
}

func (s oldSession) key() storage.Key { return storage.Key{DB: s.db, Name: []byte(s.name)} }

// oldDatabases are those that the folders use.
func oldDatabases() []int { return []int{0, 1, 2, 15} }

func openOld(t *testing.T, dir string) *Engine {
	t.Helper()
	e, err := Open(dir, Options{CacheBytes: 1 << 20, Clock: ttl.NewManual(oldNow), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func sizeOf(t *testing.T, pattern string) (size int64) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

// oldSessions returns every record of the databases in oldDatabases.
func oldSessions(t *testing.T, e *Engine) map[oldSession]oldState {
	t.Helper()
	all := map[oldSession]oldState{}
	_, err := e.View(context.Background(), storage.Whole, func(r storage.Reader) error {
		for _, db := range oldDatabases() {
			var names []string
			next, err := r.Scan(db, 0, 1<<20, func(k storage.Key, _ storage.Record) bool {
				names = append(names, string(k.Name))
				return true
			})
			if err != nil || next != 0 {
				return fmt.Errorf("scan %d goes on at %d: %w", db, next, err)
			}
			for _, name := range names {
				s := oldSession{db, name}
				rec, _, err := r.Get(s.key())
				if err != nil {
					return err
				}
				all[s] = oldState{rec.Deadline, string(rec.Value)}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantOldSessions(t *testing.T, e *Engine, want map[oldSession]oldState) {
	t.Helper()
	got := oldSessions(t, e)
	for s := range want {
		if _, found := got[s]; !found {
			t.Errorf("%d/%q is missing", s.db, s.name)
		}
	}
	for s, state := range got {
		if wanted, found := want[s]; !found || state != wanted {
			t.Errorf("%d/%q = %.40q until %d, want %.40q until %d", s.db, s.name, state.value, state.deadline, wanted.value, wanted.deadline)
		}
	}
}

func readOldSessions(t *testing.T, list string) map[oldSession]oldState {
	t.Helper()
	f, err := os.Open(list)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[oldSession]oldState{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var s oldSession
		var state oldState
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %q %q", &s.db, &state.deadline, &s.name, &state.value); err != nil {
			t.Fatalf("%s: %q: %v", list, lines.Text(), err)
		}
		all[s] = state
	}
	if err := lines.Err(); err != nil || len(all) < 30 {
		t.Fatalf("%s lists %d sessions, %v", list, len(all), err)
	}
	return all
}

// makeOldFolder makes a folder with a bit of everything, and the list beside it.
func makeOldFolder(t *testing.T, dir string) {
	e := openOld(t, dir)
	put := func(db int, name, value string, deadline ttl.Instant) {
		update(t, e, func(tx storage.Txn) error {
			return tx.Put(storage.Key{DB: db, Name: []byte(name)}, storage.Record{Kind: storage.KindString, Value: []byte(value), Deadline: deadline})
		})
	}
	fill := func(round string) {
		for i, db := range oldDatabases() {
			for n := range 5 {
				put(db, fmt.Sprintf("sess:%s%d", round, n), strings.Repeat(round, 10*n+i), oldNow+ttl.Instant(1+1000*n))
			}
			put(db, "for ever "+round, "", ttl.Never)
			put(db, "over "+round, "v", oldNow-5)
			put(db, "deleted "+round, "v", ttl.Never)
			put(db, "touched "+round, "v", oldNow-7)
			put(db, "shortened "+round, "v", oldLater)
			update(t, e, func(tx storage.Txn) error {
				return errors.Join(
					tx.Delete(storage.Key{DB: db, Name: []byte("deleted " + round)}),
					tx.SetDeadline(storage.Key{DB: db, Name: []byte("touched " + round)}, oldLater-1),
					tx.SetDeadline(storage.Key{DB: db, Name: []byte("shortened " + round)}, oldNow+1))
			})
		}
	}
	put(1, "flushed", "v", oldLater)
	fill("a")
	put(0, "\x00\xff", strings.Repeat("large ", 500), ttl.Never)
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	update(t, e, func(tx storage.Txn) error { return tx.Flush(1) })
	sweepAll(t, e, oldNow, 16)
	update(t, e, func(tx storage.Txn) error { return tx.Swap(0, 15) })
	fill("b")
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	update(t, e, func(tx storage.Txn) error { return tx.Swap(2, 0) })
	fill("c") // stays in the log
	var list strings.Builder
	all := oldSessions(t, e)
	for _, s := range slices.SortedFunc(maps.Keys(all), func(a, b oldSession) int {
		return strings.Compare(fmt.Sprintf("%2d %s", a.db, a.name), fmt.Sprintf("%2d %s", b.db, b.name))
	}) {
		fmt.Fprintf(&list, "%d %d %q %q\n", s.db, all[s].deadline, s.name, all[s].value)
	}
	closeTest(t, e)
	if err := os.WriteFile(dir+".txt", []byte(list.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Ensure that the folder of a store in a newer format is refused and not changed at all, and
// that names which only look like that of a format mean nothing.
func TestOpen_NewerIsUntouched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "format-1"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"format-", "format-1", "format-x", "format-2"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == fmt.Sprint(formatFile, formatVersion+1) {
			break
		}
		closeTest(t, openOld(t, dir))
	}
	before := bytesOf(t, dir)
	_, err := Open(dir, Options{})
	if !errors.Is(err, ErrNewerFormat) || !strings.Contains(err.Error(), "it has format 2, and this one reads up to 1") {
		t.Errorf("Open: %v, want %v", err, ErrNewerFormat)
	}
	if after := bytesOf(t, dir); !maps.Equal(after, before) {
		t.Errorf("the folder changed: %v, it had %v", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
	}
}

// bytesOf returns what is in the files of a folder.
func bytesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		info, statErr := d.Info()
		all[path] = fmt.Sprint(info.ModTime(), info.Mode(), string(b))
		return errors.Join(err, statErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
