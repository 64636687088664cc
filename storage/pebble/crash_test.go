package pebble

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// The crash tests write to a file system that remembers what was synced. A clone of it with
// a share of the unsynced blocks is the disk after a power cut; one with all of them is the
// disk after kill -9.

// powerCut, kill and torn are shares of the unsynced data that survive, in percent.
const (
	powerCut = 0
	torn     = 50
	kill     = 100
)

// story is what one writer did to its session and what was acknowledged of it.
type story struct {
	name     string
	value    atomic.Uint64 // number of the newest acknowledged value
	deadline atomic.Int64  // newest acknowledged deadline
	attempt  atomic.Int64  // newest deadline that was asked for
}

const crashBase ttl.Instant = 1 << 40

// live writes, extends and syncs until stop is closed.
func (s *story) live(t *testing.T, e *Engine, rng *rand.Rand, stop chan struct{}) {
	padding := strings.Repeat("x", 3000)
	deadline := crashBase
	for n := uint64(1); ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		deadline++
		s.attempt.Store(int64(deadline))
		if n == 1 || rng.IntN(2) == 0 {
			syncTo(t, e, put(t, e, s.name, fmt.Sprintf("%d %s", n, padding[:rng.IntN(len(padding))]), deadline))
			s.value.Store(n)
		} else {
			syncTo(t, e, setDeadline(t, e, s.name, deadline))
		}
		s.deadline.Store(int64(deadline))
	}
}

// Ensure that a crash takes nothing back that the mode promised, however much of the
// unsynced data survives, and that the store opens again with exact sizes and index.
func TestCrash_KeepsThePromise(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode      storage.Durability
		share     int
		values    bool // acknowledged values survive
		deadlines bool // acknowledged deadlines survive
	}{
		{storage.Strict, powerCut, true, true},
		{storage.Strict, torn, true, true},
		{storage.Strict, kill, true, true},
		{storage.Session, powerCut, true, false},
		{storage.Session, torn, true, false},
		{storage.Session, kill, true, true},
		{storage.EverySec, powerCut, false, false},
		{storage.EverySec, torn, false, false},
		{storage.EverySec, kill, true, true},
	}
	for _, tt := range tests {
		for _, mark := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode=%d/share=%d/mark=%v", tt.mode, tt.share, mark), func(t *testing.T) {
				t.Parallel()
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				fs, m := vfs.NewCrashableMem(), &mapped{}
				opts := Options{Durability: tt.mode, Clock: ttl.NewManual(1)}
				if mark {
					opts.MapFile = m.open
				}
				e := openTest(t, fs, opts)
				stop := make(chan struct{})
				stories := make([]*story, 4)
				var group sync.WaitGroup
				for i := range stories {
					stories[i] = &story{name: fmt.Sprint("session", i)}
					group.Go(func() { stories[i].live(t, e, rand.New(rand.NewPCG(seed, uint64(i))), stop) })
				}
				for round := range uint64(3) {
					before := m.clone()
					// Enough for the log to have gone round.
					for want := e.log.End() + 200*600; e.log.End() < want; {
						syncTo(t, e, put(t, e, "filler", strings.Repeat("y", 500), crashBase))
					}
					values, deadlines := acknowledged(stories)
					rng := rand.New(rand.NewPCG(seed, round))
					left := Options{Durability: tt.mode}
					switch rest := m.clone(); {
					case !mark:
					case tt.share == kill:
						left.MapFile = rest.open
					default:
						left.MapFile, left.BootID = rest.torn(before, tt.share, rng).open, anotherBoot
					}
					clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: tt.share, RNG: rng})
					survivor := openTest(t, clone, left)
					for i, s := range stories {
						s.check(t, survivor, tt.values, values[i], tt.deadlines, deadlines[i])
					}
					closeTest(t, survivor)
				}
				close(stop)
				group.Wait()
				closeTest(t, e)
			})
		}
	}
}

func acknowledged(stories []*story) (values []uint64, deadlines []int64) {
	for _, s := range stories {
		values = append(values, s.value.Load())
		deadlines = append(deadlines, s.deadline.Load())
	}
	return values, deadlines
}

func (s *story) check(t *testing.T, e *Engine, values bool, value uint64, deadlines bool, deadline int64) {
	t.Helper()
	rec, found := get(t, e, s.name)
	if !found {
		if values && value > 0 {
			t.Errorf("%s is gone, value %d was acknowledged", s.name, value)
		}
		return
	}
	var n uint64
	if _, err := fmt.Sscanf(string(rec.Value), "%d ", &n); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	if values && n < value {
		t.Errorf("%s has value %d, %d was acknowledged", s.name, n, value)
	}
	if deadlines && int64(rec.Deadline) < deadline {
		t.Errorf("%s has deadline %d, %d was acknowledged", s.name, rec.Deadline, deadline)
	}
	if int64(rec.Deadline) > s.attempt.Load() {
		t.Errorf("%s has deadline %d, nobody asked for more than %d", s.name, rec.Deadline, s.attempt.Load())
	}
}

// Ensure that a store opens after a power cut that left holes in the part of the log that
// was handed over and not synced, with a beginning of what was written: see pebbleFormat.
func TestCrash_HolesInTheLog(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	closeTest(t, openTest(t, fs, Options{})) // Pebble writes a store's first log in an older format
	e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1)})
	const changes = 150
	for i := range changes {
		syncTo(t, e, put(t, e, fmt.Sprint(i), strings.Repeat("z", 1000), ttl.Never))
	}
	for seed := range uint64(10) {
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: torn, RNG: rand.New(rand.NewPCG(seed, 0))})
		survivor := openTest(t, clone, Options{})
		n := int(survivor.counters.get(0).Records)
		for i := range changes {
			if _, found := get(t, survivor, fmt.Sprint(i)); found != (i < n) {
				t.Errorf("seed %d: change %d found %v, %d survived", seed, i, found, n)
			}
		}
		closeTest(t, survivor)
	}
	closeTest(t, e)
}

// Ensure that in session mode a reply about somebody else's unsynced change waits for it:
// the barrier of a reader covers what it read, by key and by scan.
func TestCrash_ReadersWait(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"key", "scan", "len", "whole"} {
		fs := vfs.NewCrashableMem()
		e := openTest(t, fs, Options{Clock: ttl.NewManual(1)})
		put(t, e, "a", "1", ttl.Never) // nobody synced it
		scope := storage.Scope{}
		switch how {
		case "key":
			scope.Keys = []storage.Key{keyOf("a")}
		case "whole":
			scope = storage.Whole
		}
		b, err := e.View(context.Background(), scope, func(r storage.Reader) error {
			var err error
			switch how {
			case "scan":
				_, err = r.Scan(0, 0, 10, func(storage.Key, storage.Record) bool { return true })
			case "len":
				_, err = r.Len(0)
			default:
				_, _, err = r.Get(keyOf("a"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		syncTo(t, e, b)
		survivor := openTest(t, fs.CrashClone(vfs.CrashCloneCfg{}), Options{})
		if _, found := get(t, survivor, "a"); !found {
			t.Errorf("%s: what a reader was shown is gone", how)
		}
		closeTest(t, survivor)
		closeTest(t, e)
	}
}

// Ensure that revisions are not used again after a crash, what was written and lost included.
func TestCrash_Revisions(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	last := uint64(0)
	for round := range uint64(5) {
		e := openTest(t, fs, Options{Durability: storage.EverySec, Clock: ttl.NewManual(1)})
		put(t, e, "first", "v", ttl.Never)
		if rec, _ := get(t, e, "first"); rec.Revision <= last {
			t.Errorf("revision %d after %d", rec.Revision, last)
		}
		for i := range 50 {
			put(t, e, fmt.Sprint(i), "v", ttl.Never)
		}
		last = e.revisions.Load()
		rng := rand.New(rand.NewPCG(round, 2))
		left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: torn, RNG: rng})
		closeTest(t, e)
		fs = left
	}
}
