package enginetest

import (
	"cmp"
	"fmt"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

func compareID(a, b id) int {
	return cmp.Or(cmp.Compare(a.db, b.db), cmp.Compare(a.name, b.name))
}

// read returns every record that r shows, by every way there is to see it: an error tells
// where Scan, Stat, Get and Len contradict each other. r has the scope Whole.
func read(r storage.Reader) (contents, error) {
	all := contents{}
	for _, db := range databases() {
		scanned, err := scanAll(r, db, 100)
		if err != nil {
			return nil, err
		}
		if err := checkLen(r, db, scanned); err != nil {
			return nil, err
		}
		for k, want := range scanned {
			e, err := readOne(r, k, want)
			if err != nil {
				return nil, err
			}
			all[k] = e
		}
	}
	return all, nil
}

// readOne gets the record under k and compares it with what Scan and Stat tell.
func readOne(r storage.Reader, k id, scanned storage.Record) (entry, error) {
	full, found, err := r.Get(k.key())
	if err != nil {
		return entry{}, fmt.Errorf("get %v: %w", k, err)
	}
	if !found {
		return entry{}, fmt.Errorf("scan visits %v, which Get does not find", k)
	}
	e := entry{full.Kind, string(full.Value), full.Deadline, full.Revision}
	stat, found, err := r.Stat(k.key())
	if err != nil {
		return entry{}, fmt.Errorf("stat %v: %w", k, err)
	}
	if !found {
		return entry{}, fmt.Errorf("scan visits %v, which Stat does not find", k)
	}
	if full.Size != len(e.value) {
		return entry{}, fmt.Errorf("get %v: Size = %d for a value of %d bytes", k, full.Size, len(e.value))
	}
	if err := sameWithoutValue("stat", k, stat, e); err != nil {
		return entry{}, err
	}
	return e, sameWithoutValue("scan", k, scanned, e)
}

func sameWithoutValue(how string, k id, got storage.Record, want entry) error {
	if got.Value != nil {
		return fmt.Errorf("%s %v: the record comes with a value", how, k)
	}
	if got.Kind != want.kind || got.Size != len(want.value) ||
		got.Deadline != want.deadline || got.Revision != want.revision {
		return fmt.Errorf("%s %v = kind %d, size %d, deadline %d, revision %d; Get says %d, %d, %d, %d", how, k,
			got.Kind, got.Size, got.Deadline, got.Revision,
			want.kind, len(want.value), want.deadline, want.revision)
	}
	return nil
}

func checkLen(r storage.Reader, db int, scanned map[id]storage.Record) error {
	var want storage.Count
	for _, record := range scanned {
		want.Records++
		if record.Deadline != ttl.Never {
			want.Expiring++
		}
	}
	got, err := r.Len(db)
	if err == nil && got != want {
		err = fmt.Errorf("len of database %d = %+v, a scan counts %+v", db, got, want)
	}
	return err
}

// scanAll reads a database page by page.
func scanAll(r storage.Reader, db int, limit int) (map[id]storage.Record, error) {
	all := map[id]storage.Record{}
	cursor := uint64(0)
	for range maxPages {
		page, next, err := scanPage(r, db, cursor, limit)
		if err != nil {
			return nil, err
		}
		for k, record := range page {
			all[k] = record
		}
		if next == 0 {
			return all, nil
		}
		cursor = next
	}
	return nil, fmt.Errorf("scan of database %d does not end: at cursor %d after %d pages", db, cursor, maxPages)
}

// maxPages is more than any series of Scans in this package needs.
const maxPages = 10_000

// scanPage is one Scan, checked for what holds of each.
func scanPage(r storage.Reader, db int, cursor uint64, limit int) (map[id]storage.Record, uint64, error) {
	page := map[id]storage.Record{}
	visited := 0
	var wrong error
	next, err := r.Scan(db, cursor, limit, func(k storage.Key, record storage.Record) bool {
		visited++
		if k.DB != db {
			wrong = fmt.Errorf("scan of database %d visits %v", db, idOf(k))
		}
		page[idOf(k)] = record
		return true
	})
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("scan database %d from %d: %w", db, cursor, err)
	case wrong != nil:
		return nil, 0, wrong
	case next >= storage.MaxCursor:
		return nil, 0, fmt.Errorf("scan database %d from %d: next = %d is not below MaxCursor", db, cursor, next)
	case visited > limit+fewMore:
		return nil, 0, fmt.Errorf("scan database %d from %d with limit %d visits %d records", db, cursor, limit, visited)
	}
	return page, next, nil
}

// fewMore is how many records beyond the limit a Scan may visit: in a test there are never
// more at one position.
const fewMore = 8
