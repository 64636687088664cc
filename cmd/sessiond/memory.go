package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

const (
	// workMemory is what sessiond may use beside its cache before the garbage collector
	// works harder: the store's tables in memory, and what clients send and are sent.
	workMemory = 512 << 20
	// trimPause is how long sessiond must be quiet before memory is given back.
	trimPause = 2 * time.Second
	// trimWorth is how much must have been used meanwhile to make that worth the work.
	trimWorth = 64 << 20
	// trimRounds is how often memory is given back after a burst: some of it, in buffers and
	// in the store, becomes free only a while later.
	trimRounds = 6
)

// limitMemory makes the garbage collector keep to what was asked for, as far as it can:
// the limit is soft. GOMEMLIMIT wins.
func limitMemory(cacheBytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(cacheBytes + workMemory)
	}
}

// keepMemory limits memory and gives it back until stop is called.
func keepMemory(cacheBytes int64) (stop func()) {
	limitMemory(cacheBytes)
	ctx, cancel := context.WithCancel(context.Background())
	var trimmer sync.WaitGroup
	trimmer.Go(func() { trimMemory(ctx) })
	return func() {
		cancel()
		trimmer.Wait()
	}
}

// trimMemory gives memory back to the system when a burst is over, until ctx ends. By
// itself Go does that only minutes later.
func trimMemory(ctx context.Context) {
	const cycles, allocated = 0, 1
	now := []metrics.Sample{cycles: {Name: "/gc/cycles/total:gc-cycles"}, allocated: {Name: "/gc/heap/allocs:bytes"}}
	var seen, trimmed uint64
	rounds := 0
	for ttl.System.Sleep(ctx, trimPause) == nil {
		metrics.Read(now)
		if now[allocated].Value.Uint64()-trimmed >= trimWorth {
			rounds = trimRounds
		}
		if rounds > 0 && now[cycles].Value.Uint64() == seen {
			rounds--
			trimmed = now[allocated].Value.Uint64() // before: what is allocated meanwhile comes next
			debug.FreeOSMemory()
			metrics.Read(now)
		}
		seen = now[cycles].Value.Uint64()
	}
}
