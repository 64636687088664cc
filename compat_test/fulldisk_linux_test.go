package compat_test

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

const (
	diskFull = "-MISCONF the disk is full, or the limit of --max-disk is reached: sessions can still be " +
		"read and deleted, and writes resume by themselves when there is room\r\n"
	noRoom    = "no room for new sessions"
	roomAgain = "room for new sessions again"
	waitsRoom = "the disk is full; waiting for room"
)

// smallDisk is a file system of its own that can be filled to the last byte.
type smallDisk struct {
	t   *testing.T
	dir string // where it is mounted
}

// newSmallDisk mounts what make prepares: it returns the arguments of mount before the folder.
// The test is skipped where that takes rights or programs that are missing.
func newSmallDisk(t *testing.T, prepare func(t *testing.T) []string) *smallDisk {
	t.Helper()
	proc.OnlySessiond(t)
	if os.Geteuid() != 0 {
		t.Skip("root's rights are missing: a small file system is made with mount")
	}
	proc.Require(t, "mount")
	proc.Require(t, "umount")
	d := &smallDisk{t: t, dir: t.TempDir()}
	if out, err := exec.Command("mount", append(prepare(t), d.dir)...).CombinedOutput(); err != nil {
		proc.Missing(t, fmt.Sprintf("a small file system (mount: %v: %s)", err, out))
	}
	t.Cleanup(d.unmount)
	return d
}

// unmount takes the disk away at the end of the test; the server on it has ended.
func (d *smallDisk) unmount() {
	if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
		d.t.Errorf("umount: %v: %s", err, out)
		_ = exec.Command("umount", "--lazy", d.dir).Run()
	}
}

func tmpfs(*testing.T) []string { return []string{"-t", "tmpfs", "-o", "size=64m", "sessiond-test"} }

// ext4 makes a file system in a file, which mount puts behind a loop device. No block is
// kept for root, who runs this.
func ext4(t *testing.T) []string {
	t.Helper()
	proc.Require(t, "losetup")
	image := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 80<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(proc.Require(t, "mkfs.ext4"), "-q", "-F", "-m", "0", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	return []string{"-o", "loop", image}
}

func (d *smallDisk) foreign() string { return filepath.Join(d.dir, "foreign") }

// take has another program take every byte that is left.
func (d *smallDisk) take() {
	d.t.Helper()
	f, err := os.OpenFile(d.foreign(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for chunk := 1 << 20; chunk > 0; chunk /= 8 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, chunk))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			d.t.Fatal(err)
		}
	}
}

// free removes what take took.
func (d *smallDisk) free() {
	d.t.Helper()
	if err := os.Remove(d.foreign()); err != nil {
		d.t.Fatal(err)
	}
}

// start returns a server whose data is on the disk.
func (d *smallDisk) start() *visitors {
	d.t.Helper()
	s := proc.Start(d.t, smallCache, "--dir", filepath.Join(d.dir, "data"))
	s.Dir = filepath.Join(d.dir, "data")
	return newVisitors(d.t, s)
}

// visitors are the users of a server, and what they were told.
type visitors struct {
	t      *testing.T
	server *proc.Server

	mu    sync.Mutex
	alive map[string]bool // acknowledged and not ended
	gone  []string        // ended, and that was acknowledged
	other string          // a reply that was neither +OK nor the refusal
}

func newVisitors(t *testing.T, s *proc.Server) *visitors {
	return &visitors{t: t, server: s, alive: map[string]bool{}}
}

// unsqueezable bytes do not compress.
var unsqueezable = func() string {
	b := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return string(b)
}()

// valueOf returns 1 to 17 KB that no other key has.
func valueOf(key string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	n := int(h.Sum32())
	from := n % (len(unsqueezable) - 17<<10)
	return key + unsqueezable[from:from+1<<10+n>>24<<6]
}

// told notes the reply to SET and reports whether it was a refusal.
func (c *visitors) told(key, reply string) (refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch reply {
	case "+OK\r\n":
		c.alive[key] = true
	case diskFull:
	default:
		c.other = reply
	}
	return reply != "+OK\r\n"
}

// fill stores sessions over several connections until all of them have been refused for a
// while: what Pebble merges meanwhile makes a little room. It returns how many there are.
func (c *visitors) fill(name string) int {
	c.t.Helper()
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() { c.write(fmt.Sprintf("%s%d", name, i)) })
	}
	group.Wait()
	if c.other != "" {
		c.t.Fatalf("SET: %.200q\n%s", c.other, c.server.Log())
	}
	c.healthy("after the fill")
	return len(c.alive)
}

func (c *visitors) write(name string) {
	const pipeline, quiet = 16, 1500 * time.Millisecond
	conn, err := net.Dial("tcp", c.server.Addr)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	number := 0
	for last := time.Now(); time.Since(last) < quiet; {
		var keys []string
		var line strings.Builder
		for range pipeline {
			keys = append(keys, fmt.Sprintf("%s:%d", name, number))
			line.WriteString(proc.Command("SET", keys[len(keys)-1], valueOf(keys[len(keys)-1]), "EX", "3600"))
			number++
		}
		if _, err := conn.Write([]byte(line.String())); err != nil {
			c.t.Errorf("SET: %v", err)
			return
		}
		full := false
		for _, key := range keys {
			reply, err := proc.ReadReply(r)
			if err != nil {
				c.t.Errorf("SET: %v", err)
				return
			}
			if c.told(key, reply) {
				full = true
			} else {
				last = time.Now()
			}
		}
		if full {
			time.Sleep(20 * time.Millisecond) // as a client does that retries
		}
	}
}

// some returns n sessions that are alive.
func (c *visitors) some(n int) []string {
	c.t.Helper()
	keys := slices.Sorted(maps.Keys(c.alive))
	if len(keys) < n {
		c.t.Fatalf("only %d sessions are left", len(keys))
	}
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys[:n]
}

// end ends sessions with a command that answers :1 for each.
func (c *visitors) end(when string, keys []string, command string, args ...string) {
	c.t.Helper()
	for i, reply := range c.batch(keys, func(key string) []string { return append([]string{command, key}, args...) }) {
		if reply != ":1\r\n" {
			c.t.Fatalf("%s %s %v, %s: %q\n%s", command, keys[i], args, when, reply, c.server.Log())
		}
		delete(c.alive, keys[i])
		c.gone = append(c.gone, keys[i])
	}
}

// batch sends one command for each key on one connection and returns the replies.
func (c *visitors) batch(keys []string, command func(key string) []string) (replies []string) {
	c.t.Helper()
	conn := c.server.Dial()
	defer conn.Close()
	for chunk := range slices.Chunk(keys, 32) {
		var line strings.Builder
		for _, key := range chunk {
			line.WriteString(proc.Command(command(key)...))
		}
		conn.Send(line.String())
		for range chunk {
			replies = append(replies, conn.Reply())
		}
	}
	return replies
}

// check reads every session there is or was.
func (c *visitors) check(when string) {
	c.t.Helper()
	get := func(key string) []string { return []string{"GET", key} }
	keys := slices.Sorted(maps.Keys(c.alive))
	for i, reply := range c.batch(keys, get) {
		if reply != proc.Bulk(valueOf(keys[i])) {
			c.t.Fatalf("%s: GET %s = %.40q..., and it was acknowledged", when, keys[i], reply)
		}
	}
	for i, reply := range c.batch(c.gone, get) {
		if reply != "$-1\r\n" {
			c.t.Fatalf("%s: GET %s = %.40q..., and its end was acknowledged", when, c.gone[i], reply)
		}
	}
	c.healthy(when)
}

// healthy fails the test if the server has ended.
func (c *visitors) healthy(when string) {
	c.t.Helper()
	if err := syscall.Kill(c.server.Pid(), 0); err != nil {
		c.t.Fatalf("%s: the server is gone: %v\n%s", when, err, c.server.Log())
	}
}

// set tries to store a session.
func (c *visitors) set(key string) (refused bool) {
	c.t.Helper()
	reply := c.server.Do("SET", key, valueOf(key), "EX", "3600")
	if refused = c.told(key, reply); refused && reply != diskFull {
		c.t.Fatalf("SET: %.200q\n%s", reply, c.server.Log())
	}
	return refused
}

// refused waits until new sessions are refused, and INFO says so.
func (c *visitors) refused(when string) {
	c.t.Helper()
	n := 0
	proc.Eventually(c.t, func() error {
		if n++; !c.set(fmt.Sprintf("late:%s:%d", when, n)) {
			return fmt.Errorf("%s: a new session is accepted", when)
		}
		if full := c.server.Info("sessiond_disk_full"); full != "1" {
			return fmt.Errorf("%s: a new session is refused and sessiond_disk_full is %q", when, full)
		}
		return nil
	})
}

// resumed waits until new sessions are stored again, without a restart, and, if the log told of
// the refusal, that it tells of this, too.
func (c *visitors) resumed(when string) {
	c.t.Helper()
	n := 0
	proc.Eventually(c.t, func() error {
		if n++; c.set(fmt.Sprintf("again:%s:%d", when, n)) {
			return fmt.Errorf("%s: new sessions are still refused, with %s bytes free and %s in use\n%s", when,
				c.server.Info("sessiond_disk_available_bytes"), c.server.Info("sessiond_disk_used_bytes"), c.server.Log())
		}
		if full := c.server.Info("sessiond_disk_full"); full != "0" {
			return fmt.Errorf("%s: sessiond_disk_full is %q", when, full)
		}
		log := c.server.Log() // of every process there was: one that had to wait begins anew
		if told := max(strings.LastIndex(log, roomAgain), strings.LastIndex(log, waitsRoom)); told < strings.LastIndex(log, noRoom) {
			return fmt.Errorf("%s: the log does not tell of the room\n%s", when, log)
		}
		return nil
	})
}

// size returns DBSIZE.
func (c *visitors) size() int {
	c.t.Helper()
	n, err := strconv.Atoi(strings.Trim(c.server.Do("DBSIZE"), ":\r\n"))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// endAll ends sessions in each way there is, and sees the sweeper remove them.
func (c *visitors) endAll(when string, each int) {
	c.t.Helper()
	keys := c.some(4 * each)
	c.end(when, keys[:each], "DEL")
	c.end(when, keys[each:2*each], "EXPIRE", "0")
	c.end(when, keys[2*each:3*each], "PEXPIRE", "1")
	c.end(when, keys[3*each:], "PEXPIRE", "300")
	proc.Eventually(c.t, func() error {
		if n := c.size(); n > len(c.alive) {
			return fmt.Errorf("%s: %d sessions are counted and %d are alive", when, n, len(c.alive))
		}
		return nil
	})
}

// restart starts the killed server on a disk that has no room. It serves, or waits until free
// has made some, and does not end. It reports whether it waited.
func (c *visitors) restart(free func()) (waited bool) {
	c.t.Helper()
	before := strings.Count(c.server.Log(), waitsRoom)
	c.server.Launch()
	proc.Eventually(c.t, func() error {
		c.healthy("started on a full disk")
		if waited = strings.Count(c.server.Log(), waitsRoom) > before; waited {
			return nil
		}
		conn, err := net.Dial("tcp", c.server.Addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if waited {
		free()
	}
	c.server.Ready()
	return waited
}

// Ensure that on a disk of which every last byte is taken, new sessions get an error that says
// so, and whatever else a session can meet goes on: it is read, it is ended, it expires, it
// survives kill -9. The server does not end, can be started there, and takes new sessions
// again as soon as there is room.
func TestFullDisk(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"tmpfs":                       func(t *testing.T) { testFullDisk(t, newSmallDisk(t, tmpfs)) },
		"ext4":                        func(t *testing.T) { testFullDisk(t, newSmallDisk(t, ext4)) },
		"filled by others under load": func(t *testing.T) { testForeignFill(t, newSmallDisk(t, tmpfs)) },
		"max-disk":                    testMaxDisk,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func testFullDisk(t *testing.T, d *smallDisk) {
	c := d.start()
	stored := c.fill("first")
	c.refused("filled")
	c.check("filled")
	c.endAll("filled", 50)

	d.take()
	c.refused("taken")
	c.endAll("taken", 50)
	c.check("taken")

	c.server.Kill()
	waited := c.restart(d.free)
	c.check("killed and started")
	if !waited {
		c.refused("killed and started")
		c.endAll("killed and started", 20)
		d.free()
	}
	c.end("freed", c.some(stored/2), "DEL")
	c.resumed("freed")

	// Without a reserve, and without any room, it can only wait.
	c.server.Kill()
	reserves, err := filepath.Glob(filepath.Join(c.server.Dir, "reserve.*"))
	if err != nil || len(reserves) == 0 {
		t.Errorf("no reserve is found: %v", err)
	}
	for _, reserve := range reserves {
		if err := os.Remove(reserve); err != nil {
			t.Fatal(err)
		}
	}
	d.take()
	if !c.restart(d.free) {
		t.Error("it did not say that it waits, and there was no room")
		d.free()
	}
	c.resumed("waited")
	c.check("waited")
	c.server.Stop()
	c.server.Restart()
	c.check("stopped and started")
	t.Logf("%d sessions fitted, %d are left, %d were ended; it waited at the start: %v",
		stored, len(c.alive), len(c.gone), waited)
}

// testForeignFill has somebody else take the disk while clients are storing, and the rest of
// it whenever some comes free.
func testForeignFill(t *testing.T, d *smallDisk) {
	c := d.start()
	var group sync.WaitGroup
	group.Go(func() {
		proc.Eventually(t, func() error {
			if n := c.size(); n < 500 {
				return fmt.Errorf("%d sessions", n)
			}
			return nil
		})
		for range 3 {
			d.take()
		}
	})
	c.fill("load")
	group.Wait()
	c.refused("taken under load")
	c.endAll("taken under load", 50)
	c.check("taken under load")
	c.server.Kill()
	if !c.restart(d.free) {
		c.check("killed and started")
		d.free()
	}
	c.resumed("freed")
	c.check("freed")
}

// testMaxDisk fills the quota of a server on a large disk.
func testMaxDisk(t *testing.T) {
	proc.OnlySessiond(t)
	const quota = 64 << 20
	c := newVisitors(t, proc.Start(t, smallCache, "--max-disk", "64mb"))
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var size int64
		for {
			select {
			case <-stop:
				most <- size
				return
			case <-time.After(10 * time.Millisecond): // how often it looks
				size = max(size, folderSize(t, c.server.Dir))
			}
		}
	}()
	stored := c.fill("quota")
	c.refused("at the quota")
	c.check("at the quota")
	c.endAll("at the quota", 50)
	c.server.Kill()
	c.server.Restart()
	c.refused("killed and started")
	c.check("killed and started")
	c.end("at the quota", c.some(len(c.alive)*9/10), "DEL")
	c.resumed("sessions ended")
	c.check("sessions ended")
	close(stop)
	size := <-most
	if size > quota {
		t.Errorf("the folder grew to %d bytes, the quota is %d", size, quota)
	}
	if size < quota/2 {
		t.Errorf("the folder grew to %d bytes of a quota of %d: sessions were refused too early", size, quota)
	}
	if got := c.server.Info("sessiond_disk_quota_bytes"); got != strconv.Itoa(quota) {
		t.Errorf("sessiond_disk_quota_bytes is %q, want %d", got, quota)
	}
	t.Logf("%d sessions fitted, the folder had at most %d KB", stored, size>>10)
}
