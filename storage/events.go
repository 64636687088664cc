package storage

// Event says what happened: most often to a key. Its name is a word that handlers and listeners agree on.
type Event struct {
	Name string
	Key  Key
	Data []byte // what else there is to say, such as the message that was sent to a channel
}

// EventExpired is the event of a record that ended by its deadline and was removed: by the sweeper,
// or by the transaction that met what was left of it. Keyspace emits it, once for each end that
// Expired counts.
const EventExpired = "expired"

// Listener is told what happened. The events of a call are those of one transaction, in the order in
// which its function emitted them, or some that a Sweep made. They are valid until the listener
// returns. Whoever shows them to somebody else passes b to Sync first: a power cut could take
// back what they tell of.
//
// A transaction is told once, after it was committed, by the goroutine that ran it, before View
// or Update returns. It holds no key any more then. So the listener may use the keyspace, and two
// transactions that changed one key may be told in either order: where that matters, the listener reads
// the key. A listener must not wait for anything slow, because a command waits for it.
type Listener func(b Barrier, events []Event)

// Listen makes events go to fn; nil, as in the beginning, wants none, and then Emit costs nothing.
// Listen is for one goroutine at a time. A transaction or a Sweep that is under way may still go by
// what was there before.
func (ks *Keyspace) Listen(fn Listener) {
	if fn == nil {
		ks.engine.OnSwept(nil)
		ks.listener.Store(nil)
		return
	}
	ks.listener.Store(&fn)
	var events []Event // Sweep is for one goroutine
	ks.engine.OnSwept(func(keys []Key, b Barrier) {
		events = events[:0]
		for _, k := range keys {
			events = append(events, Event{Name: EventExpired, Key: k})
		}
		fn(b, events)
		clear(events)
	})
}

// Emit says what the transaction does. The event reaches the listener if the transaction is
// committed, and not otherwise; a function that is run again begins without events. A View has
// events, too, if its function returns nil. The name of the key and the data have to stay as they
// are until View or Update returns.
func (tx *Tx) Emit(e Event) {
	if tx.events != nil {
		*tx.events = append(*tx.events, e)
	}
}

// eventsOf returns where an attempt of v puts its events, which is empty; nil if nobody listens.
func (ks *Keyspace) eventsOf(v *visit) *[]Event {
	if ks.listener.Load() == nil {
		return nil
	}
	v.forgetEvents()
	return &v.events
}

// release tells the listener what a transaction did that was committed with b.
func (ks *Keyspace) release(v *visit, b Barrier) {
	if fn := ks.listener.Load(); fn != nil && len(v.events) > 0 {
		(*fn)(b, v.events)
	}
}

// maxKeptEvents bounds what a pooled visit keeps for the next one.
const maxKeptEvents = 1024

func (v *visit) forgetEvents() {
	clear(v.events)
	if v.events = v.events[:0]; cap(v.events) > maxKeptEvents {
		v.events = nil
	}
}
