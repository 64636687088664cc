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
	// trimWorth is how much memory must have been used since then.
	trimWorth = 64 << 20
	// goroutineBytes is an estimate of what the goroutine of an idle connection takes.
	goroutineBytes = 10 << 10
	// trimRounds is how often memory is given back after a burst, because some buffers become free
	// only later.
	trimRounds = 6
)

// limitMemory sets the soft memory limit of the garbage collector, unless GOMEMLIMIT sets it.
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

// trimMemory gives memory back to the system after a burst, until ctx ends. Go itself does that only
// minutes later. A burst is a period in which much was allocated, or much more is held (the stacks of
// many connections are not part of what is allocated), or many connections have ended.
func trimMemory(ctx context.Context) {
	var last goMemory // allocated before, and held after, memory was last given back
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
			last.allocated = now.allocated // what is allocated from here on counts for the next burst
			now = readMemory()
			last.held = now.held
		}
		seen = now.cycles
	}
}

// goMemory holds the figures of the Go runtime.
type goMemory struct {
	cycles     uint64 // of the garbage collector
	allocated  uint64 // bytes since the start
	held       uint64 // bytes taken from the system and not given back
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
