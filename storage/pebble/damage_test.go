package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// The damage tests make a store on the real file system, damage copies of it in every way
// they know, and look at what comes of each. A copy must be refused by the name of the file,
// or be read to the letter, or give an error for what cannot be read.

// damageFolder is the content of the files of a folder by name.
type damageFolder map[string][]byte

// damageModel is what a store has to hold.
type damageModel map[string]string

const damageNames = 3000

func openDamageTest(fs vfs.FS, dir string, memTableSize uint64) (*Engine, error) {
	opts := Options{
		CacheBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler), OnFailure: func(err error) { panic(err) },
		FS: fs, RecordBytes: -1, MemTableSize: memTableSize,
	}
	if fs != nil {
		opts.MapFile = func(path string, size int) (*wal.Mapping, error) { return mapCopy(fs, path, size) }
	}
	return Open(dir, opts)
}

// mapCopy gives whoever maps a file the bytes of it, and the file none of his.
func mapCopy(fs vfs.FS, path string, size int) (*wal.Mapping, error) {
	b, err := folder.ReadFile(fs, path)
	if err != nil || len(b) != size {
		b = make([]byte, size)
	}
	return &wal.Mapping{Bytes: slices.Clone(b), Close: func() error { return nil }}, nil
}

// buildDamageTest returns a store as kill -9 leaves it, some changes before, and closed. All have
// tables in several levels, and the log of the first two has what the tables have not.
func buildDamageTest(t *testing.T, rng *rand.Rand) (killed, older, closed damageFolder, holds damageModel) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	holds = damageModel{}
	for range 3 {
		e, err := openDamageTest(nil, dir, 256<<10)
		if err != nil {
			t.Fatal(err)
		}
		holds.change(t, e, rng, 1500)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e, err := openDamageTest(nil, dir, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	holds.change(t, e, rng, 1500)
	restDamageTest(t, e)
	syncTo(t, e, update(t, e, func(tx storage.Txn) error { // for range tombstones
		other := storage.Key{DB: 1, Name: []byte("gone")}
		return errors.Join(tx.Put(other, storage.Record{Kind: storage.KindString}), tx.Flush(1))
	}))
	if err := e.checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	holds.change(t, e, rng, 4000)
	restDamageTest(t, e)
	for level, m := range e.db.Metrics().Levels {
		if m.TablesCount > 0 {
			t.Logf("level %d: %d tables", level, m.TablesCount)
		}
	}
	admit := e.guard.Compactions.Hold() // or a table may go while the folder is read
	if err := e.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	restDamageTest(t, e)
	holds.change(t, e, rng, 150)
	older = readDamageFolder(t, dir)
	holds.change(t, e, rng, 150)
	if logged := e.log.End() - e.followed(); int(logged) < 2*e.log.Largest() {
		t.Fatalf("the tables lack %d bytes of the log", logged)
	}
	killed = readDamageFolder(t, dir)
	admit()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return killed, older, readDamageFolder(t, dir), holds
}

// restDamageTest waits until Pebble does nothing, and has removed what it does not need.
func restDamageTest(t *testing.T, e *Engine) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if m := e.db.Metrics(); m.Compact.NumInProgress == 0 && m.Flush.NumInProgress == 0 && m.Table.ObsoleteCount+m.Table.ZombieCount == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("compactions do not end")
		}
	}
}

// change makes n random changes that are on stable storage when it returns.
func (m damageModel) change(t *testing.T, e *Engine, rng *rand.Rand, n int) {
	t.Helper()
	var b storage.Barrier
	for i := range n {
		name := fmt.Sprint("session ", rng.IntN(damageNames))
		if _, found := m[name]; found && rng.IntN(4) == 0 {
			k := keyOf(name)
			b = max(b, update(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k))
			delete(m, name)
			continue
		}
		value := make([]byte, 100+rng.IntN(4000))
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		b = max(b, put(t, e, name, string(value), ttl.Never))
		m[name] = string(value)
		if i%50 == 0 {
			syncTo(t, e, b)
		}
	}
	syncTo(t, e, b)
}

func readDamageFolder(t *testing.T, dir string) damageFolder {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	folder := damageFolder{}
	for _, x := range entries {
		if folder[x.Name()], err = os.ReadFile(filepath.Join(dir, x.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// write writes the folder to a file system.
func (f damageFolder) write(t *testing.T, fs vfs.FS, dir string) {
	t.Helper()
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range f {
		file, err := fs.Create(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.Write(slices.Clone(content))
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// with returns the folder with a file changed, or without it if change is nil.
func (f damageFolder) with(name string, change func([]byte) []byte) damageFolder {
	damaged := maps.Clone(f)
	delete(damaged, name)
	if change != nil {
		damaged[name] = change(slices.Clone(f[name]))
	}
	return damaged
}

// damageOutcome is what came of a damaged store.
type damageOutcome string

const (
	refused   damageOutcome = "refused"
	readFails damageOutcome = "read error"
	exact     damageOutcome = "exact"
)

// try opens the folder, reads everything and complains of any other outcome. File is the damaged one.
// A folder that is refused stays as it is, and Check says why.
func (f damageFolder) try(t *testing.T, holds damageModel, what, file string) damageOutcome {
	t.Helper()
	fs := vfs.NewMem()
	f.write(t, fs, testDir)
	e, err := openDamageTest(fs, testDir, 4<<20)
	if err != nil {
		f.refused(t, fs, err, what, file)
		return refused
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Errorf("%s: Close: %v", what, err)
		}
	}()
	return readDamageTest(t, e, holds, what, file)
}

func (f damageFolder) refused(t *testing.T, fs vfs.FS, err error, what, file string) {
	t.Helper()
	name, _, _ := strings.Cut(file, ".0") // a marker that is missing is named with a star
	if strings.Contains(what, "older") && damageKind(file) == "segment" {
		name = "log." // which one it should have been nobody knows
	}
	text := err.Error()
	if layout.IsManifest(file) && strings.Contains(text, ".sst is missing") {
		name = "" // an older list of tables may be a good one, of tables that are gone
	}
	if !errors.Is(err, layout.ErrDamaged) || !strings.Contains(text, name) || !strings.Contains(text, "sessiond check --dir "+testDir) ||
		strings.Contains(text, "\n") || damageKind(file) == "segment" && !strings.Contains(text, "at byte ") {
		t.Errorf("%s: refused with %v", what, err)
	}
	report, err := Tools.Check(t.Context(), testDir, fs)
	if err != nil || report.Damage == 0 {
		t.Errorf("%s: refused, and Check found nothing, %v", what, err)
	}
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	left := damageFolder{}
	for _, name := range names {
		if left[name], err = folder.ReadFile(fs, fs.PathJoin(testDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	left["LOCK"], f = f["LOCK"], maps.Clone(f)
	for name, content := range f {
		if !bytes.Equal(left[name], content) {
			t.Errorf("%s: refused, and %s was changed", what, name)
		}
		delete(left, name)
	}
	for name := range left {
		if name != "LOCK" {
			t.Errorf("%s: refused, and %s was made", what, name)
		}
	}
}

func readDamageTest(t *testing.T, e *Engine, holds damageModel, what, file string) damageOutcome {
	t.Helper()
	outcome := exact
	fails := func(err error) {
		if !errors.Is(err, layout.ErrDamaged) || !strings.HasSuffix(file, ".sst") || !strings.Contains(err.Error(), file) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: read: %v", what, err)
		}
		outcome = readFails
	}
	for i := range damageNames {
		name := fmt.Sprint("session ", i)
		value, found, err := damageGet(e, name)
		want, exists := holds[name]
		if err != nil {
			fails(err)
		} else if found != exists || value != want {
			t.Errorf("%s: %s: found %v with %d bytes, want %v with %d", what, name, found, len(value), exists, len(want))
			return outcome
		}
	}
	names, err := damageScan(e)
	if err != nil {
		fails(err)
	} else if want := slices.Sorted(maps.Keys(holds)); !slices.Equal(names, want) {
		t.Errorf("%s: a scan finds %d sessions, want %d", what, len(names), len(want))
	}
	return outcome
}

func damageGet(e *Engine, name string) (value string, found bool, err error) {
	k := keyOf(name)
	_, err = e.View(context.Background(), storage.Scope{Keys: []storage.Key{k}}, func(r storage.Reader) error {
		rec, ok, err := r.Get(k)
		value, found = string(rec.Value), ok
		return err
	})
	return value, found, err
}

func damageScan(e *Engine) (names []string, err error) {
	for cursor := uint64(0); ; {
		_, err := e.View(context.Background(), storage.Scope{}, func(r storage.Reader) (err error) {
			cursor, err = r.Scan(0, cursor, 100, func(k storage.Key, _ storage.Record) bool {
				names = append(names, string(k.Name))
				return true
			})
			return err
		})
		if err != nil {
			return nil, err
		}
		if cursor == 0 {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
	}
}

// damages are the ways in which a file is damaged at a position.
var damages = map[string]func(b []byte, at, bit int) []byte{
	"flip": func(b []byte, at, bit int) []byte {
		b[at] ^= 1 << bit
		return b
	},
	"cut": func(b []byte, at, _ int) []byte { return b[:at] },
	"zero": func(b []byte, at, _ int) []byte {
		page := at &^ 4095
		clear(b[page:min(page+4096, len(b))])
		return b
	},
	"grow": func(b []byte, _, bit int) []byte { return append(b, make([]byte, 1+bit*1000)...) },
}

// damagePositions returns positions anywhere in a file and at its end, where a table has
// most of its parts.
func damagePositions(size, n int, rng *rand.Rand) (at []int) {
	if size == 0 {
		return nil
	}
	for range n {
		tail := [...]int{size, min(size, 60), min(size, 4000)}[rng.IntN(3)]
		at = append(at, size-1-rng.IntN(tail))
	}
	return at
}

// damageSetting returns a number from the environment.
func damageSetting(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv("SESSIOND_DAMAGE_"+name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// Ensure that damage to any file of a store is refused, reported by whoever reads, or
// harmless: no session is silently missing, and none is back. SESSIOND_DAMAGE_POSITIONS is
// the number of positions, and SESSIOND_DAMAGE_SEED repeats a run.
func TestDamage_NeverSilent(t *testing.T) {
	t.Parallel()
	seed := damageSetting("SEED", rand.Uint64())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	killed, older, closed, holds := buildDamageTest(t, rng)
	counts := map[string]int{}
	for state, folder := range map[string]damageFolder{"killed": killed, "closed": closed} {
		if got := folder.try(t, holds, state, ""); got != exact {
			t.Fatalf("%s: the undamaged store is %s", state, got)
		}
		for _, name := range slices.Sorted(maps.Keys(folder)) {
			if layout.IsBallast(name) && name != layout.BallastPrefix+"0" {
				continue // one is as good as all
			}
			try := func(how string, at int, change func([]byte) []byte) {
				what := fmt.Sprintf("%s: %s %s at %d of %d", state, how, name, at, len(folder[name]))
				got := folder.with(name, change).try(t, holds, what, name)
				counts[fmt.Sprintf("%-14s %-6s %s", damageKind(name), how, got)]++
			}
			try("remove", 0, nil)
			if before, found := older[name]; found && !bytes.Equal(before, folder[name]) {
				try("older", 0, func([]byte) []byte { return slices.Clone(before) })
			}
			used := len(folder[name])
			if damageKind(name) == "segment" {
				used = len(bytes.TrimRight(folder[name], "\x00"))
			}
			for how, damage := range damages {
				for _, at := range damagePositions(used, int(damageSetting("POSITIONS", 1)), rng) {
					try(how, at, func(b []byte) []byte { return damage(b, at, rng.IntN(8)) })
				}
			}
		}
	}
	whole := func(what, file string, folder, log damageFolder, want damageOutcome) {
		mixed := maps.Clone(folder)
		for name := range mixed {
			if layout.IsLog(name) {
				delete(mixed, name)
			}
		}
		for name, content := range log {
			if layout.IsLog(name) {
				mixed[name] = content
			}
		}
		if got := mixed.try(t, holds, what, file); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	whole("older log", "log.1", closed, older, refused)
	whole("older tables", "MANIFEST-", older, closed, refused)
	whole("older tables whose log is there", "", older, killed, exact)
	if counts["segment        older  refused"] == 0 || counts["segment        remove refused"] == 0 {
		t.Error("no older segment was refused, or none that is missing")
	}
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%s: %d", what, counts[what])
	}
}

func damageKind(name string) string {
	if ext := filepath.Ext(name); ext == ".log" || ext == ".sst" {
		return ext[1:]
	}
	if number, ok := strings.CutPrefix(name, "log."); ok && number[0] <= '9' {
		return "segment"
	}
	kind, _, _ := strings.Cut(name, "-0")
	kind, _, _ = strings.Cut(kind, ".0")
	return kind
}

const damageLine = "a file of the store is damaged: the sessions in it cannot be read or changed, and others can"

// lines counts log lines by their message.
type lines struct {
	slog.Handler
	mu sync.Mutex
	of map[string]int
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of[r.Message]++
	return nil
}

func (l *lines) counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.of)
}

// Ensure that a compaction that meets a damaged table is tried again from time to time and
// not at once, that it is told once, and that everything else goes on.
func TestDamage_Compaction(t *testing.T) {
	t.Parallel()
	fs, clock := vfs.NewMem(), ttl.NewManual(1)
	log := &lines{of: map[string]int{}}
	e, err := Open(testDir, Options{
		FS: fs, Clock: clock, CacheBytes: 1 << 20, RecordBytes: -1, MemTableSize: 4 << 20, Logger: slog.New(log),
		OnFailure: func(err error) { panic(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	flush := func(round int) {
		for i := range 300 {
			put(t, e, fmt.Sprint(round%2, " ", i), strings.Repeat("x", 500)+fmt.Sprint(round), ttl.Never)
		}
		if err := e.checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	admit := e.guard.Compactions.Hold()
	head, _ := fs.List(testDir)
	flush(0)
	names, _ := fs.List(testDir)
	tables := slices.DeleteFunc(names, func(s string) bool { return !strings.HasSuffix(s, ".sst") || slices.Contains(head, s) })
	if len(tables) != 1 {
		t.Fatalf("tables %v", tables)
	}
	damageTable(t, fs, fs.PathJoin(testDir, tables[0]))
	admit()
	e.guard.Compactions.Grant() // as at the next look
	failures := func() int64 { return e.db.Metrics().Compact.FailedCount }
	for round := 1; failures() == 0; round++ {
		if round > 20 {
			t.Fatal("no compaction meets the damaged table")
		}
		flush(round)
	}
	for range 3 {
		flush(1)
	}
	if n := failures(); n != 1 {
		t.Errorf("%d compactions failed before the clock moved, want 1", n)
	}
	clock.Advance(diskspace.MaxCompactionRest + diskspace.CompactionPoll)
	eventually(t, "a rest has an end", func() bool {
		if e.db.Metrics().Levels[0].Sublevels < diskspace.Crowded/2 {
			flush(1) // so that Pebble wants to merge
		}
		clock.Advance(diskspace.CompactionPoll) // who polls may have been busy
		return failures() > 1
	})
	if got := log.counts(); len(got) != 1 || got[damageLine] != 1 {
		t.Errorf("logged %v", got)
	}

	// Until there are so many tables that Pebble would let everybody wait.
	change := func() error {
		k := keyOf("late")
		_, err := e.Update(context.Background(), storage.Scope{Keys: []storage.Key{k}}, func(tx storage.Txn) error {
			return tx.Put(k, storage.Record{Kind: storage.KindString, Value: []byte("v")})
		})
		return err
	}
	defer e.guard.Compactions.Hold()() // or Pebble may merge what lies above the damage
	for round := 0; e.db.Metrics().Levels[0].Sublevels < diskspace.Crowded; round++ {
		if round > 2*diskspace.Crowded {
			t.Fatal("tables do not pile up")
		}
		flush(1)
	}
	if err := change(); err != nil {
		t.Errorf("Update: %v", err)
	}
	eventually(t, "changes are refused", func() bool {
		clock.Advance(laxInterval)
		err = change()
		return err != nil
	})
	if !errors.Is(err, layout.ErrDamaged) || !strings.Contains(err.Error(), tables[0]) {
		t.Errorf("Update: %v, want %v and %s", err, layout.ErrDamaged, tables[0])
	}
	if value, found, err := damageGet(e, "1 7"); err != nil || !found || !strings.HasSuffix(value, "1") {
		t.Errorf("a session in another table: %v, %v", found, err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// damageTable flips bits in the data of a table.
func damageTable(t *testing.T, fs vfs.FS, path string) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	for at := int64(10); at < info.Size()/2; at += 500 {
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 4
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Ensure that a damaged session is an error at once, however large it is. Pebble would look
// for the bit for minutes.
func TestDamage_LargeSession(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{RecordBytes: -1})
	value := make([]byte, 4<<20)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	put(t, e, "large", string(value), ttl.Never)
	if err := e.checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	closeTest(t, e)
	names, _ := fs.List(testDir)
	for _, name := range names {
		if info, err := fs.Stat(fs.PathJoin(testDir, name)); err == nil && strings.HasSuffix(name, ".sst") && info.Size() > 4<<20 {
			damageTable(t, fs, fs.PathJoin(testDir, name))
		}
	}
	e, err := openDamageTest(fs, testDir, 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, _, err := damageGet(e, "large"); !errors.Is(err, layout.ErrDamaged) || !strings.Contains(err.Error(), ".sst is damaged") {
		t.Errorf("read: %v, want %v and a table", err, layout.ErrDamaged)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the error took %v", took)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// Ensure that a footer that says something else is refused: it has no checksum, and Pebble
// would take the table for one without sessions.
func TestTablesFS_Footer(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := openTest(t, fs, Options{})
	put(t, e, "a", "1", ttl.Never)
	if err := e.checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	closeTest(t, e)
	names, _ := fs.List(testDir)
	i := slices.IndexFunc(names, func(s string) bool { return strings.HasSuffix(s, ".sst") })
	path := fs.PathJoin(testDir, names[i])
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	good, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	for bit := -1; bit < 8*pebblefile.TableFooter; bit++ {
		at := len(good) - pebblefile.TableFooter + max(bit, 0)/8
		if part := at - (len(good) - pebblefile.TableFooter); bit >= 0 && part > 0 && part < 41 {
			continue // where blocks are, and blocks have checksums
		}
		b := slices.Clone(good)
		if bit >= 0 {
			b[at] ^= 1 << (bit % 8)
		}
		damageFolder{"000001.sst": b}.write(t, fs, "one")
		told := 0
		table, err := pebblefile.TablesFS{FS: fs, Tell: func(pebblefile.Problem) { told++ }}.Open("one/000001.sst")
		if bit < 0 {
			if err != nil || told > 0 {
				t.Fatalf("a good table: %v", err)
			}
			_ = table.Close()
		} else if !errors.Is(err, layout.ErrDamaged) || told != 1 || !strings.Contains(err.Error(), "000001.sst") {
			t.Errorf("byte %d of %d: %v, told %d times", at, len(good), err, told)
		}
	}
}
