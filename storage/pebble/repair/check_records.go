package repair

import (
	"context"
	"fmt"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/ttl"
)

// stateTexts say what is wrong with a record. What lies in a gap is told with the gap.
var stateTexts = map[state]string{
	noEntry:     "there is a value and no entry: the session cannot be read",
	noValue:     "there is an entry and no value: the session cannot be read",
	undecodable: "the entry makes no sense: the session cannot be read",
	newerEntry:  "a newer version of sessiond wrote it, and this one cannot read it",
	resized:     "the value has another size than the entry says: the session cannot be read",
	misplaced:   "it lies where its name does not belong: the session cannot be found",
	badName:     "the key is too short: it is nobody's session",
}

// checkRecords walks along all records and compares them with each other, with the head and
// with the index.
func (c *checker) checkRecords(ctx context.Context) error {
	c.sizes, c.complete = map[uint16]storage.Count{}, true
	index := newIndexCheck(c)
	entries, values, err := c.walk(ctx, func(f *found) error {
		state := f.judge(&c.head)
		if text := stateTexts[state]; text != "" {
			c.notes.add("record "+text, Problem{c.sessionText(f.place), text, adviceRepair})
		}
		if !f.decoded {
			// Whether it counts as one with a deadline is unknown.
			c.complete = c.complete && !f.hasEntry
			return nil
		}
		c.checkEntry(f)
		return index.expect(ctx, f)
	})
	if err != nil {
		return err
	}
	c.complete = c.complete && len(entries) == 0
	for _, g := range entries {
		c.notes.add("gap", c.head.gapProblem(g, "their entries cannot be read: they are lost", adviceRepair))
	}
	for _, g := range values {
		c.notes.add("gap", c.head.gapProblem(g, "their values cannot be read: they are lost", adviceRepair))
	}
	return index.finish(ctx)
}

func (c *checker) sessionText(p layout.HashSlot) string {
	return "session in " + c.head.positionText(p)
}

// gapProblem reports a range of places that cannot be read.
func (h *head) gapProblem(g gap, what, advice string) Problem {
	end := "the end"
	if !g.end {
		end = h.positionText(layout.HashSlot(g.to))
	}
	return Problem{"sessions from " + h.positionText(layout.HashSlot(g.from)) + " to " + end, what, advice}
}

// checkEntry compares an entry with the head, and counts it.
func (c *checker) checkEntry(f *found) {
	x, h := f.entry, &c.head
	space := f.place.PhysicalDB()
	c.sizes[space] = tree.Sum(c.sizes[space], layout.CountOf(true, x))
	report := func(what string) {
		c.notes.add("entry "+what, Problem{c.sessionText(f.place), what, adviceRebuild})
	}
	if x.Revision > h.Revision && h.revisionKnown {
		report("its revision is higher than any that was given out: WATCH may miss a change")
	}
	if x.Deadline == ttl.Never {
		return
	}
	if x.Indexed > x.Deadline {
		report("the sweeper looks at it after its deadline: its space is given back too late")
	}
	if x.Indexed < h.Fence && h.Knows(tree.Fence) {
		report("the sweeper believes to have been there: its space is never given back")
	}
}

// checkStrangers looks for keys that no version of the format has.
func (c *checker) checkStrangers() error {
	known := []byte{layout.PrefixValue, layout.PrefixHeader, layout.PrefixMeta, layout.PrefixIndex}
	var lower []byte // none; Pebble takes an empty one for a key
	for i := 0; i <= len(known); i++ {
		var upper []byte // none
		if i < len(known) {
			upper = known[i : i+1]
		}
		it, err := c.db.NewIter(&pebbledb.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return err
		}
		if it.First() {
			c.notes.add("stranger", Problem{
				fmt.Sprintf("keys that begin with byte %02x", it.Key()[:1]),
				"they are none of sessiond's", "find out which program wrote them; sessiond repair leaves them out",
			})
		}
		_ = it.Close() // what cannot be read is reported with its table
		if i < len(known) {
			lower = []byte{known[i] + 1}
		}
	}
	return nil
}
