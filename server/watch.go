package server

import (
	"sync"

	"github.com/sessiond/sessiond/storage"
)

// watchlist holds the keys that one connection watches. SWAPDB looks at the lists of all
// connections, so a list has a lock.
//
// The version of a key shows every change except SWAPDB: exchanging two databases twice brings the
// same record back, and exchanging two databases that both lack the key changes nothing. So, as in
// Redis, SWAPDB itself decides which lists it affects.
type watchlist struct {
	mu       sync.Mutex
	versions map[watchedName]storage.Mark
	swapped  bool // a watched key existed in one of the databases that SWAPDB has exchanged
}

// watchedName is a storage.Key that can be the key of a map.
type watchedName struct {
	db   int
	name string
}

func (n watchedName) key() storage.Key { return storage.Key{DB: n.db, Name: []byte(n.name)} }

// add records the version of a key. If the key is watched already, the earlier version stays.
func (w *watchlist) add(k storage.Key, version storage.Mark) (added bool) {
	name := watchedName{k.DB, string(k.Name)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.versions[name]; known {
		return false
	}
	w.versions[name] = version
	return true
}

// keys returns the watched keys. A nil watchlist has none.
func (w *watchlist) keys() (keys []storage.Key) {
	if w == nil {
		return nil
	}
	for name := range w.versions {
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
	for name, before := range w.versions {
		version, err := tx.Mark(name.key())
		if err != nil {
			return err
		}
		if version != before {
			return errChanged
		}
	}
	return nil
}

// swap sets swapped if databases a and b, which are about to be exchanged, matter to a watched key:
// one that is in either of them.
func (w *watchlist) swap(tx *storage.Tx, a, b int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.versions {
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

// swapWatched calls swap for every connection that watches keys.
func (s *Server) swapWatched(tx *storage.Tx, a, b int) (err error) {
	s.each(func(c *conn) {
		if w := c.watching.Load(); w != nil && err == nil {
			err = w.swap(tx, a, b)
		}
	})
	return err
}
