package pebble

import (
	"sync/atomic"

	"github.com/sessiond/sessiond/storage/pebble/internal/diskspace"
)

// largeBatches sees to it that the memory of large values is given back. Pebble does not
// copy a batch of more than half a memtable: it puts it into its queue of memtables, whose
// array keeps batches that were flushed reachable until it has been used up. So a store that
// was sent a few large values and is then left alone would hold them in memory for ever.
type largeBatches struct {
	threshold int          // bytes from which a batch is queued as it is
	owed      atomic.Int32 // flushes until the array is surely a new one
}

// queueSlots is more than the array has: it grows from what the queue holds, at most diskspace.MemTables.
const queueSlots = 2 * diskspace.MemTables

func (l *largeBatches) note(bytes int) {
	if bytes >= l.threshold {
		l.owed.Store(queueSlots)
	}
}

// release moves the queue on by one if it may hold a large batch.
func (l *largeBatches) release(flush func() (<-chan struct{}, error)) error {
	if l.owed.Load() == 0 {
		return nil
	}
	l.owed.Add(-1)
	_, err := flush()
	return err
}
