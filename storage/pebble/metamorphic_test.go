package pebble

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
)

// Ensure that no option shows in what the engine answers: random work agrees with the model
// while each reopening changes the sizes of caches and tables, down to tables smaller than
// one commit, and the mode of durability.
func TestEngine_Model_AnyOptions(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed of the options %d", seed)
	enginetest.RunModel(t, optionsFactory(rand.New(rand.NewPCG(seed, 0))), 0, 0)
}

// optionsFactory opens engines in memory with other options each time.
func optionsFactory(rng *rand.Rand) enginetest.Factory {
	var stores sync.Map // of the vfs.FS by engine
	open := func(t testing.TB, fs vfs.FS) storage.Engine {
		t.Helper()
		opts := Options{
			Durability:   storage.Durability(rng.IntN(3)),
			CacheBytes:   []int64{1, 64 << 10, 32 << 20}[rng.IntN(3)],
			Logger:       slog.New(slog.NewTextHandler(io.Discard, nil)),
			OnFailure:    func(err error) { panic(err) },
			FS:           fs,
			MemTableSize: []uint64{8 << 10, 64 << 10, 1 << 20}[rng.IntN(3)],
		}
		e, err := Open(testDir, opts)
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		stores.Store(e, fs)
		return e
	}
	return enginetest.Factory{
		Open: func(t testing.TB) storage.Engine { return open(t, vfs.NewMem()) },
		Reopen: func(t testing.TB, e storage.Engine) storage.Engine {
			t.Helper()
			closeTest(t, e.(*Engine))
			fs, _ := stores.LoadAndDelete(e)
			return open(t, fs.(vfs.FS))
		},
	}
}
