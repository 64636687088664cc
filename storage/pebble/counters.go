package pebble

import (
	"maps"
	"sync"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/tree"
)

// counters holds the size of every space. The tree has the sizes of the moment up to which it has
// followed the log, and the frames behind that say what was created and ended since.
type counters struct {
	mu sync.Mutex
	of map[uint16]storage.Count
}

func (c *counters) get(space uint16) storage.Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[space]
}

// all returns a copy of the sizes.
func (c *counters) all() map[uint16]storage.Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.of)
}

// apply empties the flushed spaces and then adds the differences.
func (c *counters) apply(flushed []uint16, diffs []difference) {
	if len(flushed)+len(diffs) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, space := range flushed {
		c.of[space] = storage.Count{} // the tree has to hear of it
	}
	for _, d := range diffs {
		c.of[d.space] = tree.Sum(c.of[d.space], d.count)
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
		diffs[i].count = tree.Sum(diffs[i].count, count)
		if diffs[i].count == (storage.Count{}) {
			diffs[i] = diffs[len(diffs)-1]
			diffs = diffs[:len(diffs)-1]
		}
		return diffs
	}
	return append(diffs, difference{space, count})
}
