package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"

	"github.com/sessiond/sessiond"
	"github.com/sessiond/sessiond/ttl"
)

func runBackup(c *toolCall) error {
	dir := c.dirFlag()
	to := c.folderFlag("to", "", "`folder` of the copy: absent, empty or that of an earlier backup, which is replaced; "+
		"if a server has the data open it is the server that writes there")
	if err := c.parse(); err != nil {
		return err
	}
	if *to == "" {
		return usagef("--to is missing: it is the folder of the copy")
	}
	ctx, stop := untilSignal()
	defer stop()
	bar := newProgress(c.stderr, "copying "+*dir)
	report, err := c.backUp(ctx, *dir, *to, sessiond.BackupOptions{Progress: bar.show})
	bar.clear()
	if err != nil {
		return err
	}
	if err := printRecords(c.stdout, report.Records); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s has the sessions of %s as of %s: %s, %d of them copied\n",
		*to, *dir, instantText(report.Made), plural(report.Bytes, "byte"), report.Copied)
	return err
}

// backUp asks the server that has the folder open for a backup, or opens the folder itself if there is
// no server.
func (c *toolCall) backUp(ctx context.Context, dir, to string, options sessiond.BackupOptions) (sessiond.BackupReport, error) {
	report, err := askBackup(ctx, dir, to, options)
	if !errors.Is(err, errNoServer) {
		return report, err
	}
	log := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	report, closedErr := sessiond.Backup(ctx, dir, to, sessiond.Options{Logger: log}, options)
	if errors.Is(closedErr, sessiond.ErrLocked) {
		return report, fmt.Errorf("%s is in use, and its server does not answer: %w", dir, err)
	}
	return report, closedErr
}

// instantText returns the instant of a backup in readable form.
func instantText(made ttl.Instant) string {
	return made.Time().Format("2006-01-02 15:04:05.000 UTC")
}

// printRecords prints the sizes of the databases.
func printRecords(w io.Writer, records map[int]int64) error {
	var err error
	for _, db := range slices.Sorted(maps.Keys(records)) {
		_, printErr := fmt.Fprintf(w, "database %d: %s\n", db, plural(records[db], "session"))
		err = cmp.Or(err, printErr)
	}
	return err
}
