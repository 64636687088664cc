package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/sessiond/sessiond"
)

func runRepair(c *toolCall) error {
	dir := c.dirFlag()
	to := c.folderFlag("to", "", "`folder` of the new data; it must be absent or empty")
	if err := c.parse(); err != nil {
		return err
	}
	if *to == "" {
		return usagef("--to is missing: repair writes what it saves into a new folder and leaves the old one as it is")
	}
	ctx, stop := untilSignal()
	defer stop()
	bar := newProgress(c.stderr, "saving "+*dir, "checking "+*to)
	report, err := sessiond.Repair(ctx, *dir, *to, sessiond.RepairOptions{
		Progress: bar.show,
		Logger:   slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	bar.clear()
	if err != nil {
		return err
	}
	return printRepair(c.stdout, *to, report)
}

// printRepair prints what was given up, what was rebuilt and what was saved.
func printRepair(w io.Writer, to string, report sessiond.RepairReport) error {
	if err := printProblems(w, report.GivenUp); err != nil {
		return err
	}
	for _, what := range report.Renewed {
		if _, err := fmt.Fprintf(w, "made anew: %s\n", what); err != nil {
			return err
		}
	}
	for _, db := range report.Databases {
		counted := fmt.Sprintf("of the %d that were counted", db.Counted)
		if db.Counted < 0 {
			counted = "and nobody knows of how many"
		}
		_, err := fmt.Fprintf(w, "database %d: %s saved %s\n", db.Database, plural(db.Saved, "session"), counted)
		if err != nil {
			return err
		}
	}
	if len(report.GivenUp) == 0 {
		_, err := fmt.Fprintf(w, "%s has everything; its index and counters were made from the sessions\n", to)
		return err
	}
	_, err := fmt.Fprintf(w, "%s has what could be read; its index and counters were made from the sessions\n", to)
	if err != nil {
		return err
	}
	return damagedError{errors.New("not everything could be saved: see above")}
}
