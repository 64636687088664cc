// Package pebble keeps sessions in one folder of the local disk. It is the default
// storage.Engine, built on the Pebble key-value store.
//
// # Guarantees
//
// A change whose barrier went through Sync survives what the durability mode promises:
// Session and Strict the end of the machine, EverySec the end of the process. Sizes,
// revisions and deadlines are exact after kill -9. Opening takes the same time at any size.
// An error of the write-ahead log ends the process, because going on would acknowledge
// changes that may not be there after a restart.
//
// # Layout
//
// The bytes on disk are drawn in format.go. A record is two keys: its entry (deadline,
// kind, revision) and its value, so that moving a deadline never moves the value. A third
// key files the record under the time at which the sweeper has to look at it; moving a
// deadline forward leaves that one where it is.
//
// # Locks
//
// A goroutine takes them in this order and never the other way:
//
//	stripes, ascending -> layout -> index -> revisions -> counters
//	flusher (alone)
//
// Stripes make updates of one key take turns and are held while the batch is applied, not
// while it is made durable. A View of no keys takes no stripe: its Scan reads a consistent
// iterator. Layout is held only by a commit that swaps databases and by whoever looks up a
// database without holding a stripe.
package pebble
