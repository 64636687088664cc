package wal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// Ensure that what is on disk stays what it is. If this test fails, the version has to go up.
func TestFormat(t *testing.T) {
	t.Parallel()
	id := storeID([]byte("0123456789abcdef"))
	f := make([]byte, HeaderSize+5)
	copy(f[HeaderSize:], "hello")
	tests := map[string]struct {
		got  []byte
		want string
	}{
		"segment": {segmentHeader{1 << 20, id, 3 << 20, 3<<20 - 8, 7, 3<<20 - 800}.encode(), `` +
			`736573736c6f670a` + `01000000` + `00001000` + `30313233343536373839616263646566` + `0000300000000000` +
			`f8ff2f0000000000` + `07000000` + `20030000` + `00000000` + `10c9da1e`},
		"control": {control{4, id, 1 << 20, 9, 7, 1 << 21, 1<<20 + 64, 3 << 20, false}.encode(), `` +
			`7365737363746c0a` + `01000000` + `04000000` + `30313233343536373839616263646566` + `0000100000000000` +
			`0900000000000000` + `07000000` + `00000000` + `0000200000000000` + `4000100000000000` + `0000300000000000` +
			`00000000` + `e18ff698`},
	}
	for name, tt := range tests {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s is\n%s, want\n%s", name, got, tt.want)
		}
	}
	putHeader(f, crc32.Update(id.key(), crcTable, f[HeaderSize:]), 5, 1<<20+64, 7, 1<<20)
	if got, want := hex.EncodeToString(f), "8ea741d8"+"05000000"+"4000100000000000"+"07000000"+"40000000"+"68656c6c6f"; got != want {
		t.Errorf("a frame is\n%s, want\n%s", got, want)
	}
}

// testNumber returns the number in an environment variable, or without.
func testNumber(t *testing.T, variable string, without int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// machine is a disk with a log on it that one life after the other uses.
type machine struct {
	disk   *disk
	memory *shared
	log    *Log
	frames []written // all that may be there
	from   LSN       // what was released
	life   uint32
}

// written is a frame that was appended, and the LSN behind it.
type written struct {
	end     LSN
	payload string
}

// work does n things with the log.
func (m *machine) work(t *testing.T, rng *rand.Rand, n int) {
	t.Helper()
	for range n {
		switch rng.IntN(12) {
		case 0, 1:
			if err := m.log.Sync(context.Background(), m.log.End()); err != nil {
				t.Fatal(err)
			}
		case 2, 3, 4:
			if err := m.log.Write(); err != nil {
				t.Fatal(err)
			}
		case 5:
			m.release(t, rng)
		default:
			payload := fmt.Sprint(m.log.Life(), " ", len(m.frames), strings.Repeat(" padding", rng.IntN(1+rng.IntN(200))))
			end, err := m.log.Append(framed(payload))
			if errors.Is(err, ErrFull) {
				m.release(t, rng)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			m.frames = append(m.frames, written{end, payload})
		}
	}
}

// release gives up frames from the front, as one does whose copies are durable: all that are on
// stable storage here.
func (m *machine) release(t *testing.T, rng *rand.Rand) {
	t.Helper()
	if err := m.log.Sync(context.Background(), m.log.End()); err != nil {
		t.Fatal(err)
	}
	n := len(m.frames) - rng.IntN(min(len(m.frames)+1, 4))
	if n == 0 {
		return
	}
	m.from = m.frames[n-1].end
	m.frames = m.frames[n:]
	if err := m.log.Release(m.from); err != nil {
		t.Fatal(err)
	}
}

// end ends the life in some way and returns how much of the log must be left.
func (m *machine) end(t *testing.T, rng *rand.Rand) (kept LSN, how string) {
	t.Helper()
	switch kept, written := m.log.Synced(), m.log.Written(); rng.IntN(4) {
	case 0:
		kept = m.log.End()
		if err := m.log.Close(); err != nil {
			t.Fatal(err)
		}
		m.memory = m.memory.after()
		return kept, "close"
	case 1:
		m.disk, m.memory = m.disk.copied(), m.memory.after()
		return written, "kill -9"
	default:
		before := m.memory.after() // the kernel writes it when it likes
		m.disk = m.disk.cut(rng)
		m.memory = before
		m.memory.boot++
		if rng.IntN(4) == 0 {
			m.memory.bytes = nil
		}
		return kept, "power cut"
	}
}

// open begins the next life and checks what it finds.
func (m *machine) open(t *testing.T, kept LSN, how string) {
	t.Helper()
	var got []written
	l, found, err := Open(testConfig(m.disk, m.memory), m.from, func(f Frame) error {
		got = append(got, written{f.LSN, string(f.Payload)})
		return nil
	})
	if err != nil {
		t.Fatalf("Open after %s: %v", how, err)
	}
	m.log.background.Wait()
	if len(got) > len(m.frames) || !slices.Equal(got, m.frames[:len(got)]) {
		t.Fatalf("after %s %d frames are there, not the first of those that were written", how, len(got))
	}
	if found.End < min(kept, m.ended()) {
		t.Fatalf("after %s the log ends at %d, it was kept up to %d", how, found.End, kept)
	}
	if how == "kill -9" && !found.Exact {
		t.Fatalf("after %s the log is not known to be whole", how)
	}
	if l.Life() <= m.life {
		t.Fatalf("life %d after %d", l.Life(), m.life)
	}
	m.log, m.frames, m.life = l, got, l.Life()
}

// ended returns the end of the last frame.
func (m *machine) ended() LSN {
	if len(m.frames) == 0 {
		return m.from
	}
	return m.frames[len(m.frames)-1].end
}

// Ensure that of the log the promised beginning is left, and never anything behind a gap or of
// an earlier life, after the end of the process or of the machine at any moment, life after life.
func TestLog_Crash(t *testing.T) {
	t.Parallel()
	for range testNumber(t, "SESSIOND_LOG_CRASHES", 1500) / 30 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 0))
			m := &machine{disk: newDisk(), memory: &shared{}}
			m.log = create(t, testConfig(m.disk, m.memory))
			m.from, m.life = m.log.End(), m.log.Life()
			for range 30 {
				m.work(t, rng, 1+rng.IntN(60))
				kept, how := m.end(t, rng)
				m.open(t, kept, how)
			}
		})
	}
}

// Ensure that a frame which a torn tail left behind does not come back, though the frames of the
// life that wrote before it were released.
func TestOpen_LeftBehind(t *testing.T) {
	t.Parallel()
	d := newDisk()
	config := testConfig(d, nil)
	l := create(t, config)
	from := l.End()
	for _, payload := range []string{"torn", "left behind"} {
		if _, err := l.Append(framed(payload)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Write(); err != nil {
		t.Fatal(err)
	}
	l.background.Wait()
	d.files[d.Join(testDir, segmentName(1))].data[from%LSN(config.SegmentBytes)] ^= 1
	none := func(f Frame) error { return fmt.Errorf("%q is there", f.Payload) }
	l, _, err := Open(config, from, none)
	if err != nil {
		t.Fatal(err)
	}
	end, err := l.Append(framed("anew"))
	if err := errors.Join(err, l.Sync(context.Background(), end), l.Release(end), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(config, end, none); err != nil {
		t.Error(err)
	}
}

// Ensure that many goroutines can append and sync at once, and that each finds its frames in its
// own order.
func TestLog_Concurrent(t *testing.T) {
	t.Parallel()
	d := newDisk()
	config := testConfig(d, &shared{})
	config.Segments, config.SegmentBytes = 64, 16<<10
	l := create(t, config)
	from := l.End()
	const writers, each = 8, 200
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				end, err := l.Append(framed(fmt.Sprint(w, " ", i, strings.Repeat("x", i))))
				if err == nil && i%5 == 0 {
					err = l.Sync(context.Background(), end)
				}
				if err == nil && l.Written() < end {
					err = l.Write()
				}
				if err != nil || l.Written() < end || i%5 == 0 && l.Synced() < end {
					t.Errorf("frame %d of %d: %v", i, w, err)
					return
				}
			}
		})
	}
	group.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	next := make([]int, writers)
	_, found, err := Open(testConfig(d, nil), from, func(f Frame) error {
		var w, i int
		if _, err := fmt.Sscanf(string(f.Payload), "%d %d", &w, &i); err != nil {
			return err
		}
		if i != next[w] {
			return fmt.Errorf("frame %d of %d, want %d", i, w, next[w])
		}
		next[w]++
		return nil
	})
	if err != nil || found.Frames != writers*each {
		t.Errorf("Open = %+v, %v", found, err)
	}
}

// Ensure that a log that is full says so, keeps what it has, and goes on when there is room.
func TestLog_Full(t *testing.T) {
	t.Parallel()
	d := newDisk()
	l := create(t, testConfig(d, nil))
	from := l.End()
	payload := strings.Repeat("x", 1000)
	n := 0
	var last LSN
	for ; ; n++ {
		end, err := l.Append(framed(payload))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = end
	}
	if n < 9 || l.Room() >= padded(HeaderSize+len(payload)) {
		t.Errorf("full after %d frames with room for %d bytes", n, l.Room())
	}
	if _, err := l.Append(framed("small")); err != nil {
		t.Errorf("a small frame: %v", err)
	}
	if err := errors.Join(l.Sync(context.Background(), last), l.Release(last)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(framed(payload)); err != nil {
		t.Errorf("Append behind Release: %v", err)
	}
	if _, err := l.Append(make([]byte, l.Largest()+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Append of too much = %v", err)
	}
	if _, err := l.Append(make([]byte, l.Largest())); err != nil {
		t.Errorf("Append of the largest frame = %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	none := func(Frame) error { return nil }
	_, _, openErr := Open(testConfig(d, nil), from, none) // which lacks what was released
	_, inspectErr := Inspect(testConfig(d, nil), from, none)
	_, salvageErr := Salvage(testConfig(d, nil), from, none)
	for _, err := range []error{openErr, inspectErr, salvageErr} {
		if !errors.Is(err, ErrReleased) {
			t.Errorf("from before Release: %v, want %v", err, ErrReleased)
		}
	}
	_, found, err := Open(testConfig(d, nil), 0, none)
	if err != nil || found.Frames != 3 {
		t.Errorf("Open = %+v, %v", found, err)
	}
}

// Ensure that a log on a disk that has no room for more segments than it began with goes on with
// those, says how much they hold, and gets the others when there is room.
func TestLog_NoMoreSegments(t *testing.T) {
	t.Parallel()
	d := newDisk()
	var full atomic.Bool
	full.Store(true)
	d.fail = func(op, name string) error {
		if op == "create" && full.Load() && name != "dir/log.1" && name != "dir/log.2" && name != "dir/log.control" {
			return syscall.ENOSPC
		}
		return nil
	}
	var warned atomic.Int64
	config := testConfig(d, nil)
	config.Warn = func(string, error) { warned.Add(1) }
	l := create(t, config)
	payload := strings.Repeat("x", 1000)
	fill := func() (n int) {
		for ; ; n++ {
			if _, err := l.Append(framed(payload)); errors.Is(err, ErrFull) {
				return n
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	release := func() {
		if err := errors.Join(l.Sync(context.Background(), l.End()), l.Release(l.End())); err != nil {
			t.Fatal(err)
		}
		l.background.Wait()
	}
	for round := range 5 {
		if n := fill(); n < 3 {
			t.Errorf("round %d: full after %d frames", round, n)
		}
		if got, want := l.Capacity(), 2*l.Largest(); got != want {
			t.Errorf("round %d: capacity of %d bytes, want %d", round, got, want)
		}
		release()
	}
	fill()
	if _, err := l.Hold(l.files.used[0].begin); err != nil { // so that nothing comes free
		t.Fatal(err)
	}
	full.Store(false)
	release()
	if l.Room() < l.Largest() {
		t.Errorf("room for %d bytes though a segment more was made", l.Room())
	}
	if n := fill(); n < 3 || l.Capacity() != 3*l.Largest() {
		t.Errorf("full after %d frames with a capacity of %d bytes, now that there is room", n, l.Capacity())
	}
	if n := warned.Load(); n != 1 {
		t.Errorf("warned %d times, want once", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// Ensure that a write or a sync that fails ends the log: nothing is acknowledged any more, and
// nothing tried again.
func TestLog_Failure(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"write", "sync"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			d := newDisk()
			l := create(t, testConfig(d, nil))
			l.background.Wait()
			broken := errors.New("broken")
			tries := 0
			d.fail = func(what, _ string) error {
				if what != op {
					return nil
				}
				tries++
				if tries > 1 {
					return nil // the kernel would say that all is well
				}
				return broken
			}
			end, err := l.Append(framed("x"))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := l.Sync(context.Background(), end); !errors.Is(err, broken) {
					t.Errorf("Sync = %v", err)
				}
			}
			if _, err := l.Append(framed("y")); !errors.Is(err, broken) {
				t.Errorf("Append = %v", err)
			}
			if err := l.Write(); !errors.Is(err, broken) {
				t.Errorf("Write = %v", err)
			}
			if err := l.Release(end); !errors.Is(err, broken) {
				t.Errorf("Release = %v", err)
			}
			if tries != 1 || l.Synced() >= end {
				t.Errorf("%d tries, synced %d of %d", tries, l.Synced(), end)
			}
			if err := l.Close(); !errors.Is(err, broken) {
				t.Errorf("Close = %v", err)
			}
		})
	}
}

// Ensure that a wait for stable storage ends with its context, while another one syncs.
func TestLog_Sync_Context(t *testing.T) {
	t.Parallel()
	d := newDisk()
	l := create(t, testConfig(d, nil))
	l.background.Wait()
	begun, goOn := make(chan struct{}), make(chan struct{})
	d.fail = func(op, name string) error {
		if op == "sync" && name == d.Join(testDir, segmentName(1)) {
			close(begun)
			d.mu.Unlock()
			defer d.mu.Lock()
			<-goOn
		}
		return nil
	}
	end, err := l.Append(framed("x"))
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error)
	go func() { first <- l.Sync(context.Background(), end) }()
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Sync(ctx, end); !errors.Is(err, context.Canceled) {
		t.Errorf("Sync = %v", err)
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// Ensure that a log is not made where there is one.
func TestCreate_Exists(t *testing.T) {
	t.Parallel()
	d := newDisk()
	config := testConfig(d, nil)
	for range 2 { // one that was never opened is made anew
		if _, err := Create(config); err != nil {
			t.Fatal(err)
		}
	}
	create(t, config)
	if _, err := Create(config); err == nil {
		t.Error("Create over a log succeeds")
	}
}
