package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sessiond/sessiond"
	"github.com/sessiond/sessiond/ttl"
)

// damagedError means that a tool has done its work and found damage.
type damagedError struct{ error }

func (e damagedError) Unwrap() error { return e.error }

func runCheck(c *toolCall) error {
	dir := c.dirFlag()
	c.set.Lookup("dir").Usage += ", or of a backup"
	if err := c.parse(); err != nil {
		return err
	}
	ctx, stop := untilSignal()
	defer stop()
	bar := newProgress(c.stderr, "checking "+*dir)
	report, err := sessiond.Check(ctx, *dir, sessiond.CheckOptions{Progress: bar.show})
	bar.clear()
	if err != nil {
		return err
	}
	if err := printProblems(c.stdout, report.Problems); err != nil {
		return err
	}
	for _, db := range report.Databases {
		if _, err := fmt.Fprintf(c.stdout, "database %d: %s\n", db.Database, plural(db.Sessions, "session")); err != nil {
			return err
		}
	}
	if report.Made != ttl.Never {
		_, err := fmt.Fprintf(c.stdout, "%s is a backup with the sessions as of %s\n", *dir, instantText(report.Made))
		if err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(c.stdout, "%s checked: %s in %s, %s in the log, %s\n", *dir,
		plural(report.Bytes, "byte"), plural(report.Tables, "table"), plural(report.Changes, "newer change"), plural(report.Damage, "problem"))
	if err == nil && report.Damage > 0 {
		err = damagedError{fmt.Errorf("%s is damaged: %s", *dir, plural(report.Damage, "problem"))}
	}
	return err
}

// untilSignal returns a context that ends when the process gets a signal to stop.
func untilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

func printProblems(w io.Writer, problems []sessiond.Problem) error {
	for _, p := range problems {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	return nil
}

// plural returns a number with its noun.
func plural[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
