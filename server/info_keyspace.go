package server

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// keyspace writes the sizes of the databases that are not empty. Inside EXEC it includes what the
// transaction wrote.
func (t *infoText) keyspace() error {
	counts := make([]storage.Count, t.srv.databases)
	lives := make([]int64, t.srv.databases)
	read := func(tx *storage.Tx) error {
		err := readSizes(tx, counts)
		for db, n := range counts {
			if err == nil && n.Expiring > 0 {
				lives[db], err = meanLife(tx, db, n)
			}
		}
		return err
	}
	var err error
	if t.tx != nil {
		err = read(t.tx)
	} else {
		err = t.transact(storage.Scope{}, false, read)
	}
	if err != nil {
		return err
	}
	for db, n := range counts {
		if n.Records > 0 {
			t.line(fmt.Sprintf("db%d", db),
				fmt.Sprintf("keys=%d,expires=%d,avg_ttl=%d", n.Records, n.Expiring, lives[db]))
		}
	}
	return nil
}

// readSizes fills counts with the sizes of the databases.
func readSizes(tx *storage.Tx, counts []storage.Count) error {
	for db := range counts {
		n, err := tx.Len(db)
		if err != nil {
			return err
		}
		counts[db] = n
	}
	return nil
}

// lifeSample is how many records meanLife reads.
const lifeSample = 128

// meanLife returns the mean time to live of the records with a deadline in a database, in
// milliseconds. If there are many records it reads a sample, as Redis does: records are in the order
// of a keyed hash of their names, so neighbours are a fair sample.
func meanLife(tx *storage.Tx, db int, n storage.Count) (int64, error) {
	starts := []uint64{0}
	if n.Records > lifeSample {
		starts = []uint64{rand.Uint64N(storage.MaxCursor), 0} // from the start if there is no record behind the random cursor
	}
	var mean float64
	sampled := 0.0
	for _, cursor := range starts {
		_, err := tx.Scan(db, cursor, lifeSample, func(_ storage.Key, r storage.Record) bool {
			if r.Deadline != ttl.Never {
				sampled++
				mean += (float64(r.Deadline-tx.Now()) - mean) / sampled
			}
			return true
		})
		if err != nil {
			return 0, err
		}
		if sampled > 0 {
			break
		}
	}
	return int64(min(mean, math.MaxInt64/2)), nil
}
