package server

import (
	"sync"

	"github.com/sessiond/sessiond/storage"
)

// watchlist is what WATCH remembers. It belongs to one connection; SWAPDB looks at those of
// all, which is what the lock is for.
//
// A mark tells of every change of a key but one: two exchanges of databases bring the same
// record back, and an exchange of two databases that both lack the key is none. So SWAPDB
// itself says, as in Redis, whom it concerns.
type watchlist struct {
	mu      sync.Mutex
	marks   map[watchedName]storage.Mark
	swapped bool // SWAPDB exchanged a database in which, or for which, a key was there
}

// watchedName is a storage.Key that can be compared.
type watchedName struct {
	db   int
	name string
}

func (n watchedName) key() storage.Key { return storage.Key{DB: n.db, Name: []byte(n.name)} }

// add remembers a key's mark, unless the key is watched already: the first sight counts.
func (w *watchlist) add(k storage.Key, mark storage.Mark) (added bool) {
	name := watchedName{k.DB, string(k.Name)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.marks[name]; known {
		return false
	}
	w.marks[name] = mark
	return true
}

// keys returns the watched keys. Its nil receiver watches nothing.
func (w *watchlist) keys() (keys []storage.Key) {
	if w == nil {
		return nil
	}
	for name := range w.marks {
		keys = append(keys, name.key())
	}
	return keys
}

// unchanged returns errChanged unless every watched key is as it was at WATCH.
func (w *watchlist) unchanged(tx *storage.Tx) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.swapped {
		return errChanged
	}
	for name, before := range w.marks {
		mark, err := tx.Mark(name.key())
		if err != nil {
			return err
		}
		if mark != before {
			return errChanged
		}
	}
	return nil
}

// swap notes that databases a and b are about to be exchanged. It counts for a key that is
// in either of them.
func (w *watchlist) swap(tx *storage.Tx, a, b int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.marks {
		if name.db != a && name.db != b {
			continue
		}
		for _, db := range [...]int{a, b} {
			_, found, err := tx.Stat(storage.Key{DB: db, Name: []byte(name.name)})
			if err != nil {
				return err
			}
			w.swapped = w.swapped || found
		}
	}
	return nil
}

// swapWatched tells every connection that watches keys that a and b are exchanged.
func (s *Server) swapWatched(tx *storage.Tx, a, b int) (err error) {
	s.each(func(c *conn) {
		if w := c.watching.Load(); w != nil && err == nil {
			err = w.swap(tx, a, b)
		}
	})
	return err
}
