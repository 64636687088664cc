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
	// goroutineBytes is about what ends with the goroutine of an idle connection.
	goroutineBytes = 10 << 10
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
// itself Go does that only minutes later. A burst is what was allocated, what came to be held,
// for the stacks of many connections are not among what is allocated, or what many connections
// held that have ended.
func trimMemory(ctx context.Context) {
	var last goMemory // allocated before memory was last given back, and held after it
	seen, rounds, most := uint64(0), 0, uint64(0)
	for ttl.System.Sleep(ctx, trimPause) == nil {
		now := readMemory()
		most = max(most, now.goroutines)
		ended := (most - now.goroutines) * goroutineBytes
		if now.allocated-last.allocated >= trimWorth || now.held >= last.held+trimWorth || ended >= trimWorth {
			rounds, most = trimRounds, now.goroutines
		}
		if rounds > 0 && now.cycles == seen {
			rounds--
			debug.FreeOSMemory()
			last.allocated = now.allocated // what is allocated meanwhile comes next
			now = readMemory()
			last.held = now.held
		}
		seen = now.cycles
	}
}

// goMemory is what Go tells of the memory it manages.
type goMemory struct {
	cycles     uint64 // of the garbage collector
	allocated  uint64 // bytes, ever
	held       uint64 // bytes that are not given back to the system
	goroutines uint64
}

func readMemory() goMemory {
	s := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(s)
	return goMemory{
		cycles:     s[0].Value.Uint64(),
		allocated:  s[1].Value.Uint64(),
		held:       s[2].Value.Uint64() - s[3].Value.Uint64(),
		goroutines: s[4].Value.Uint64(),
	}
}
