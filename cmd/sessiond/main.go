// Command sessiond keeps web sessions on disk and serves them over the Redis protocol.
//
// It writes one line to standard output, when it serves, and its log to standard error.
// What goes wrong at the start is one line on standard error that begins with "sessiond: ".
// See sessiond --help for its flags.
//
// Exit codes: 0 after SIGTERM, SIGINT or SHUTDOWN; 2 if a flag or an environment variable
// is wrong; 3 if changes could no longer be written safely; 4 if the data
// folder is damaged, or check or repair found that it is; 1 for everything else.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sessiond/sessiond"
)

const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitStoreFailed = 3
	exitDamaged     = 4
)

func main() {
	// A write to a closed pipe is an error, and does not end the process.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole command. It returns the exit code.
func run(args []string, env environment, stdout, stderr io.Writer) int {
	log := &lineQueue{to: stderr}
	defer log.flush()
	err := dispatch(args, env, stdout, stderr, log)
	if err == nil {
		return exitOK
	}
	// Joined errors are on separate lines; the report is one line.
	report := strings.ReplaceAll(err.Error(), "\n", "; ")
	_, _ = fmt.Fprintf(log, "sessiond: %s\n", report) // a lineQueue returns no error
	var wrongUsage usageError
	if errors.As(err, &wrongUsage) {
		return exitUsage
	}
	if errors.Is(err, sessiond.ErrFailed) {
		return exitStoreFailed
	}
	var damaged damagedError
	if errors.As(err, &damaged) || errors.Is(err, sessiond.ErrDamaged) {
		return exitDamaged
	}
	return exitFailed
}

// dispatch runs the tool that the first word names, or the server. The server logs to log, which never
// blocks.
func dispatch(args []string, env environment, stdout, stderr io.Writer, log *lineQueue) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return runServer(args, env, stdout, log)
	}
	name, args, out := args[0], args[1:], closedPipe{stdout}
	switch name {
	case "version":
		return printVersion(out)
	case "help":
		if len(args) == 0 || strings.HasPrefix(args[0], "-") || args[0] == "help" || args[0] == "version" {
			return printUsage(out)
		}
		name, args = args[0], []string{"--help"}
	}
	if t := findTool(name); t != nil {
		return t.call(args, env.get, out, stderr)
	}
	return unexpected(name)
}

func runServer(args []string, env environment, stdout io.Writer, log *lineQueue) error {
	c, err := parseConfig(args, env.get)
	switch {
	case err != nil:
		return err
	case c.help:
		return printUsage(closedPipe{stdout})
	case c.version:
		return printVersion(closedPipe{stdout})
	}
	c.startMessages = append(c.startMessages, env.unknown()...)
	return serve(c, stdout, log)
}

func printUsage(w io.Writer) error {
	_, err := io.WriteString(w, usage())
	return err
}

func printVersion(w io.Writer) error {
	_, err := fmt.Fprintf(w, "sessiond %s\n", sessiond.Version)
	return err
}

// closedPipe is the standard output of a tool. If its reader closes the pipe, as head does, the tool
// still finishes its work and reports the result in its exit code.
type closedPipe struct{ io.Writer }

func (w closedPipe) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return len(p), nil
	}
	return n, err
}

// usageError is an error in the command line or the environment.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func (e usageError) Unwrap() error { return e.error }
