package compat_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// failingDisk is a file system on a block device that answers every write with EIO when told
// to: a loop device over a file in memory, which is then sealed. What was written before can
// be read.
type failingDisk struct {
	t      *testing.T
	image  *os.File
	device string // empty if there is none at the moment
	dir    string // where it is mounted
}

const imageSize = 256 << 20

// newFailingDisk makes a disk with an ext4 file system. The test is skipped where that takes
// rights, programs or devices that are missing.
func newFailingDisk(t *testing.T, features ...string) *failingDisk {
	t.Helper()
	proc.OnlySessiond(t)
	if os.Geteuid() != 0 {
		t.Skip("root's rights are missing: a disk that fails is made with mount and losetup")
	}
	for _, program := range []string{"mount", "umount", "losetup", "mkfs.ext4", "e2fsck"} {
		proc.Require(t, program)
	}
	d := &failingDisk{t: t, dir: t.TempDir()}
	fd, err := unix.MemfdCreate("disk", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		proc.Missing(t, fmt.Sprintf("memfd_create (%v)", err))
	}
	image := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd))
	if err := image.Truncate(imageSize); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.remove)
	d.attach(image)
	d.do("mkfs.ext4", append([]string{"-q", "-F", d.device}, features...)...)
	d.do("mount", d.device, d.dir)
	return d
}

// attach makes a device of an image.
func (d *failingDisk) attach(image *os.File) {
	d.t.Helper()
	out, err := exec.Command("losetup", "--find", "--show", image.Name()).CombinedOutput()
	if err != nil {
		proc.Missing(d.t, fmt.Sprintf("a loop device (%s)", bytes.TrimSpace(out)))
	}
	d.image, d.device = image, string(bytes.TrimSpace(out))
}

// remove takes the disk away at the end of the test; the server on it has ended.
func (d *failingDisk) remove() {
	if d.device == "" {
		return
	}
	if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
		d.t.Logf("umount: %v: %s", err, out) // the test may have ended before it was mounted
		_ = exec.Command("umount", "--lazy", d.dir).Run()
	}
	d.detach()
}

func (d *failingDisk) detach() {
	d.t.Helper()
	device := d.device
	d.device = ""
	if err := d.image.Close(); err != nil {
		d.t.Error(err)
	}
	if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
		d.t.Errorf("losetup --detach %s: %v: %s", device, err, out)
	}
}

func (d *failingDisk) do(program string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
}

// fail makes writes fail from now on.
func (d *failingDisk) fail() {
	d.t.Helper()
	if _, err := unix.FcntlInt(d.image.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE); err != nil {
		d.t.Fatal(err)
	}
}

// replace copies what the disk holds to a new one and brings its file system in order.
func (d *failingDisk) replace() {
	d.t.Helper()
	image, err := os.Create(filepath.Join(d.t.TempDir(), "image"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.do("umount", d.dir)
	if _, err := io.Copy(image, io.NewSectionReader(d.image, 0, imageSize)); err != nil {
		d.t.Fatal(err)
	}
	d.detach()
	d.attach(image)
	out, err := exec.Command("e2fsck", "-fy", d.device).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 2) { // up to 2 it was repaired
		d.t.Fatalf("e2fsck: %v: %s", err, out)
	}
	d.do("mount", d.device, d.dir)
}

// storeOn returns a server whose data is on the disk, ready to serve.
func (d *failingDisk) storeOn(mode string) (p *proc.Process, addr string) {
	d.t.Helper()
	port := proc.FreePort(d.t)
	p = proc.Sessiond(d.t, "--port", port, "--dir", filepath.Join(d.dir, "data"), "--durability", mode)
	p.Start()
	addr = "127.0.0.1:" + port
	proc.Eventually(d.t, func() error {
		if p.Ended() {
			return fmt.Errorf("the server ended: %s", p.Log())
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return p, addr
}

// writer stores sessions, one after the other, until the server is gone or refuses.
type writer struct {
	name         string
	mu           sync.Mutex
	acknowledged int
	refused      string
}

func (w *writer) key(i int) string { return fmt.Sprintf("%s:%d", w.name, i) }

func (w *writer) value(i int) string {
	return fmt.Sprint(i, strings.Repeat(string(rune('a'+i%26)), 4000))
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acknowledged
}

func (w *writer) work(conn net.Conn) {
	r := bufio.NewReader(conn)
	for i := 0; ; i++ {
		if _, err := conn.Write([]byte(proc.Command("SET", w.key(i), w.value(i), "EX", "3600"))); err != nil {
			return
		}
		reply, err := proc.ReadReply(r)
		if err != nil {
			return
		}
		w.mu.Lock()
		if reply == "+OK\r\n" {
			w.acknowledged = i + 1
		} else {
			w.refused = reply
		}
		w.mu.Unlock()
		if reply != "+OK\r\n" {
			return
		}
	}
}

// Ensure that a server whose disk fails under it says so and ends with code 3, having
// acknowledged nothing it could not write, and that every session it did acknowledge is there
// when the disk was replaced and it starts again.
func TestFailingDisk(t *testing.T) {
	tests := []struct {
		name     string
		mode     string
		features []string
	}{
		{"session, ext4", "session", nil},
		{"strict, ext4 without a journal", "strict", []string{"-O", "^has_journal"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newFailingDisk(t, tt.features...)
			p, addr := d.storeOn(tt.mode)
			var writers []*writer
			var group sync.WaitGroup
			for i := range 4 {
				w := &writer{name: fmt.Sprint("writer", i)}
				writers = append(writers, w)
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				group.Go(func() { w.work(conn) })
			}
			proc.Eventually(t, func() error {
				for _, w := range writers {
					if n := w.count(); n < 100 {
						return fmt.Errorf("%s was acknowledged %d sessions", w.name, n)
					}
				}
				return nil
			})
			d.fail()
			if code := p.ExitCode(); code != 3 {
				t.Errorf("exit code %d, want 3:\n%s", code, p.Log())
			}
			group.Wait()
			if !strings.Contains(p.Log(), "the store cannot go on") || !strings.Contains(p.Log(), syscall.EIO.Error()) {
				t.Errorf("the server does not say why it ended:\n%s", p.Log())
			}
			d.replace()
			p, addr = d.storeOn(tt.mode)
			conn := proc.Dial(t, "tcp", addr)
			total := 0
			for _, w := range writers {
				if w.refused != "" {
					t.Errorf("%s was refused: %q", w.name, w.refused)
				}
				for i := range w.acknowledged {
					if got := conn.Do("GET", w.key(i)); got != proc.Bulk(w.value(i)) {
						t.Errorf("GET %s = %.20q..., and it was acknowledged", w.key(i), got)
					}
				}
				total += w.acknowledged
			}
			conn.Close()
			p.Kill()
			t.Logf("%d sessions were acknowledged and are there", total)
		})
	}
}
