// Package pebble keeps sessions in one folder of the local disk. It is the default
// storage.Engine: a log of its own (package wal), and a tree of tables that follows it, which is
// the Pebble key-value store with its own log switched off.
//
// # Guarantees
//
// A change whose barrier went through Sync survives what the durability mode promises:
// Session and Strict the end of the machine, EverySec the end of the process. In each mode
// everything that was visible before Sync survives the end of the process, and what a power cut
// takes is the end of what happened, never something from its middle. Sizes, revisions and
// deadlines are exact afterwards. Opening takes the same time however many sessions there are; it
// reads what of the log the tree has not followed, and nothing after a Close. An error of the log
// or of the list of tables ends the store, because going on would acknowledge changes that may
// not be there after a restart.
//
// # The life of a change
//
//	moment                             kill -9 leaves        a power cut leaves
//	Update: nothing is written         nothing               nothing
//	its frame is appended to the log   nothing, or it (1)    nothing, or it (2)
//	its batch is in the tree's memory  the same: now others see it, whose replies wait for it
//	Sync: the kernel has the frame     it                    nothing, or it (2)
//	-> the reply, if it waits for no more
//	Sync: the log is synced            it                    it
//	-> the reply
//	the log is synced once more,       it, from both,        it, from both,
//	and a table of the tree has it     which are equal       which are equal
//	followed is raised behind it       it, from the tree     it, from the tree
//	its segment is used again          it, from the tree     it, from the tree
//
// (1) It, if the log is mapped, as in EverySec, or if somebody else's Sync came meanwhile.
// (2) It, but only with everything that was appended before.
//
// A frame holds final states, so a start makes again what stands in the log from followed on,
// whatever of it the tables have already. Followed, the sizes and the highest revision are written
// in one batch while nobody commits, so they are those of one place in the log: see checkpoint.
// A commit that fits no segment is brought to the tables, with followed, before its reply: see
// applyLarge.
//
// # Layout
//
// The bytes on disk are drawn in format.go, those of the log in frame.go and package wal. A record
// is two keys: its entry (deadline, kind, revision) and its value, so that moving a deadline never
// moves the value. A third key files the record under the time at which the sweeper has to look at
// it; moving a deadline forward leaves that one where it is.
//
// # Locks
//
// A goroutine takes them in this order and never the other way:
//
//	stripes, ascending -> layout -> index -> commits -> counters
//	                  checkpoints.running -> commits
//
// Stripes make updates of one key take turns and are held until the frame is in the log and the
// batch in the tree, not until they are durable. A View of no keys takes no stripe: its Scan reads
// a consistent iterator. Layout is held only by a commit that swaps databases and by whoever looks
// up a database without holding a stripe. Commits is held for reading from the frame of a commit
// to its counts, and for writing by who needs a place in the log that nothing crosses. The log's own
// locks, Pebble's, and those of the room on the disk, of stalls and of the folder come after all of
// these, and none of these is taken with one of them held.
//
// # Files
//
// The tree (Pebble) and the log write to the folder through file systems, each above the next:
//
//	tree  log
//	 x         treeFS     a table of a flush waits for the log; a MANIFEST that fails ends the store
//	 x         tablesFS   a table that is found damaged when it is read is named
//	 x         startFS    a start that fails leaves the folder as it was
//	       x   logFS      what the log needs of a file system
//	 x     x   pacedFS    who could not write a table pauses before he is told
//	 x     x   reserveFS  the last of the disk goes to what must not fail
//	 x     x   failedFS   after the end of the store nothing reaches the disk
//	 x     x   ownFS      files and folders that are their owner's alone, and regular files only
//
// Backups use ownFS alone: what they write is no part of the store. Tools that read a store which
// may be damaged have salvageFS above it: what Pebble makes on it is in memory, and the folder stays
// as it is.
package pebble
