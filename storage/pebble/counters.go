package pebble

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
)

// counters holds the size of every space. It changes together with the records, because
// each batch that creates or removes one carries the difference as a merge operand.
type counters struct {
	mu sync.Mutex
	of map[uint16]storage.Count
}

func (c *counters) get(space uint16) storage.Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[space]
}

// apply empties the flushed spaces and then adds the differences.
func (c *counters) apply(flushed []uint16, diffs []difference) {
	if len(flushed)+len(diffs) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, space := range flushed {
		delete(c.of, space)
	}
	for _, d := range diffs {
		c.of[d.space] = sum(c.of[d.space], d.count)
	}
}

// difference is what one batch changes in the size of one space.
type difference struct {
	space uint16
	count storage.Count
}

// addDifference adds to the difference of a space in diffs, which has no empty element.
func addDifference(diffs []difference, space uint16, count storage.Count) []difference {
	if count == (storage.Count{}) {
		return diffs
	}
	for i := range diffs {
		if diffs[i].space != space {
			continue
		}
		diffs[i].count = sum(diffs[i].count, count)
		if diffs[i].count == (storage.Count{}) {
			diffs[i] = diffs[len(diffs)-1]
			diffs = diffs[:len(diffs)-1]
		}
		return diffs
	}
	return append(diffs, difference{space, count})
}

func sum(a, b storage.Count) storage.Count {
	return storage.Count{Records: a.Records + b.Records, Expiring: a.Expiring + b.Expiring}
}

// countOf returns what one record adds to the size of its space.
func countOf(exists bool, x entry) storage.Count {
	switch {
	case !exists:
		return storage.Count{}
	case x.deadline == 0:
		return storage.Count{Records: 1}
	default:
		return storage.Count{Records: 1, Expiring: 1}
	}
}

func encodeCount(c storage.Count) []byte {
	b := make([]byte, 0, countSize)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Records))
	return binary.BigEndian.AppendUint64(b, uint64(c.Expiring))
}

func decodeCount(b []byte) (storage.Count, error) {
	if len(b) != countSize {
		return storage.Count{}, fmt.Errorf("count of %d bytes: %w", len(b), ErrDamaged)
	}
	return storage.Count{
		Records:  int64(binary.BigEndian.Uint64(b)),
		Expiring: int64(binary.BigEndian.Uint64(b[8:])),
	}, nil
}

// addMerger adds counts. Its name is on disk: a store that was written with another merge
// operator does not open.
var addMerger = &pebbledb.Merger{
	Name: "sessiond.add.v1",
	Merge: func(_, value []byte) (pebbledb.ValueMerger, error) {
		m := &adder{}
		return m, m.MergeNewer(value)
	},
}

// adder does not care for order, since addition does not.
type adder struct{ total storage.Count }

func (a *adder) MergeNewer(value []byte) error {
	c, err := decodeCount(value)
	a.total = sum(a.total, c)
	return err
}

func (a *adder) MergeOlder(value []byte) error { return a.MergeNewer(value) }

func (a *adder) Finish(bool) ([]byte, io.Closer, error) { return encodeCount(a.total), nil, nil }
