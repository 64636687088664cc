package enginetest

import (
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// State is all that remote keeps, as it goes over the network.
type State struct {
	Version, Revision, Generation uint64
	Seen                          ttl.Instant
	Keys                          []Saved
}

// Saved is a key that has a record, or once had one.
type Saved struct {
	DB       int
	Name     string
	Born     uint64
	Alive    bool
	Record   storage.Record
	Elements map[string]string
}

func (s State) model() *model {
	m := NewModel().(*model)
	m.revision, m.generation, m.seen = s.Revision, s.Generation, s.Seen
	for _, k := range s.Keys {
		m.born[id{k.DB, k.Name}] = k.Born
		if k.Alive {
			m.records[id{k.DB, k.Name}] = life{k.Record, k.Elements}
		}
	}
	return m
}

func stateOf(m *model, version uint64) State {
	s := State{Version: version, Revision: m.revision, Generation: m.generation, Seen: m.seen}
	for k := range m.records {
		m.born[k] += 0 // lists a key that only Swap has brought a record
	}
	for k, born := range m.born {
		r, alive := m.records[k]
		s.Keys = append(s.Keys, Saved{k.db, k.name, born, alive, r.Record, r.elements})
	}
	return s
}
