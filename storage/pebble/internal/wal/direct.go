package wal

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Direct says whether Append copies frames into the file by a mapping of it, if there can be one:
// then they are in the kernel when it returns, and Write has nothing to do. That takes a tenth of
// what a system call does, and makes each sync two to three times as dear: it is for who
// syncs seldom. At first it does not.
func (l *Log) Direct(on bool) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.write(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.direct != on {
		l.direct = on
		l.remap(l.current, l.current)
	}
	return nil
}

// remap takes the mapping from one segment and gives one to another, which may be the same, or nil.
// Only the current one has one: what is mapped counts as memory of the process. mu is held, or
// nobody uses the log any more.
func (l *Log) remap(from, to *segment) {
	if from.mapped != nil {
		if err := from.mapped.Close(); err != nil {
			l.warn("a segment of the log stays mapped", err)
		}
		from.mapped = nil
	}
	if to == nil || !l.direct || l.config.Map == nil {
		return
	}
	var err error
	if to.mapped, err = l.config.Map(l.path(to.name), l.config.SegmentBytes); err != nil {
		to.mapped, l.direct = nil, false
		l.warn("the log cannot be mapped: writing to it takes longer", err)
	}
}

// mappedMost is up to how many bytes are copied into a mapping. The kernel meets each page that is
// touched there for the first time one by one, which for many pages takes longer than one system call.
const mappedMost = 16 << 10

// addDirect is add for a current segment that is mapped, where nothing waits to be written.
func (l *Log) addDirect(frame []byte, sum uint32) (end LSN, err error) {
	n := padded(len(frame))
	off := l.current.offset(l.at)
	err = l.current.touch(func(b []byte) {
		dst := b[off : off+int64(n)]
		clear(dst[copy(dst, frame):])
		putHeader(dst, sum, len(frame)-HeaderSize, l.at, l.life, l.Synced())
	})
	if err != nil {
		return 0, l.fail(err)
	}
	l.at += LSN(n)
	l.appended.Store(uint64(l.at))
	l.written.Store(uint64(l.at))
	l.setMark()
	return l.at, nil
}

// write writes b to the segment. What is written in one way is seen in the other at once.
func (s *segment) write(b []byte, at LSN) error {
	if s.mapped != nil && len(b) <= mappedMost {
		return s.touch(func(all []byte) { copy(all[s.offset(at):], b) })
	}
	_, err := s.file.WriteAt(b, s.offset(at))
	return err
}

// touch calls fn with the memory of the file. A disk that fails, or somebody who cuts the file, makes
// that a fault, which is the error.
func (s *segment) touch(fn func(b []byte)) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("write to %s: %w", s.name, errors.New(fmt.Sprint(p)))
		}
	}()
	fn(s.mapped.Bytes)
	return nil
}
