package compat_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// limitFiles lets the running server open no more than n files.
func (v *victim) limitFiles(n int) {
	v.t.Helper()
	limit := syscall.Rlimit{Cur: uint64(n), Max: uint64(n)}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(v.Pid()), syscall.RLIMIT_NOFILE,
		uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		v.t.Fatalf("prlimit: %v", errno)
	}
}

// Ensure that a server that is out of files waits instead of spinning, says so once, and
// goes on when connections close.
func TestHostile_NoFilesLeft(t *testing.T) {
	v := startVictim(t)
	member := v.enemy()
	if got := member.ask("SET", "k", "v"); got != "+OK\r\n" {
		t.Fatal(got)
	}
	v.limitFiles(v.usage().files + 50)
	var crowd []*enemy
	for range 200 {
		crowd = append(crowd, v.enemy()) // the kernel accepts them, the server cannot
	}
	before := v.usage()
	time.Sleep(time.Second) // the time over which the processor is watched
	if used := v.usage().cpu - before.cpu; used > 50*time.Millisecond {
		t.Errorf("out of files the server uses %v of processor time in a second", used)
	}
	if got := member.ask("GET", "k"); got != "$1\r\nv\r\n" {
		t.Errorf("a client that is connected hears %q", got)
	}
	for range 30 { // places come free and are taken again
		_ = crowd[0].Close()
		crowd = append(crowd[1:], v.enemy())
	}
	for _, e := range crowd {
		_ = e.Close()
	}
	if n := strings.Count(v.Log(), "cannot accept connections"); n != 1 {
		t.Errorf("%d lines in the log about it, want 1:\n%s", n, v.Log())
	}
	v.greetSoon()
	v.aftermath(100 << 20)
}

// Ensure that strangers cannot take the files the store needs: with few files, and more
// clients than files, it writes more than fits into its memory.
func TestHostile_FewFiles(t *testing.T) {
	proc.OnlySessiond(t)
	port := proc.FreePort(t)
	p := proc.Program(t, "sh", "-c", `ulimit -n 300; exec "$0" "$@"`, proc.Binary(t),
		"--port", port, "--dir", t.TempDir(), "--durability", "everysec")
	p.Start()
	addr := "127.0.0.1:" + port
	proc.Eventually(t, func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	member := proc.Dial(t, "tcp", addr)
	if got := member.Do("PING"); got != "+PONG\r\n" {
		t.Fatal(got)
	}
	for range 400 {
		proc.Dial(t, "tcp", addr)
	}
	value := strings.Repeat("v", 1<<20)
	for i := range 400 {
		if got := member.Do("SET", fmt.Sprint("k", i), value); got != "+OK\r\n" {
			t.Fatalf("SET of value %d with few files = %q\n%s", i, got, p.Log())
		}
	}
	if !strings.Contains(p.Log(), "maxclients was lowered") {
		t.Errorf("the log does not tell that maxclients was lowered:\n%s", p.Log())
	}
	if strings.Contains(p.Log(), "too many open files") {
		t.Errorf("the store was short of files:\n%s", p.Log())
	}
}
