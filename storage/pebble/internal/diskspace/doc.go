// Package diskspace keeps a store from filling its disk, and lets it remove sessions where the disk is
// full. It knows Pebble's part of the store, the tree, and asks the rest through a small interface: no
// engine. Why all of this is needed stands in docs/decisions/0006-room-on-the-disk.md.
//
// # Who may write
//
// A Guard knows how many bytes may still be written, so that a change is refused before a write fails. The
// ballast counts as free: releasing it changes nothing. From the first that stops to the last:
//
//	                                                              stops when less is free than
//	ClassInsert    what makes the store larger                    headroom and ballast
//	ClassExtend    later deadlines                                half of the headroom, and the ballast
//	compactions    they write before they free anything           a quarter of the headroom, and the ballast
//	flushes        tables in memory that are written out          three eighths of the ballast
//	ClassDelete    deletions, flush, swap, earlier deadlines      a quarter of the ballast
//	small files    the MANIFEST, and others of Pebble             nothing is left
//
// A margin comes to the thresholds of the classes, and the size of the first level to those of inserts
// and extensions. A class that was refused is admitted again when there is somewhat more: the hysteresis.
// Inserts, extensions and compactions treat a quota as a second, smaller disk; the others ignore it, since
// the headroom is there to hold them. The log takes no part in it: see FitsLog.
//
// # The state
//
// A Guard is in one state, which only the pure function next changes. Its level says what is refused:
//
//	normal -> noInserts -> noExtensions -> full
//
// Beside the level the state says whether compactions or flushes are blocked because they found no space,
// how deep the first level is, for how many ticks it was deep, and whether changes came while the disk was
// full that no checkpoint has (unsaved). The level rises at any event, and only a tick lowers it:
//
//	event             level                                  the rest
//	refused           at least the one that refuses it
//	ballastReleased   at least noInserts;
//	                  full if less than two pieces are left
//	applied                                                  unsaved, unless normal
//	compactionFull    at least noExtensions if crowded       compactions are blocked
//	compacted                                                compactions are not blocked
//	flushFull         at least noExtensions                  flushes are blocked
//	flushed           at least noExtensions if crowded       flushes are not blocked, one deeper
//	measured                                                 as deep as measured; flushes are not
//	                                                         blocked if no table in memory waits
//	tick              the highest that holds of those below  counts if deep, or else begins again
//	checkpoint                                               not unsaved, and the count begins again
//
//	full              too little for deletions, or less than two pieces of ballast
//	noExtensions      too little for extensions, or flushes are blocked, or crowded
//	noInserts         too little for inserts, or ballast that could not be refilled
//	normal            otherwise
//
// The first level is deep when it has half the tables above each other that Pebble allows, and crowded
// when it is deep and compactions are blocked. When the level leaves normal, the state is unsaved: a change
// may have come just before.
//
// # What follows from the state
//
//	compactions blocked    a compaction that finds no space is cancelled, and not failed: Pebble would try
//	                       none near it for half a minute. While the reclaimer works it fails after all, or Pebble
//	                       would try nothing else.
//	not normal             at each tick the reclaimer has Pebble merge tables that have deleted much, and if the
//	                       state is unsaved, Tick asks for a checkpoint, unless the first level is deep:
//	                       then it does so only after deepPatience ticks.
//	flushes blocked        no checkpoint begins, and the write gate is open: changes are refused and do
//	or crowded             not wait.
//
// The write gate makes changes wait while the log or the memory is nearly full, and until tables were
// written. It stands before the stripes, so that everything can be read meanwhile.
//
// # Locks
//
// A goroutine takes them in this order and never the other way:
//
//	meter.measuring -> Pebble's -> Ballast.mu, gate.mu, Scheduler.mu
//	Scheduler.granting -> Pebble's
//	reclaimer.mu, while nothing else is taken
//
// The methods that a caller may use while it holds Pebble's locks say so. The state needs no lock.
package diskspace
