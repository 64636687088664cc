package ttl_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// settable is a wall clock as a machine has one: somebody may set it, and those who sleep
// sleep on.
type settable struct {
	*ttl.Manual // only passes
	shift       atomic.Int64
}

func newSettable(now ttl.Instant) *settable { return &settable{Manual: ttl.NewManual(now)} }

func (c *settable) Now() ttl.Instant { return c.Manual.Now() + ttl.Instant(c.shift.Load()) }

// step sets the clock by d.
func (c *settable) step(d time.Duration) { c.shift.Add(int64(d / time.Millisecond)) }

// Ensure that the clock goes forward with the one below, stands still when that one goes
// back, and follows it when it is released.
func TestForward_Now(t *testing.T) {
	t.Parallel()
	wall := ttl.NewManual(100)
	clock := ttl.NewForward(wall, ttl.Never)
	for i, step := range []struct {
		wall     ttl.Instant
		from, to ttl.Instant // of Release, if there is one
		released bool
		want     ttl.Instant
	}{
		{wall: 100, want: 100},
		{wall: 250, want: 250},
		{wall: 40, want: 250},
		{wall: 249, want: 250},
		{wall: 40, from: 249, to: 40, want: 250}, // drained at another instant
		{wall: 40, from: 251, to: 40, want: 250},
		{wall: 40, from: 250, to: 250, want: 250},
		{wall: 40, from: 250, to: 260, want: 250}, // not back
		{wall: 40, from: 250, to: 40, released: true, want: 40},
		{wall: 40, from: 250, to: 40, want: 40},
		{wall: 39, want: 40},
		{wall: 300, want: 300},
		{wall: 60, from: 300, to: 50, released: true, want: 60}, // the wall clock went on meanwhile
		{wall: 50, from: 60, to: -5, released: true, want: 50},
	} {
		wall.Set(step.wall)
		if step.from != 0 && clock.Release(step.from, step.to) != step.released {
			t.Errorf("step %d: Release(%d, %d) = %v, want %v", i, step.from, step.to, !step.released, step.released)
		}
		if got := clock.Now(); got != step.want {
			t.Errorf("step %d: Now = %d, want %d", i, got, step.want)
		}
		if got := clock.Wall(); got != step.wall {
			t.Errorf("step %d: Wall = %d, want %d", i, got, step.wall)
		}
	}
}

// Ensure that the clock begins no earlier than where time was before.
func TestNewForward_Seen(t *testing.T) {
	t.Parallel()
	wall := ttl.NewManual(100)
	if got := ttl.NewForward(wall, 70).Now(); got != 100 {
		t.Errorf("Now = %d with a wall clock that went on, want 100", got)
	}
	clock := ttl.NewForward(wall, 5000)
	if got := clock.Now(); got != 5000 {
		t.Errorf("Now = %d with a wall clock that was set back, want 5000", got)
	}
	wall.Set(5001)
	if got := clock.Now(); got != 5001 {
		t.Errorf("Now = %d once the wall clock has caught up, want 5001", got)
	}
}

// interrupted is a clock at which something happens after it was read and before the reader
// has the result.
type interrupted struct {
	ttl.Clock
	interrupt func()
}

func (c *interrupted) Now() ttl.Instant {
	now := c.Clock.Now()
	if interrupt := c.interrupt; interrupt != nil {
		c.interrupt = nil
		interrupt()
	}
	return now
}

// Ensure that a goroutine that has read the wall clock before it was set back does not move a clock
// forward that was released meanwhile.
func TestForward_Now_ReleasedMeanwhile(t *testing.T) {
	t.Parallel()
	wall := ttl.NewManual(990)
	below := &interrupted{Clock: wall}
	clock := ttl.NewForward(below, ttl.Never)
	clock.Now()
	wall.Set(1000)
	below.interrupt = func() {
		wall.Set(500)
		if !clock.Release(990, 500) {
			t.Error("not released")
		}
	}
	if got := clock.Now(); got != 500 {
		t.Errorf("Now = %d, want 500 as after the release", got)
	}
	if got := clock.Now(); got != 500 {
		t.Errorf("Now = %d the next time, want 500", got)
	}
}

// Ensure that a call of Now that begins after another one has returned does not return an earlier
// instant, whatever the wall clock does.
func TestForward_Now_Concurrent(t *testing.T) {
	t.Parallel()
	wall := ttl.NewManual(0)
	clock := ttl.NewForward(wall, ttl.Never)
	var highest atomic.Int64
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			for range 20_000 {
				wall.Set(ttl.Instant(rng.IntN(1_000_000)))
				told := highest.Load()
				now := int64(clock.Now())
				if now < told {
					t.Errorf("Now = %d after somebody was told %d", now, told)
					return
				}
				for old := highest.Load(); old < now && !highest.CompareAndSwap(old, now); old = highest.Load() {
				}
			}
		})
	}
	group.Wait()
}

// Ensure that Sleep measures how much time passes, whatever the wall clock is set to.
func TestForward_Sleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wall := newSettable(1000)
		woken := sleeper(t.Context(), ttl.NewForward(wall, 9000), time.Second)
		wall.step(-500 * time.Millisecond)
		wall.Advance(999 * time.Millisecond)
		if awake(t, woken) {
			t.Error("awake after 999 ms, want to sleep for a second")
		}
		wall.Advance(time.Millisecond)
		if !awake(t, woken) {
			t.Error("asleep after a second")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := ttl.NewForward(wall, 0).Sleep(ctx, time.Hour); err == nil {
			t.Error("Sleep does not end with its context")
		}
	})
}

// Ensure that telling the time allocates nothing: every command does it.
func TestForward_Now_Allocates(t *testing.T) {
	clock := ttl.NewForward(ttl.System, ttl.Never)
	if n := testing.AllocsPerRun(1000, func() { clock.Now() }); n != 0 {
		t.Errorf("Now allocates %v times", n)
	}
}

func BenchmarkForward_Now(b *testing.B) {
	for name, clock := range map[string]ttl.Clock{
		"System":        ttl.System,
		"Forward":       ttl.NewForward(ttl.System, ttl.Never),
		"ForwardBehind": ttl.NewForward(ttl.System, ttl.Latest),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				clock.Now()
			}
		})
		b.Run(name+"Parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					clock.Now()
				}
			})
		})
	}
}
