// Package pebble keeps sessions in one folder of the local disk. It is the default
// storage.Engine: a log of its own (package wal), the newest changes in memory (package dirty), and a
// tree of tables that follows the log, which is the Pebble key-value store with its own log switched
// off.
//
// # Guarantees
//
// A change whose barrier went through Sync survives what the durability mode promises:
// Session and Strict the end of the machine, EverySec the end of the process. In each mode
// everything that was visible before Sync survives the end of the process, and what a power cut
// takes is the end of what happened, never something from its middle. Sizes, revisions and
// deadlines are exact afterwards. Opening takes the same time however many sessions there are; it
// reads what of the log the tree has not followed, which after a Close is nothing, and writes none of it
// to the tree: so it needs no room on the disk for that. An error of the log or of the list of tables
// ends the store, because going on would acknowledge changes that may not be there after a restart.
//
// # The life of a change
//
//	moment                             kill -9 leaves        a power cut leaves
//	Update: nothing is written         nothing               nothing
//	its frame is appended to the log   nothing, or it (1)    nothing, or it (2)
//	it is in memory, over the tree     the same: now others see it, whose replies wait for it
//	Sync: the kernel has the frame     it                    nothing, or it (2)
//	-> the reply, if it waits for no more
//	Sync: the log is synced            it                    it
//	-> the reply
//	its generation is frozen           the same: a checkpoint has begun
//	it is in a batch for the tree      the same: the tree has it in its own memory
//	the log is synced once more,       it, from the log,     it, from the log,
//	and a table of the tree has it     over an equal one     over an equal one
//	a table has the mark behind it     it, from the tree     it, from the tree
//	its generation is dropped          the same: now others see it in the tree
//	its segment is used again          it, from the tree     it, from the tree
//
// (1) It, if the log is mapped, as in EverySec, or if somebody else's Sync came meanwhile.
// (2) It, but only with everything that was appended before.
//
// The memory has the last states of what changed since the tree last followed, in two generations:
// one takes the changes, the other is frozen and on its way to the tree. A checkpoint freezes a
// generation while nobody commits, and what it writes as the mark, which is followed, the sizes, the
// highest revision, the map of the databases, Seen and the fence, is that of the same place in the
// log. The mark is in the last batch. So the tree has it only if it has all before it, and a
// checkpoint that was cut short is as good as none: the log says everything again, and final states
// do not mind what a table has of them already.
//
// A start reads the log from followed on into the memory, and never looks at the records of the
// tree. It files each record anew in the sweeper's index, at its deadline.
//
// A commit that fits no segment stands in the log as an empty frame. Its generation goes to the
// tree in one batch with the mark, and is in the tables before the reply: see record.
//
// # Layout
//
// The bytes on disk are drawn in format.go, those of the log in frame.go and package wal, those in
// memory in package dirty. A record of the tree is two keys: its entry (deadline, kind, revision) and
// its value, so that moving a deadline never moves the value. A third key files the record under the
// time at which the sweeper has to look at it; moving a deadline forward leaves that one where it is.
// Until a checkpoint writes that key the memory has it, as a filing.
//
// Who reads a record looks into the cache of records (package cache), then into the memory, then into the
// tree. Who walks goes along the tree with the memory laid over it: see walker.
//
// # Locks
//
// A goroutine takes them in this order and never the other way:
//
//	stripes, ascending -> databases -> checkpoints.running -> commits -> counters, index
//
// Stripes make updates of one key take turns and are held until the frame is in the log and the
// change in memory, not until they are durable. A View of no keys takes no stripe: its Scan sees the
// tree and the memory as of one instant. Layout is held only by a commit that swaps databases or fits
// no segment, and by whoever looks up a database without holding a stripe. Running is held by who
// makes a checkpoint; a commit that fits no segment makes one while it holds its stripes and databases.
// Commits is held for reading from the frame of a commit to its counts, and for writing by who needs a
// place in the log that nothing crosses, or the memory at one instant. Counters and index do not nest.
//
// Who reads the memory holds the stripe of the record, or commits for writing; who changes it holds
// the stripe for writing, and commits. A frozen generation changes no more.
//
// The log's own locks, Pebble's, and those of the memory's filings, of package diskspace, which lists
// them, and of the folder come after all of these, and none of these is taken with one of them held.
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
//	 x     x   diskspace's retryDelayFS  a table that could not be written is told of after a delay
//	 x     x   diskspace's ballastFS     the last of the disk goes to what must not fail
//	 x     x   failedFS   after the end of the store nothing reaches the disk
//	 x     x   ownFS      files and folders that are their owner's alone, and regular files only
//
// Backups use ownFS alone: what they write is no part of the store. Tools that read a store which
// may be damaged have salvageFS above it: what Pebble makes on it is in memory, and the folder stays
// as it is.
package pebble
