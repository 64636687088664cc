package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
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
		if filepath.Ext(p.file) != ".log" && filepath.Ext(p.file) != ".sst" {
			c.notes.add("file", Problem{p.file, p.what + ": sessiond does not start with it", adviceRebuild})
		}
	}
}

// logProblems returns what was lost with the logs.
func (s *salvage) logProblems(advice string) (list []Problem) {
	const lost = "the newest changes to some sessions are lost, and sessions that were ended in them may be back"
	told := map[string]bool{}
	for _, log := range s.view.logs {
		for _, part := range log.damage {
			told[log.name] = true
			what := fmt.Sprintf("%d bytes from byte %d on cannot be read: %s", part.bytes(), part.from, lost)
			list = append(list, Problem{"log " + log.name, what, advice})
		}
	}
	for _, p := range s.problems {
		if filepath.Ext(p.file) == ".log" && !told[p.file] {
			list = append(list, Problem{"log " + p.file, p.what + ": " + lost, advice})
		}
	}
	return list
}
