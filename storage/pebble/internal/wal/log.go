package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
)

// The sizes that a log may have.
const (
	MinSegments, MaxSegments         = 2, 1024
	MinSegmentBytes, MaxSegmentBytes = 4 << 10, 1 << 30
)

// Config says where a log is, and how large.
type Config struct {
	FS  FS
	Dir string // the folder, which exists
	// Segments is how many files there are at most, and SegmentBytes the size of each, a
	// multiple of 8. They count when the log is made.
	Segments, SegmentBytes int
	// Map maps the mark. Nil means that there is none.
	Map Mapper
	// Boot names the run of the machine. 0 says that it is not known: then what the mark says of
	// the kernel counts for nothing.
	Boot uint64
	// Warn is told of what does not keep the log from working. It may be called by any goroutine.
	Warn func(msg string, err error)
}

// unwritten is how many bytes may wait in memory before Append writes them itself.
const unwritten = 1 << 20

// Log is an open log. All methods are safe for concurrent use.
//
// Lock order: writing, mu. The locks files and round are held for moments, and no other is
// taken meanwhile.
type Log struct {
	config Config
	key    uint32 // what the checksums of frames begin with

	appended atomic.Uint64 // LSN behind the newest frame
	written  atomic.Uint64 // LSN up to which the kernel has the log
	synced   atomic.Uint64 // LSN up to which stable storage has it
	failure  atomic.Pointer[error]

	writing sync.Mutex // held by the one that writes
	spare   []byte     // what the next frames are gathered in

	mu      sync.Mutex // held by the one that appends
	pending []byte     // frames that were appended and not written
	at      LSN        // of pending[0]
	current *segment   // the one that pending belongs to
	direct  bool       // see Direct
	life    uint32

	files struct {
		sync.Mutex
		used    []*segment    // in the order of their LSNs; the last one is current
		free    []*segment    // ready for use
		held    []*LSN        // see Hold
		missing []string      // names of those that are still to be made
		failed  bool          // the last that was to be made could not be
		making  chan struct{} // closed when a segment was made; nil if none is being made
	}
	background sync.WaitGroup

	control struct {
		sync.Mutex
		control
		file File
	}
	mark struct {
		sync.Mutex
		mark
	}

	round struct {
		sync.Mutex
		done chan struct{} // closed when the round under way ends; nil if there is none
	}
}

// End returns the LSN behind the newest frame.
func (l *Log) End() LSN { return LSN(l.appended.Load()) }

// Written returns the LSN up to which the kernel has the log.
func (l *Log) Written() LSN { return LSN(l.written.Load()) }

// Synced returns the LSN up to which the log is on stable storage.
func (l *Log) Synced() LSN { return LSN(l.synced.Load()) }

// Life returns the number of this life: no other Open of this log had it.
func (l *Log) Life() uint32 { return l.life }

// Err returns what ended the log, or nil.
func (l *Log) Err() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// fail ends the log. What stable storage has after a write or a sync that failed is not known,
// so neither is tried again.
func (l *Log) fail(err error) error {
	err = fmt.Errorf("the log cannot go on: %w", err)
	l.failure.CompareAndSwap(nil, &err)
	return l.Err()
}

// Largest returns how many bytes a frame may have, HeaderSize included.
func (l *Log) Largest() int { return l.config.SegmentBytes - segmentHead - align }

// Append adds a frame and returns the LSN behind it: what Sync has to reach. The first
// HeaderSize bytes of frame are the log's, the others are the payload; frame is not kept. The
// frame is in memory until somebody calls Write, or Sync for a later one. The error is ErrFull or ErrTooLarge,
// and then nothing was added, or what ended the log.
func (l *Log) Append(frame []byte) (LSN, error) {
	if len(frame) < HeaderSize || padded(len(frame)) > l.Largest() {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(frame)-HeaderSize, l.Largest()-HeaderSize)
	}
	sum := crc32.Update(l.key, crcTable, frame[HeaderSize:])
	for {
		l.mu.Lock()
		if l.fits(len(frame)) {
			end, err := l.add(frame, sum)
			waits := len(l.pending)
			l.mu.Unlock()
			if err == nil && waits >= unwritten {
				err = l.Write()
			}
			return end, cmp.Or(err, l.Err())
		}
		l.mu.Unlock()
		if err := l.rotate(len(frame)); err != nil {
			return 0, err
		}
	}
}

// fits reports whether a frame of n bytes fits the current segment. The last bytes stay free, so
// that the LSN behind a frame belongs to the same segment. mu is held.
func (l *Log) fits(n int) bool {
	used := int(l.at-l.current.begin) + len(l.pending)
	return used+padded(n) < l.config.SegmentBytes
}

// add puts a frame that fits behind the others. mu is held.
func (l *Log) add(frame []byte, sum uint32) (end LSN, err error) {
	direct := l.current.mapped != nil && len(frame) <= mappedMost
	if direct && len(l.pending) == 0 && l.Written() == l.at { // no other waits or is on its way
		return l.addDirect(frame, sum)
	}
	begin := len(l.pending)
	lsn := l.at + LSN(begin)
	l.pending = append(l.pending, frame...)
	putHeader(l.pending[begin:], sum, len(frame)-HeaderSize, lsn, l.life, l.Synced())
	for len(l.pending)%align != 0 {
		l.pending = append(l.pending, 0)
	}
	end = l.at + LSN(len(l.pending))
	l.appended.Store(uint64(end))
	return end, nil
}

// Write hands every frame that was appended before the call to the kernel: from then on the end
// of the process does not take it. If nothing has to be done it takes two loads.
func (l *Log) Write() error {
	end := l.appended.Load()
	if l.written.Load() >= end {
		return l.Err()
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.written.Load() >= end {
		return l.Err()
	}
	return l.write()
}

// write writes what is pending. writing is held.
func (l *Log) write() error {
	l.mu.Lock()
	b, at, s := l.pending, l.at, l.current
	l.pending, l.at = l.spare[:0], at+LSN(len(b))
	l.mu.Unlock()
	l.spare = nil
	if err := l.put(s, b, at); err != nil {
		return err
	}
	if cap(b) <= 2*unwritten {
		l.spare = b
	}
	return nil
}

// put writes b into a segment. writing is held.
func (l *Log) put(s *segment, b []byte, at LSN) error {
	if err := l.Err(); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	if err := s.write(b, at); err != nil {
		return l.fail(err)
	}
	l.written.Store(uint64(at) + uint64(len(b)))
	l.setMark()
	return nil
}

const markLost = "the end of the log cannot be told from damage as well as it could"

func (l *Log) setMark() {
	l.mark.Lock()
	defer l.mark.Unlock()
	if err := l.mark.set(l.Written(), l.Synced()); err != nil {
		l.warn(markLost, err)
	}
}

// rotate goes on to the next segment if a frame of n bytes does not fit the current one.
func (l *Log) rotate(n int) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.write(); err != nil {
		return err
	}
	l.mu.Lock()
	fits := l.fits(n)
	l.mu.Unlock()
	if fits {
		return nil
	}
	next, err := l.nextSegment()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.put(l.current, l.pending, l.at); err != nil { // smaller ones that did fit
		return err
	}
	l.remap(l.current, next)
	end := l.at + LSN(len(l.pending))
	next.begin = l.current.begin + LSN(l.config.SegmentBytes)
	header := segmentHeader{
		size: l.config.SegmentBytes, store: l.control.store, begin: next.begin, previous: end,
		life: l.life, synced: l.Synced(),
	}
	l.pending, l.at, l.current = append(l.pending[:0], header.encode()...), next.begin, next
	l.appended.Store(uint64(next.begin) + segmentHead)
	l.files.Lock()
	defer l.files.Unlock()
	l.files.used = append(l.files.used, next)
	return nil
}

func segmentName(n int) string { return fmt.Sprintf("log.%d", n) }

func (l *Log) path(name string) string { return l.config.FS.Join(l.config.Dir, name) }

func (l *Log) warn(msg string, err error) {
	if l.config.Warn != nil {
		l.config.Warn(msg, err)
	}
}

// Room returns how many bytes of frames can be appended at least before Append returns ErrFull, if
// the disk has room for the segments that are still to be made.
func (l *Log) Room() int {
	l.mu.Lock()
	room := l.config.SegmentBytes - int(l.at-l.current.begin) - len(l.pending)
	l.mu.Unlock()
	l.files.Lock()
	defer l.files.Unlock()
	ready := len(l.files.free)
	if !l.files.failed {
		ready += len(l.files.missing)
	}
	return room + ready*l.Largest()
}

// Size returns the bytes of the log's files.
func (l *Log) Size() int64 {
	l.files.Lock()
	defer l.files.Unlock()
	return int64(len(l.files.used)+len(l.files.free))*int64(l.config.SegmentBytes) + 2*controlPage + markSize
}

// Most returns the bytes of all segments together, those that are still to be made included.
func (l *Log) Most() int64 { return int64(l.config.Segments) * int64(l.config.SegmentBytes) }

// Capacity returns how many bytes of frames all segments together hold at most, without those that
// could not be made when it was last tried.
func (l *Log) Capacity() int {
	l.files.Lock()
	defer l.files.Unlock()
	n := len(l.files.used) + len(l.files.free)
	if !l.files.failed {
		n += len(l.files.missing)
	}
	return n * l.Largest()
}

// Release says that nobody needs the frames before lsn any more: what they hold is on stable
// storage elsewhere. Their segments are used again once the log has said so on stable storage. If
// there is none to be used next, one that could not be made before is tried again.
func (l *Log) Release(lsn LSN) error {
	if err := l.Err(); err != nil {
		return err
	}
	if err := l.setControl(func(c *control) bool {
		higher := lsn > c.from
		c.from = max(c.from, lsn)
		return higher
	}); err != nil {
		return err
	}
	defer l.makeSpare()
	l.files.Lock()
	defer l.files.Unlock()
	for _, held := range l.files.held {
		lsn = min(lsn, *held)
	}
	for len(l.files.used) > 1 && l.files.used[1].begin <= lsn {
		s := l.files.used[0]
		l.files.used = l.files.used[1:]
		s.begin = 0
		l.files.free = append(l.files.free, s)
	}
	return nil
}

// setControl changes the control file. change reports whether there is anything to write.
func (l *Log) setControl(change func(*control) bool) error {
	c := &l.control
	c.Lock()
	defer c.Unlock()
	if !change(&c.control) {
		return nil
	}
	if err := c.write(c.file); err != nil {
		return l.fail(err)
	}
	return nil
}

// Note writes to the control file how far stable storage has the log. Nothing rests on that but
// the detection of damage: the mark says more, but it may be lost, or there may be none.
func (l *Log) Note() error {
	if err := l.Err(); err != nil {
		return err
	}
	return l.setControl(func(c *control) bool {
		synced := l.Synced()
		higher := synced > c.began
		c.began = max(c.began, synced)
		return higher
	})
}

// Close makes everything durable and closes the files.
func (l *Log) Close() error {
	err := l.Sync(context.Background(), l.End())
	if err == nil {
		err = l.Note()
	}
	l.background.Wait()
	return errors.Join(err, l.closeFiles())
}

// closeFiles closes what is open. Nobody uses the log any more.
func (l *Log) closeFiles() error {
	var errs []error
	l.remap(l.current, nil)
	for _, s := range append(l.files.used, l.files.free...) {
		errs = append(errs, s.file.Close())
	}
	errs = append(errs, l.control.file.Close(), l.mark.close())
	return errors.Join(errs...)
}
