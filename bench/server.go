package main

import (
	"context"
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
	"time"
)

// setting is a server and how it is run.
type setting struct {
	name  string
	redis bool
	args  []string
	cores string   // list for taskset; empty means what --pin says
	env   []string // added to the environment
}

// cacheBytes is what sessiond may keep in memory, its default.
const cacheBytes = 256 << 20

func sessiond(durability string) setting {
	return setting{
		name: "sessiond " + durability,
		args: []string{"--durability", durability, "--cache-bytes", strconv.Itoa(cacheBytes), "--maxclients", "11000"},
	}
}

// redis returns redis-server with an append-only file. Where it is measured it never
// rewrites the file: a fork in the middle would only do it harm.
func redis(appendfsync string, args ...string) setting {
	return setting{
		name:  "redis " + appendfsync,
		redis: true,
		args: append([]string{
			"--save", "", "--appendonly", "yes", "--appendfsync", appendfsync,
			"--maxclients", "11000", "--loglevel", "warning",
		}, args...),
	}
}

const neverRewrite, never = "--auto-aof-rewrite-percentage", "0"

// server is a server process and its data folder. It can be started again after its end.
type server struct {
	process
	setting
	addr string
	dir  string

	program string
	log     string // file
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process was waited for
}

// prepare returns a server that is not started yet. It has a folder of its own below dir.
func (b *bench) prepare(s setting, dir string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	srv := &server{
		setting: s,
		addr:    "127.0.0.1:" + port,
		dir:     filepath.Join(dir, strings.ReplaceAll(s.name, " ", "-")),
		program: b.sessiond,
	}
	if s.redis {
		srv.program = b.redisServer
	}
	srv.log = srv.dir + ".log"
	srv.args = append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", srv.dir}, s.args...)
	if s.cores == "" && b.pin {
		srv.cores = serverCore
	}
	return srv, os.MkdirAll(srv.dir, 0o700)
}

// launch starts the process, which ends with ctx at the latest, and does not wait for it to
// answer.
func (s *server) launch(ctx context.Context) error {
	command := append([]string{s.program}, s.args...)
	if s.cores != "" {
		command = append([]string{"taskset", "-c", s.cores}, command...) // becomes the server: same process
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	ended := make(chan struct{})
	s.cmd, s.process, s.ended = cmd, process(cmd.Process.Pid), ended
	go func() { // ends with the process, which kill and ctx end
		_ = cmd.Wait() // how it ended is told by whoever missed it
		close(ended)
	}()
	return nil
}

// start starts the process and waits until it answers.
func (s *server) start(ctx context.Context) error {
	if err := s.launch(ctx); err != nil {
		return err
	}
	return s.poll(ctx, func(c *conn) error {
		_, err := c.ask("PING")
		return err
	})
}

// Pauses between attempts to reach a server that starts. They are part of what is measured
// as the time to the first reply.
const (
	dialPause    = 200 * time.Microsecond
	loadingPause = time.Millisecond
	patience     = 10 * time.Minute
)

// poll calls fn with new connections until one has it return nil. Redis opens its port
// before it has its data and answers LOADING; any other error reply is final.
func (s *server) poll(ctx context.Context, fn func(*conn) error) error {
	for begun := time.Now(); ; {
		c, err := dial(s.addr)
		pause := dialPause
		if err == nil {
			err = fn(c)
			c.Close()
			var answer errReply
			switch {
			case err == nil:
				return nil
			case errors.As(err, &answer) && !strings.HasPrefix(string(answer), "LOADING"):
				return err
			}
			pause = loadingPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ended:
			return fmt.Errorf("%s has ended:\n%s", s.name, s.lastWords())
		case <-time.After(pause):
		}
		if time.Since(begun) > patience {
			return fmt.Errorf("%s does not answer: %w", s.name, err)
		}
	}
}

// lastWords returns the end of the log.
func (s *server) lastWords() string {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// kill ends the process as kill -9 does and waits for its end. It is harmless when repeated.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// discard kills the process and removes its data.
func (s *server) discard() error {
	s.kill()
	return errors.Join(os.RemoveAll(s.dir), os.Remove(s.log))
}

// ask asks on a connection of its own.
func (s *server) ask(words ...string) (string, error) {
	c, err := dial(s.addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.ask(words...)
}

// settle waits until the server has stopped writing to the disk for a while, or has taken
// too long: what it does in the background would be blamed on what is measured next.
func (s *server) settle(ctx context.Context) error {
	const quiet, limit, step, little = 1500 * time.Millisecond, time.Minute, 100 * time.Millisecond, 64 << 10
	var last int64 = -1 << 62
	begun := time.Now()
	for since := begun; time.Since(since) < quiet && time.Since(begun) < limit; {
		n, err := s.written()
		if err != nil {
			return err
		}
		if n-last > little {
			last, since = n, time.Now()
		}
		if err := pause(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// pause waits, but not longer than ctx lives.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// freePort returns a loopback port nobody listens on. It lies below the range the system
// hands out to outgoing connections, so that none of those takes it while the server is
// down.
func freePort() (string, error) {
	for range 100 {
		port := strconv.Itoa(10000 + rand.IntN(20000))
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		return port, ln.Close()
	}
	return "", errors.New("no free port found")
}

// version returns what a program says of its version, in one line.
func version(ctx context.Context, program string) string {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// build builds sessiond into dir and returns its path.
func build(ctx context.Context, dir string, out io.Writer) (string, error) {
	path := filepath.Join(dir, "sessiond")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/sessiond/sessiond/cmd/sessiond")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build sessiond: %w", err)
	}
	return path, nil
}
