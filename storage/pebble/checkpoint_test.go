package pebble

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that what a checkpoint notes belongs to one place in the log, though others commit
// meanwhile: after the end of the process at any moment the sizes are those of the records.
func TestCheckpoint_UnderLoad(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openTest(t, fs, Options{Durability: storage.EverySec, LogBytes: 4 << 20})
	over := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				name := fmt.Sprint(w, "-", i/2%500)
				k := keyOf(name)
				if i%2 == 0 || i%3 == 0 {
					put(t, e, name, "value", ttl.Instant(1_000_000+i))
				} else {
					update(t, e, func(tx storage.Txn) error { return tx.Delete(k) }, k)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		if err := e.checkpoint(t.Context()); err != nil {
			t.Error(err)
		}
		killed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
		closeTest(t, openTest(t, killed, Options{}))
	}
	close(over)
	writers.Wait()
	closeTest(t, e)
}

// Ensure that a store that nobody changes brings to the tree what is worth a checkpoint, and leaves
// in the log what is not.
func TestCheckpoint_WhileQuiet(t *testing.T) {
	t.Parallel()
	clock := ttl.NewManual(1)
	e := openTest(t, vfs.NewMem(), Options{Clock: clock, LogBytes: minLogBytes})
	defer closeTest(t, e)
	put(t, e, "small", "value", 1_000_000)
	if e.hasMuch() {
		t.Error("one session is worth a checkpoint")
	}
	for i := range 10 {
		put(t, e, fmt.Sprint("large ", i), string(make([]byte, 10<<10)), 1_000_000)
	}
	if due, _ := e.fills(); due {
		t.Fatal("a checkpoint is due whether somebody changes anything or not")
	}
	eventually(t, "the tree has followed", func() bool {
		clock.Advance(time.Second)
		return e.followed() == e.log.End()
	})
}

// Ensure that frames that go through the mapping of the log and longer ones, which are written,
// lie behind each other after the end of the process.
func TestLog_LongFrames(t *testing.T) {
	t.Parallel()
	dir, killed := t.TempDir(), t.TempDir()
	opts := Options{Durability: storage.EverySec, CacheBytes: 1 << 20, LogBytes: 4 << 20, Logger: slog.New(slog.DiscardHandler)}
	e, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, e)
	sizes := []int{20 << 10, 10, 200 << 10, 16 << 10, 10, 10, 60 << 10, 10, 60 << 10, 60 << 10}
	value := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, sizes[i]) }
	for i := range sizes {
		put(t, e, fmt.Sprint(i), string(value(i)), 0)
		if i%2 == 0 {
			continue // the next one comes before this one is written
		}
		if err := e.Sync(t.Context(), 0); err != nil { // what a reply waits for
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	again, err := Open(killed, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, again)
	for i := range sizes {
		if got, found, err := damageGet(again, fmt.Sprint(i)); err != nil || !found || got != string(value(i)) {
			t.Errorf("value %d of %d bytes: found %v, %d bytes, %v", i, sizes[i], found, len(got), err)
		}
	}
}
