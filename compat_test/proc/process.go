package proc

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program under test. It is killed at the end of the test at the latest.
type Process struct {
	Stdout, Stderr *Output
	// Env is added to the environment before Start.
	Env []string
	// WorkDir is where the program runs; empty means where the test runs.
	WorkDir string

	t     testing.TB
	args  []string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process was waited for
}

// Sessiond returns a sessiond process with exactly these arguments, not started yet.
func Sessiond(t testing.TB, args ...string) *Process {
	t.Helper()
	return Program(t, Binary(t), args...)
}

// Program returns a process of any program, not started yet.
func Program(t testing.TB, path string, args ...string) *Process {
	return &Process{Stdout: &Output{}, Stderr: &Output{}, t: t, args: append([]string{path}, args...)}
}

// Start starts the process. A process that has ended may be started again.
func (p *Process) Start() {
	p.t.Helper()
	first := p.cmd == nil
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = p.Stdout, p.Stderr, p.WorkDir
	p.cmd.Env = append(environ(), p.Env...)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %v: %v", p.args, err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		_ = cmd.Wait() // the outcome is in ProcessState
		close(ended)
	}()
	if first {
		p.t.Cleanup(p.Kill)
	}
}

// Run starts the process and returns its exit code; it fails the test if the process does
// not end by itself.
func (p *Process) Run() int {
	p.t.Helper()
	p.Start()
	return p.ExitCode()
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// ExitCode waits for the end of the process and returns its exit code, -1 if a signal
// ended it. A process that goes on is killed and fails the test.
func (p *Process) ExitCode() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		p.Kill()
		p.t.Fatalf("%v did not end within %v:\n%s", p.args, Patience, p.Log())
		return -1
	}
}

// Signal sends a signal.
func (p *Process) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%v: %v\n%s", sig, err, p.Log())
	}
}

// Kill sends SIGKILL and waits for the end of the process. It is harmless when repeated. A
// process that reported a data race or a panic fails the test.
func (p *Process) Kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.ended
	// Not "panic" alone: runtime/panic.go is in the stacks that SIGSEGV makes a program write.
	for _, disgrace := range []string{"DATA RACE", "panic: ", "panic in "} {
		if strings.Contains(p.Log(), disgrace) {
			p.t.Errorf("%v reported a %s:\n%s", p.args, disgrace, p.Log())
			return
		}
	}
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Log returns the last output of the process.
func (p *Process) Log() string { return p.Stdout.String() + p.Stderr.String() }

// Output keeps the last 64 KiB written to it.
type Output struct {
	mu sync.Mutex
	b  []byte
}

// Write appends to the output.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, p...)
	if drop := len(o.b) - 64<<10; drop > 0 {
		o.b = append(o.b[:0], o.b[drop:]...)
	}
	return len(p), nil
}

// String returns what is kept.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b)
}

// Lines returns how many complete lines are kept.
func (o *Output) Lines() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Count(o.b, []byte("\n"))
}

// environ is the environment of this process without what is meant for the tests, or for a server
// of whoever runs them.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "SESSIOND_") })
}
