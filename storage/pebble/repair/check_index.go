package repair

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
	"github.com/sessiond/sessiond/ttl"
)

// indexCheck compares the entries with the index. They lie in different orders, by place
// and by time. Looking up each entry would read the index at random, a block for each
// session; so what the entries expect is collected, 16 bytes each, sorted as the index is,
// and compared in one go along it. The collection is bounded: a larger store has its index
// read several times.
type indexCheck struct {
	c        *checker
	expected []filing
	most     int
	passes   int
}

// filing is an index entry without its name. The hash in the place stands for the name:
// each index key is compared with its own.
type filing struct {
	due   ttl.Instant
	place layout.HashSlot
}

const mostExpected = 4 << 20 // 64 MiB

func newIndexCheck(c *checker) *indexCheck {
	return &indexCheck{c: c, most: cmp.Or(c.opts.mostExpected, mostExpected)}
}

// expect notes the index entry that a record should have.
func (x *indexCheck) expect(ctx context.Context, f *found) error {
	if f.entry.Indexed == ttl.Never {
		return nil
	}
	x.expected = append(x.expected, filing{f.entry.Indexed, f.place})
	if len(x.expected) < x.most {
		return nil
	}
	return x.compare(ctx)
}

// finish compares the rest. It walks along the index at least once.
func (x *indexCheck) finish(ctx context.Context) error {
	if x.passes > 0 && len(x.expected) == 0 {
		return nil
	}
	return x.compare(ctx)
}

// compare walks along the index and crosses off what was expected.
func (x *indexCheck) compare(ctx context.Context) error {
	slices.SortFunc(x.expected, func(a, b filing) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.place, b.place))
	})
	first := x.passes == 0
	x.passes++
	from := uint64(0)
	if !first {
		from = uint64(x.expected[0].due)
	}
	it := x.c.cursor(layout.PrefixIndex, from)
	defer it.close()
	rest := x.expected
	for n := 0; it.next() && (first || len(rest) > 0); n++ {
		if n%walked == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		f, ok := x.filing(it.key(), first)
		if ok {
			rest = x.crossOff(rest, f, it)
		}
	}
	if it.failed != nil {
		return fmt.Errorf("read index: %w", it.failed)
	}
	x.crossOff(rest, filing{due: math.MaxInt64, place: math.MaxUint64}, it)
	if first {
		x.reportGaps(it.gaps)
	}
	x.expected = x.expected[:0]
	return nil
}

// filing takes an index key apart. Only the first walk reports what is wrong with it.
func (x *indexCheck) filing(key []byte, report bool) (filing, bool) {
	due, p, name, ok := layout.SplitIndexKey(key)
	h := &x.c.head
	if ok && (!h.Knows(tree.Seed) || h.Seed.Hash(name) == p.Hash()) {
		return filing{due, p}, true
	}
	if report {
		x.c.notes.add("index key", Problem{
			fmt.Sprintf("index entry at %s", ttlText(due)), "it makes no sense: the sweeper stops or drops it", adviceRebuild,
		})
	}
	return filing{}, false
}

// crossOff reports the filings before f, which the index lacks, and returns those after it.
func (x *indexCheck) crossOff(rest []filing, f filing, it *cursor) []filing {
	for len(rest) > 0 {
		order := cmp.Or(cmp.Compare(rest[0].due, f.due), cmp.Compare(rest[0].place, f.place))
		if order > 0 {
			return rest
		}
		missing := rest[0]
		rest = rest[1:]
		if order == 0 {
			return rest // names that share a place have an index entry each
		}
		if !it.covers(uint64(missing.due)) {
			x.c.notes.add("index", Problem{
				x.c.sessionText(missing.place), "the index lacks it: its space is never given back", adviceRebuild,
			})
		}
	}
	return rest
}

func (x *indexCheck) reportGaps(gaps []gap) {
	for _, g := range gaps {
		end := "the end"
		if !g.end {
			end = ttlText(ttl.Instant(g.to))
		}
		x.c.notes.add("index gap", Problem{
			fmt.Sprintf("index from %s to %s", ttlText(ttl.Instant(g.from)), end),
			"it cannot be read: ended sessions are not swept", adviceRebuild,
		})
	}
}

// ttlText names an instant in reports, in Unix milliseconds.
func ttlText(t ttl.Instant) string { return fmt.Sprintf("time %d", int64(t)) }
