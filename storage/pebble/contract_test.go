package pebble

import (
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
)

// Ensure that the engine keeps the contract of storage.Engine.
func TestEngine_Contract(t *testing.T) {
	t.Parallel()
	for name, size := range caches {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			enginetest.Run(t, memFactory(size))
		})
	}
}

// caches are sizes of the cache, in bytes, with which all must be the same.
var caches = map[string]int64{"cache": 0, "cache of a few records": 4 << 10, "no cache": -1}

// Ensure that random work leads to the same records and answers as in the model.
func TestEngine_Model(t *testing.T) {
	t.Parallel()
	for name, size := range caches {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			enginetest.RunModel(t, memFactory(size), 0, 0)
		})
	}
}

// memFactory opens engines in memory, with memtables so small that tables get written.
func memFactory(size int64) enginetest.Factory {
	var stores sync.Map // of the vfs.FS by engine
	open := func(t testing.TB, fs vfs.FS) storage.Engine {
		t.Helper()
		e := openTest(t, fs, Options{RecordBytes: size})
		stores.Store(e, fs)
		return e
	}
	return enginetest.Factory{
		Open: func(t testing.TB) storage.Engine { return open(t, vfs.NewMem()) },
		Reopen: func(t testing.TB, e storage.Engine) storage.Engine {
			t.Helper()
			if err := e.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			fs, _ := stores.LoadAndDelete(e)
			return open(t, fs.(vfs.FS))
		},
	}
}
