package sessiond

import (
	"context"

	"github.com/sessiond/sessiond/storage"
)

// Found is what Open found.
type Found struct {
	// Dir is the folder as an absolute path: a relative one, given from another working
	// folder, leads to another store.
	Dir string
	// New says that there was no store in Dir, so that Open made it.
	New bool
	// Sessions is how many sessions the databases had, all of them together. Those whose
	// deadline has passed and which are not removed yet are among them.
	Sessions int64
}

// Found returns what Open found, which does not change later.
func (s *Store) Found() Found { return s.found }

// creator is an engine that knows whether it made its store.
type creator interface {
	Created() bool
}

// look fills in what the Store found.
func (s *Store) look() error {
	s.found.Dir = s.dir
	if engine, ok := s.engine.(creator); ok {
		s.found.New = engine.Created()
	}
	_, err := s.keyspace.View(context.Background(), storage.Scope{}, func(tx *storage.Tx) error {
		s.found.Sessions = 0 // it may be the second attempt
		for db := range s.options.Databases {
			count, err := tx.Len(db)
			if err != nil {
				return err
			}
			s.found.Sessions += count.Records
		}
		return nil
	})
	return err
}
