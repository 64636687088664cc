package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
)

// checkTables compares every table with the manifest and each of its blocks with its
// checksum, those that no reader would meet among them.
func (c *checker) checkTables(ctx context.Context) error {
	for _, t := range c.tables {
		if err := ctx.Err(); err != nil {
			return err
		}
		if what := c.checkTable(ctx, t); what != "" {
			c.notes.add("table", Problem{fmt.Sprintf("table %s (level %d)", t.name, t.level), what, adviceRepair})
		}
	}
	return nil
}

// checkTable returns what is wrong with a table.
func (c *checker) checkTable(ctx context.Context, t table) string {
	path := c.files.PathJoin(c.dir, t.name)
	info, err := c.files.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("the file, of %d bytes, is missing: its sessions are lost", t.size)
	case err != nil:
		return fmt.Sprintf("the file cannot be looked at (%s): its sessions cannot be read", reason(err))
	case info.Size() != t.size:
		return fmt.Sprintf("the file has %d bytes, not %d: its sessions cannot be read", info.Size(), t.size)
	}
	err = c.readBlocks(ctx, path)
	if err != nil {
		return fmt.Sprintf("a block cannot be read (%s): some of its sessions are lost", reason(err))
	}
	return ""
}

// readBlocks reads all blocks of a table.
func (c *checker) readBlocks(ctx context.Context, path string) (err error) {
	f, err := c.view.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(ctx, readable, c.pebble.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.ValidateBlockChecksums()
}

// reason shortens an error of Pebble's or the system's to one line.
func reason(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// checkOthers reports what is wrong with the files beside the tables.
func (c *checker) checkOthers() {
	for _, p := range c.logProblems(adviceRepair) {
		c.notes.add("log", p)
	}
	for _, p := range c.problems {
		if filepath.Ext(p.File) != ".sst" {
			c.notes.add("file", Problem{p.File, p.What + ": sessiond does not start with it", adviceRebuild})
		}
	}
}

// logProblems returns what was lost with the log.
func (s *salvage) logProblems(advice string) (list []Problem) {
	const back = "and sessions that were ended in them may be back"
	if s.log.damage == nil {
		return nil
	}
	for _, gap := range s.log.gaps {
		list = append(list, Problem{"log " + gap.File, fmt.Sprintf(
			"%d bytes from byte %d on cannot be read: the newest changes to some sessions are lost, %s",
			gap.To-gap.From, gap.Offset, back), advice})
	}
	if len(list) > 0 {
		return list
	}
	where, what := "log", s.log.damage.Error()
	var damage *pebblefile.ProblemError
	if errors.As(s.log.damage, &damage) {
		where, what = "log "+damage.File, damage.What
	}
	return []Problem{{where, what + ": the newest changes to some sessions may be lost, " + back, advice}}
}
