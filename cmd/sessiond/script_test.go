//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sessiond": main})
}

// TestScript runs testdata/script. Beside the commands of testscript there are
//
//	code N program args...    runs a program that must exit with N
//	redis addr args...        waits until addr answers, sends a command, prints the reply
//	shutdown addr             sends SHUTDOWN, which has no reply but the end
//	terminate                 sends SIGTERM to the programs in the background
//	gone addr                 waits until nobody listens on addr
//	listen addr               listens there, and closes what connects, until the script ends
//	clog addr                 leaves a connection that asks for much and reads nothing
//
// An addr is a TCP port of 127.0.0.1, a host with a port, or the path of a Unix socket.
// $PORT and $PORT2 are free ports. The condition [ipv6] is true on a machine with ::1.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:      filepath.Join("testdata", "script"),
		Deadline: time.Now().Add(6 * patience), // a program that goes on is killed
		Setup: func(env *testscript.Env) error {
			env.Setenv("PORT", freePort(t))
			env.Setenv("PORT2", freePort(t))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":      runCode,
			"redis":     runRedis,
			"shutdown":  runShutdown,
			"terminate": runTerminate,
			"gone":      runGone,
			"listen":    runListen,
			"clog":      runClog,
		},
		Condition:          hasIPv6,
		RequireUniqueNames: true,
	})
}

func hasIPv6(condition string) (bool, error) {
	if condition != "ipv6" {
		return false, fmt.Errorf("unknown condition %q", condition)
	}
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false, nil
	}
	return true, ln.Close()
}

// freePort returns a port that is free on every address. The system never chooses it for a socket
// without a port, as other tests open them at the same time.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10000 + rand.IntN(20000))
		if ln, err := net.Listen("tcp", ":"+port); err == nil {
			if err := ln.Close(); err != nil {
				t.Fatal(err)
			}
			return port
		}
	}
	t.Fatal("no free port found")
	return ""
}

func runCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program args...")
	}
	want := atoi(ts, args[0])
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func runRedis(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: redis addr args...")
	}
	conn := connect(ts, args[0])
	defer conn.Close()
	_, err := conn.Write(command(args[1:]...))
	ts.Check(err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	ts.Check(err)
	if strings.HasPrefix(line, "$") && line != "$-1\r\n" {
		ts.Fatalf("%v answered with a bulk string, which this command does not read", args[1:])
	}
	_, err = fmt.Fprintln(ts.Stdout(), strings.TrimSpace(line))
	ts.Check(err)
}

func runShutdown(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shutdown addr")
	}
	conn := connect(ts, args[0])
	defer conn.Close()
	_, err := conn.Write(command("SHUTDOWN"))
	ts.Check(err)
	reply, err := io.ReadAll(conn)
	ts.Check(err)
	if len(reply) > 0 {
		ts.Fatalf("SHUTDOWN answered %q", reply)
	}
}

func runTerminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: terminate")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

func runGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone addr")
	}
	eventually(ts, func() error {
		conn, err := dial(ts, args[0])
		if err != nil {
			return nil
		}
		_ = conn.Close() // only a probe
		return fmt.Errorf("%s still answers", args[0])
	})
}

func runListen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listen addr")
	}
	ln, err := net.Listen(where(ts, args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = ln.Close() })
}

func runClog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: clog addr")
	}
	conn := connect(ts, args[0])
	ts.Defer(func() { _ = conn.Close() })
	_, err := conn.Write(command("SET", "big", strings.Repeat("x", 1<<20)))
	ts.Check(err)
	_, err = io.ReadFull(conn, make([]byte, len("+OK\r\n")))
	ts.Check(err)
	// In one piece, so that the server has all of it; the replies are far more than the
	// buffers of both sockets.
	_, err = conn.Write(bytes.Repeat(command("GET", "big"), 64))
	ts.Check(err)
	// The first bytes say that the server is at it.
	_, err = conn.Read(make([]byte, 16))
	ts.Check(err)
}

// connect waits until a server listens on addr.
func connect(ts *testscript.TestScript, addr string) (conn net.Conn) {
	eventually(ts, func() (err error) {
		conn, err = dial(ts, addr)
		return err
	})
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

func dial(ts *testscript.TestScript, addr string) (net.Conn, error) {
	network, address := where(ts, addr)
	return net.DialTimeout(network, address, patience)
}

func where(ts *testscript.TestScript, addr string) (network, address string) {
	switch _, err := strconv.Atoi(addr); {
	case err == nil:
		return "tcp", "127.0.0.1:" + addr
	case strings.Contains(addr, ":"):
		return "tcp", addr
	default:
		return "unix", ts.MkAbs(addr)
	}
}

func command(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b
}

func eventually(ts *testscript.TestScript, check func() error) {
	for deadline := time.Now().Add(patience); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("after %v: %v", patience, err)
		}
		time.Sleep(5 * time.Millisecond) // polling a real process
	}
}

func atoi(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

// Ensure that a socket file is left alone when it cannot be known whether it is stale.
func TestRemoveStaleSocket_Unsure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := removeStaleSocket(path); err == nil {
		t.Error("a datagram socket was taken for a stale one")
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket is gone: %v", err)
	}
}
