package pebble

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
)

// script is the fixed work of the tests that stop it at a chosen file operation: changes,
// reads, sweeps, swaps, flushes of databases and of tables, compactions. Errors of single
// steps go to onError, which says whether to go on.
func (l *ledger) script(t testing.TB, e *Engine, rng *rand.Rand, steps int, onError func(error) bool) {
	for i := range steps {
		err := l.write(t, e, rng)
		if i%2 == 0 && err == nil {
			err = l.read(t, e, rng)
		}
		if i%6 == 5 && err == nil {
			err = l.tick(e, rng)
		}
		if i%10 == 9 && err == nil {
			_, err = e.db.AsyncFlush()
		}
		if i%30 == 29 && err == nil {
			err = e.blame(e.db.Compact(e.guard.Compactions.Context(), []byte{0}, []byte{0xff}, false))
		}
		if err != nil && !onError(err) {
			return
		}
	}
}

// crashPoints takes the disk away before and after every file operation of one life of a
// store, from its creation to the end of its Close, and hands what is left to keep.
type crashPoints struct {
	*ledger
	disk *vfs.MemFS
	seed uint64
	take func(point int64) bool
	seen int64 // operations, before and after
	cuts []*cut
}

// point may be called by many goroutines; the caller holds a lock.
func (p *crashPoints) point(when string, op fileOp) {
	p.seen++
	if !p.take(p.seen) {
		return
	}
	share := []int{powerCut, kill, torn}[p.seen/2%3]
	p.cuts = append(p.cuts, p.cut(p.disk, when+" "+string(op.kind)+" "+op.name, share, p.seed+uint64(p.seen)))
}

// run lives one life and returns how many points it had.
func (p *crashPoints) run(t testing.TB, steps int) int64 {
	points := make(chan struct{}, 1)
	point := func(when string, op fileOp) {
		points <- struct{}{}
		p.point(when, op)
		<-points
	}
	fs := &tapFS{
		FS:     p.disk,
		before: func(op fileOp) error { point("before", op); return nil },
		after:  func(op fileOp) { point("after", op) },
	}
	rng := rand.New(rand.NewPCG(p.seed, 0))
	e := openCut(t, fs, Options{Durability: p.mode, Clock: p.clock})
	p.script(t, e, rng, steps, func(err error) bool { t.Error(err); return false })
	p.drain(t, e, rng)
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	return p.seen
}

// Ensure that a store which stops before or after any one of its file operations opens
// again with all that was acknowledged at that moment. The short run looks at a sample of
// them, SESSIOND_CRASH_POINTS=1 at every one.
func TestCrashPoint(t *testing.T) {
	t.Parallel()
	const steps, batch = 60, 16
	every := int64(testNumber(t, "SESSIOND_CRASH_POINTS", 40)) // one of so many
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed, sum := rand.Uint64(), &counts{}
			t.Logf("seed %d", seed)
			// A run holds all its disks in memory, so it takes a share of the points.
			runs, stride := int64(1), every
			if every < batch {
				runs, stride = batch/every, batch
			}
			points := int64(0)
			for run := range runs {
				offset := rand.Int64N(stride)
				if every < batch {
					offset = run * every
				}
				p := &crashPoints{
					ledger: newLedger(mode, world{}, crashBase), disk: vfs.NewCrashableMem(), seed: seed,
					take: func(n int64) bool { return n%stride == offset },
				}
				points = p.run(t, steps)
				for _, c := range p.cuts {
					p.judge(t, c, sum)
					if t.Failed() {
						t.FailNow()
					}
				}
			}
			t.Logf("%s: %d points in a life, %v", name, points, sum)
		})
	}
}

var modes = map[string]storage.Durability{
	"session": storage.Session, "strict": storage.Strict, "everysec": storage.EverySec,
}
