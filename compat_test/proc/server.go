package proc

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a running server process. It ends with the test.
type Server struct {
	Addr string // host:port
	Port string
	Dir  string // the data folder, kept across restarts

	t       testing.TB
	process *Process
	redis   bool
}

// Start runs sessiond on a free loopback port with a data folder of its own. Args are
// further flags, such as "--requirepass", "secret".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if IsRedis() {
		return StartRedis(t, args...)
	}
	return start(t, Binary(t), false, args)
}

// StartRedis runs the packaged redis-server, the oracle. Without it the test is skipped,
// or fails in CI.
func StartRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, Require(t, "redis-server"), true, append([]string{"--save", ""}, args...))
}

func start(t testing.TB, path string, redis bool, args []string) *Server {
	t.Helper()
	port, dir := FreePort(t), t.TempDir()
	s := &Server{Addr: "127.0.0.1:" + port, Port: port, Dir: dir, t: t, redis: redis}
	s.process = Program(t, path, append([]string{"--port", port, "--dir", dir}, args...)...)
	s.Restart()
	return s
}

// Launch starts the process, stopped or killed before, and does not wait for its port.
func (s *Server) Launch() {
	s.t.Helper()
	s.Kill()
	s.process.Start()
}

// Ready waits until the launched process accepts connections.
func (s *Server) Ready() {
	s.t.Helper()
	for deadline := time.Now().Add(Patience); ; {
		if s.serves() {
			return
		}
		if s.process.Ended() {
			s.t.Fatalf("%v ended before it listened on %s:\n%s", s.process.args, s.Addr, s.Log())
		}
		if time.Now().After(deadline) {
			s.Kill()
			s.t.Fatalf("%v does not listen on %s:\n%s", s.process.args, s.Addr, s.Log())
		}
		time.Sleep(2 * time.Millisecond) // polling a real process
	}
}

// serves reports whether the port is open. Redis opens it before its data is there, so
// Redis is asked; sessiond promises not to.
func (s *Server) serves() bool {
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	if !s.redis {
		return true
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return false
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && !strings.HasPrefix(reply, "-LOADING")
}

// Restart runs the server again, stopped or killed before, on the same port and data.
func (s *Server) Restart() {
	s.t.Helper()
	s.Launch()
	s.Ready()
}

// Kill sends SIGKILL and waits for the end of the process. It is harmless when repeated.
func (s *Server) Kill() { s.process.Kill() }

// Stop sends SIGTERM and waits; it fails the test if the exit code is not 0.
func (s *Server) Stop() {
	s.t.Helper()
	s.Signal(syscall.SIGTERM)
	s.WaitClean()
}

// Signal sends a signal to the process.
func (s *Server) Signal(sig syscall.Signal) {
	s.t.Helper()
	s.process.Signal(sig)
}

// WaitClean waits for the end of the process; it fails the test if the exit code is not 0.
func (s *Server) WaitClean() {
	s.t.Helper()
	if code := s.process.ExitCode(); code != 0 {
		s.t.Fatalf("exit code %d, want 0\n%s", code, s.Log())
	}
}

// Pid returns the process id.
func (s *Server) Pid() int { return s.process.Pid() }

// Log returns the last output of the process.
func (s *Server) Log() string { return s.process.Log() }

// Dial opens a raw connection, closed at the end of the test at the latest.
func (s *Server) Dial() *Conn {
	s.t.Helper()
	return Dial(s.t, "tcp", s.Addr)
}

// Do sends one command as a RESP array on a connection of its own and returns the raw
// reply up to where it parses as complete. It is for set-up, not for measuring.
func (s *Server) Do(args ...string) string {
	s.t.Helper()
	c := s.Dial()
	defer c.Close()
	return c.Do(args...)
}

// Info returns a field of INFO, or "" if there is none.
func (s *Server) Info(field string) string {
	s.t.Helper()
	for line := range strings.SplitSeq(s.Do("INFO"), "\r\n") {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return value
		}
	}
	return ""
}

// FreePort returns a loopback port nobody listens on. It lies below the range the system
// hands out to outgoing connections, so that none of those takes it before the server
// does, or while the server restarts.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10000 + rand.IntN(20000))
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%s", port))
		if err != nil {
			continue
		}
		_ = ln.Close() // only a probe
		return port
	}
	t.Fatal("no free port found")
	return ""
}
