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
	"strings"

	"github.com/sessiond/sessiond"
)

const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitDamaged = 4
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// run is the whole command. It returns the exit code.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	var err error
	if t := findTool(args); t != nil {
		err = t.call(args[1:], getenv, stdout, stderr)
	} else {
		err = runServer(args, getenv, stdout, stderr)
	}
	if err == nil {
		return exitOK
	}
	// Joined errors stand on lines of their own; the report is one line.
	report := strings.ReplaceAll(err.Error(), "\n", "; ")
	_, _ = fmt.Fprintf(stderr, "sessiond: %s\n", report) // nowhere else to tell it
	var wrongUsage usageError
	if errors.As(err, &wrongUsage) {
		return exitUsage
	}
	var damaged damagedError
	if errors.As(err, &damaged) || errors.Is(err, sessiond.ErrDamaged) {
		return exitDamaged
	}
	return exitFailed
}

func runServer(args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	c, err := parseConfig(args, getenv)
	switch {
	case err != nil:
	case c.help:
		_, err = io.WriteString(stdout, usage())
	case c.version:
		_, err = fmt.Fprintf(stdout, "sessiond %s\n", sessiond.Version)
	default:
		err = serve(c, stdout, stderr)
	}
	return err
}

// usageError says that the command was called wrongly.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func (e usageError) Unwrap() error { return e.error }
