// Package wal is the log of a store: every change of it, in order, before it is acknowledged.
//
// # Frames, segments, positions
//
// A commit is one frame. Frames lie one behind the other in segments, which are files of one
// size. A segment is filled with zeros when it is made and used again when it is no longer
// needed, so writing to it changes no file's size: a sync writes data and nothing else, and a
// full disk cannot refuse a frame. All numbers are little endian.
//
//	frame    checksum <4b> | bytes of the payload <4b> | LSN <8b> | life <4b> | not synced <4b> |
//	         payload | zeros up to a multiple of 8
//	segment  magic <8b> | version <4b> | segment size <4b> | store <16b> | LSN of its beginning <8b> |
//	         LSN where the segment before it ended <8b> | life <4b> | not synced <4b> |
//	         zeros <4b> | checksum <4b> | frame ...
//
// The LSN of a frame is its position in the endless sequence of bytes of which the segments are
// windows: number of the segment, times its size, plus offset. So a frame that a segment holds
// from an earlier use is never taken for one of this use. A checksum is a CRC-32C; that of a
// frame covers the number of the store, the payload and the rest of the header, in this order.
//
// The life is a number that each Open raises, and writes to stable storage before the first
// frame of that life. Lives never decrease along the log. So what a torn tail left behind,
// above the end that Open found, is never taken for a continuation of what was written since.
//
// "Not synced" is how many bytes before the frame were not known to be on stable storage when
// it was written: everything before those was.
//
//	control  magic <8b> | version <4b> | segments <4b> | store <16b> | segment size <8b> |
//	         generation <8b> | life <4b> | zeros <4b> | LSN where the life began, or more <8b> |
//	         LSN from which on frames are needed <8b> | LSN of the newest segment's beginning <8b> |
//	         zeros <4b> | checksum <4b>
//	mark     magic <8b> | run of the machine <8b> | life <8b> | slot | slot
//	slot     LSN up to which the kernel has the log <8b> | LSN up to which stable storage has it <8b> |
//	         their sum, inverted <8b>
//
// The control file is written in two copies, in turn, each with a higher generation. The mark
// is written through a shared mapping and never synced: what it says of the kernel is exact
// after the end of the process and means nothing after that of the machine; what it says of
// stable storage is always true and may be old.
//
// # The life of a change
//
//	moment                             the end of the process    the end of the machine
//	Append: in memory                  takes it                  takes it
//	Write: in the kernel               keeps it                  may take it, and all behind it
//	Sync: on stable storage            keeps it                  keeps it
//	Release: the caller has it safe    keeps it                  keeps it
//	elsewhere, its segment is free
//
// With Direct, Append is Write, too.
//
// # The end of the log, or damage
//
// Open reads frames until one is not valid. If nothing says that the log goes on, that is its
// end: a write was under way. If anything does, the log is damaged, and Open refuses: a frame
// of the last life that lies further on and says that stable storage had this one; the mark;
// the control file, which knows where the last life began and which segment is the newest.
//
// Package wal knows nothing of what the payloads mean.
package wal
