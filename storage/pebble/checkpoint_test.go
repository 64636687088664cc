package pebble

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

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
