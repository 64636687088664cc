package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/progress"
	"github.com/sessiond/sessiond/ttl"
)

// CheckOptions changes how Check reads. The zero value is ready to use.
type CheckOptions struct {
	// Progress is told how many bytes of how many have been read, from time to time and by
	// one goroutine after the other. The total is an estimate; at the end both are equal.
	// Nil means nobody.
	Progress func(done, total int64)

	FS           vfs.FS // nil means the operating system's
	mostExpected int    // bounds indexCheck.expected; zero means 64 MiB of them
}

// CheckReport is what Check found.
type CheckReport struct {
	// Made is the instant of the backup that was checked, ttl.Never if it was a store.
	Made ttl.Instant
	// Databases are those that have sessions, in order.
	Databases []DatabaseSessions
	Tables    int   // files with sessions
	Bytes     int64 // in them
	Changes   int   // that the log has, and the tables not yet
	LogBytes  int64 // of the log that hold them
	// Problems are the first hundred of each kind, and then a line that counts the others.
	Problems []Problem
	// Damage is the number of problems, those that are only counted among them.
	Damage int
}

// DatabaseSessions is how many sessions a database has. Ended ones are among them until
// they are swept.
type DatabaseSessions struct {
	Database int
	Sessions int64
}

// Check reads the whole store in dir, which it does not change and nobody may have open,
// and compares it with what the package promises: each block of each file with its
// checksum, each session's two halves with each other and with the index and the counters.
// If dir is the folder of a backup it does that with the copy, and compares it with the
// receipt.
// Damage is no error: an error says that it could not look. It takes the same memory at any
// size.
func Check(ctx context.Context, dir string, opts CheckOptions) (CheckReport, error) {
	c := checker{opts: opts, notes: notes{}}
	err := c.check(ctx, dir)
	if errors.Is(err, ErrManifest) {
		c.notes.add("manifest", Problem{"list of tables", err.Error(), adviceManifest})
		err = nil
	}
	if err != nil {
		return CheckReport{}, fmt.Errorf("check store %s: %w", dir, err)
	}
	c.report.Problems, c.report.Damage = c.notes.list()
	return c.report, nil
}

type checker struct {
	*salvage
	opts   CheckOptions
	meter  progress.Meter
	report CheckReport
	notes  notes

	sizes    map[uint16]storage.Count // of the spaces, as counted
	complete bool                     // sizes lack nothing
}

func (c *checker) check(ctx context.Context, dir string) (err error) {
	c.meter.Report = c.opts.Progress
	if c.salvage, err = openSalvage(dir, c.opts.FS, c.meter.Add); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	// Every table is read twice: block by block, and record by record.
	c.meter.Begin(2 * c.tableBytes())
	if err := c.checkTables(ctx); err != nil {
		return err
	}
	c.checkOthers()
	for _, p := range c.head.problems {
		c.notes.add("head", p)
	}
	if err := c.checkRecords(ctx); err != nil {
		return err
	}
	if err := c.checkStrangers(); err != nil {
		return err
	}
	c.checkCounts()
	c.summarise()
	c.meter.End()
	return nil
}

func (c *checker) summarise() {
	c.report.Tables, c.report.Bytes = len(c.tables), c.tableBytes()
	c.report.Changes, c.report.LogBytes = c.log.changes, c.log.bytes
	c.report.Databases = c.head.databases(c.sizes)
}

// databases returns the sizes by database.
func (h *head) databases(sizes map[uint16]storage.Count) (list []DatabaseSessions) {
	for space, count := range sizes {
		if count.Records != 0 {
			list = append(list, DatabaseSessions{int(h.DBs.Logical(space)), count.Records})
		}
	}
	slices.SortFunc(list, func(a, b DatabaseSessions) int { return cmp.Compare(a.Database, b.Database) })
	return list
}

// checkCounts compares the counters with what was counted.
func (c *checker) checkCounts() {
	if !c.complete || !c.head.countsKnown {
		return
	}
	spaces := maps.Clone(c.sizes)
	maps.Copy(spaces, c.head.Counts)
	for _, space := range slices.Sorted(maps.Keys(spaces)) {
		if said, is := c.head.Counts[space], c.sizes[space]; said != is {
			c.notes.add("count", Problem{
				fmt.Sprintf("counter of database %d", c.head.DBs.Logical(space)),
				fmt.Sprintf("it says %d sessions, %d of them with a deadline; there are %d and %d, so DBSIZE and INFO are wrong",
					said.Records, said.Expiring, is.Records, is.Expiring),
				adviceRebuild,
			})
		}
	}
}

// notes are problems by kind, of which there may be one for each of many sessions.
type notes map[string]*noted

type noted struct {
	problems []Problem
	more     int
}

const mostNoted = 100

func (n notes) add(kind string, p Problem) {
	if n[kind] == nil {
		n[kind] = &noted{}
	}
	if k := n[kind]; len(k.problems) < mostNoted {
		k.problems = append(k.problems, p)
	} else {
		k.more++
	}
}

// list returns the problems, a line for those of a kind that were too many, and how many
// there are in all.
func (n notes) list() (all []Problem, count int) {
	for _, kind := range slices.Sorted(maps.Keys(n)) {
		k := n[kind]
		all = append(all, k.problems...)
		count += len(k.problems) + k.more
		if k.more > 0 {
			last := k.problems[len(k.problems)-1]
			all = append(all, Problem{fmt.Sprintf("%d more", k.more), "the same as the line before", last.Advice})
		}
	}
	return all, count
}
