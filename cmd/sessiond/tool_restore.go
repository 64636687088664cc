package main

import (
	"fmt"

	"github.com/sessiond/sessiond"
)

func runRestore(c *toolCall) error {
	dir := c.dirFlag()
	from := c.folderFlag("from", "", "`folder` of the backup; it stays as it is")
	if err := c.parse(); err != nil {
		return err
	}
	if *from == "" {
		return usagef("--from is missing: it is the folder of a backup")
	}
	ctx, stop := untilSignal()
	defer stop()
	bar := newProgress(c.stderr, "copying "+*from, "checking "+*dir)
	report, err := sessiond.Restore(ctx, *from, *dir, sessiond.RestoreOptions{Progress: bar.show})
	bar.clear()
	if err != nil {
		return err
	}
	if err := printRecords(c.stdout, report.Records); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s has the sessions as of %s; those that were ended later are back, until their deadlines\n",
		*dir, instantText(report.Made))
	return err
}
