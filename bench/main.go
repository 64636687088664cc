// Command bench measures sessiond from outside, over TCP, beside redis-server.
//
//	go run ./bench table     what the targets for speed ask, side by side
//	go run ./bench large     the targets that need ten million sessions
//	go run ./bench restart   how long after kill -9 the first session is served
//
// Each has a --help. The load generator shares the machine with the server; what it takes
// of the processor is printed beside what the server takes. The figure to trust is the
// server's processor time for each operation: others on the same machine hardly move it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command is what the first argument chooses.
type command struct {
	name  string
	flags func(*options, *pflag.FlagSet)
	run   func(ctx context.Context, b *bench, o *options, out io.Writer) error
}

func commands() []command {
	return []command{
		{"table", tableFlags, runTable},
		{"large", largeFlags, runLarge},
		{"restart", restartFlags, runRestart},
	}
}

// options are the flags of all commands together. Each command has only some of them.
type options struct {
	// Of all.
	sessiond, redisServer string
	dir                   string
	randomShare           float64
	pin                   bool
	sessions, rounds      int

	seconds         float64
	rows            string
	quick, markdown bool

	withRedis  bool
	size       int
	durability string
}

func (o *options) commonFlags(set *pflag.FlagSet) {
	set.StringVar(&o.sessiond, "sessiond", "", "`path` of a sessiond built before; empty means build it")
	set.StringVar(&o.redisServer, "redis-server", "redis-server", "`path` of redis-server")
	set.StringVar(&o.dir, "dir", "", "`folder` for the data, empty means a temporary one; restart leaves its data there")
	set.Float64Var(&o.randomShare, "random-share", 1, "`share` of random bytes in a value; the rest is text that compresses well")
	set.BoolVar(&o.pin, "pin", false, "servers run on core 0 and the load generator on core 1")
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	for _, c := range commands() {
		if len(args) > 0 && args[0] == c.name {
			return c.call(ctx, args[1:], stdout, stderr)
		}
	}
	return errors.New("usage: go run ./bench table|large|restart [flags]; each has a --help")
}

func (c command) call(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	set := pflag.NewFlagSet("bench "+c.name, pflag.ContinueOnError)
	set.SetOutput(stderr)
	set.SortFlags = false
	c.flags(&o, set)
	o.commonFlags(set)
	if err := set.Parse(args); err != nil {
		return err
	}
	switch {
	case set.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", set.Arg(0))
	case o.sessions < 1, o.rounds < 1:
		return errors.New("at least one session and one round")
	case o.seconds <= 0:
		return fmt.Errorf("--seconds %v: more than none", o.seconds)
	case o.randomShare < 0 || o.randomShare > 1:
		return fmt.Errorf("--random-share %v: from 0 to 1", o.randomShare)
	}
	b, err := newBench(ctx, &o, stderr)
	if err != nil {
		return err
	}
	return errors.Join(c.run(ctx, b, &o, stdout), b.close())
}

// bench is what all measurements share.
type bench struct {
	sessiond, redisServer string // programs
	dir                   string // holds the data folders of the servers
	keep                  bool   // leave them there
	pin                   bool
	bytes                 *corpus
	progress              progress

	temporary string // removed at the end
}

// The cores of --pin.
const serverCore, clientCore = "0", "1"

func newBench(ctx context.Context, o *options, stderr io.Writer) (_ *bench, err error) {
	b := &bench{
		sessiond: o.sessiond, redisServer: o.redisServer,
		dir: o.dir, keep: o.dir != "", pin: o.pin,
		bytes:    newCorpus(o.randomShare),
		progress: newProgress(stderr),
	}
	if b.temporary, err = os.MkdirTemp("", "sessiond-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.dir == "" {
		b.dir = b.temporary
	}
	if b.sessiond == "" {
		b.progress.step("building sessiond")
		if b.sessiond, err = build(ctx, b.temporary, stderr); err != nil {
			return nil, err
		}
	}
	if b.pin {
		return b, pinClient(ctx)
	}
	return b, nil
}

// close removes what does not have to be kept.
func (b *bench) close() error { return os.RemoveAll(b.temporary) }

// pinClient moves this process to its core, for good.
func pinClient(ctx context.Context) error {
	if runtime.NumCPU() < 2 {
		return errors.New("--pin: there is only one core")
	}
	out, err := exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", clientCore, strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("--pin: %w: %s", err, strings.TrimSpace(string(out)))
	}
	runtime.GOMAXPROCS(1)
	return nil
}

// seconds returns a duration that was given as a flag.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func restartFlags(o *options, set *pflag.FlagSet) {
	set.IntVar(&o.sessions, "sessions", 5_000_000, "`number` of sessions")
	set.IntVar(&o.size, "size", 512, "`bytes` of each session")
	set.IntVar(&o.rounds, "rounds", 5, "`number` of kills, at rest and again under load")
	set.StringVar(&o.durability, "durability", "session", "`mode` of sessiond: session, strict or everysec")
	set.Float64Var(&o.seconds, "seconds", 2, "`seconds` of load before each kill under load")
	set.BoolVar(&o.withRedis, "redis", false, "the same with redis-server")
}

func runRestart(ctx context.Context, b *bench, o *options, out io.Writer) error {
	settings := []setting{sessiond(o.durability)}
	if o.withRedis {
		settings = append(settings, redis("everysec"))
	}
	return b.restart(ctx, out, settings, restartPlan{
		sessions: population{count: o.sessions, sizes: sizes{o.size}, bytes: b.bytes},
		rounds:   o.rounds,
		load:     load{name: "overwrite sessions", connections: 50, pipeline: 16, mix: onlySet},
		loadTime: seconds(o.seconds),
	})
}
