package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
)

const (
	markName  = "log.mark"
	markMagic = "sessmrk\n"
	markHead  = 8 + 8 + 8
	markSlot  = 8 + 8 + 8
	markSize  = 4096
)

// Mapping is a file in memory: what is written to Bytes is the file's at once, whatever becomes
// of the process.
type Mapping struct {
	Bytes []byte
	Close func() error
}

// Mapper maps a file of size bytes, which it makes of zeros if there is none of that size.
type Mapper func(path string, size int) (*Mapping, error)

// mark says how far the log got, at the price of a write to memory. Its zero value does
// nothing.
type mark struct {
	m    *Mapping
	boot uint64
	turn int
}

// marked is what a mark of an earlier life says.
type marked struct {
	known  bool
	boot   uint64
	life   uint32
	kernel LSN
	synced LSN
}

// openMark opens the mark. Without one the log is as safe, but the end of it cannot be told from
// damage as well; the error says why there is none.
func openMark(config Config) (mark, marked, error) {
	if config.Map == nil {
		return mark{}, marked{}, fmt.Errorf("%s: %w", markName, errors.ErrUnsupported)
	}
	m, err := config.Map(config.FS.Join(config.Dir, markName), markSize)
	if err != nil {
		return mark{}, marked{}, err
	}
	was, err := decodeMark(m.Bytes)
	return mark{m: m, boot: config.Boot}, was, err
}

// readMark returns what the mark says, and does not make one.
func readMark(config Config) (marked, error) {
	f, err := config.FS.Open(config.FS.Join(config.Dir, markName))
	if err != nil {
		return marked{}, err
	}
	b := make([]byte, markSize)
	if err := errors.Join(readAll(f, b), f.Close()); err != nil {
		return marked{}, err
	}
	return decodeMark(b)
}

func decodeMark(b []byte) (was marked, err error) {
	if len(b) < markSize || string(b[:8]) != markMagic {
		return was, fmt.Errorf("%s: it does not begin as a mark does: %w", markName, fs.ErrInvalid)
	}
	was.boot = binary.LittleEndian.Uint64(b[8:])
	was.life = uint32(binary.LittleEndian.Uint64(b[16:]))
	for i := range 2 { // one may be half written
		s := b[markHead+i*markSlot:]
		kernel, synced := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])
		if binary.LittleEndian.Uint64(s[16:]) != ^(kernel + synced) {
			continue
		}
		was.known = true
		was.kernel = max(was.kernel, LSN(kernel))
		was.synced = max(was.synced, LSN(synced))
	}
	if !was.known {
		err = fmt.Errorf("%s: neither of its slots is valid: %w", markName, fs.ErrInvalid)
	}
	return was, err
}

// begin makes the mark that of a life.
func (m *mark) begin(life uint32, end LSN) error {
	err := m.guard(func(b []byte) {
		clear(b)
		binary.LittleEndian.PutUint64(b[8:], m.boot)
		binary.LittleEndian.PutUint64(b[16:], uint64(life))
	})
	err = errors.Join(err, m.set(end, end), m.set(end, end))
	return errors.Join(err, m.guard(func(b []byte) { copy(b, markMagic) }))
}

// set says how far the log got. It is for one goroutine at a time.
func (m *mark) set(kernel, synced LSN) error {
	return m.guard(func(b []byte) {
		s := b[markHead+m.turn*markSlot:]
		m.turn = 1 - m.turn
		binary.LittleEndian.PutUint64(s, uint64(kernel))
		binary.LittleEndian.PutUint64(s[8:], uint64(synced))
		binary.LittleEndian.PutUint64(s[16:], ^uint64(kernel+synced))
	})
}

// guard calls fn with the memory of the file, if there is any. A disk that fails, or somebody who
// cuts the file, makes that a fault: then there is no mark any more, and the error says why.
func (m *mark) guard(fn func(b []byte)) (err error) {
	if m.m == nil {
		return nil
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			m.m = nil
			err = fmt.Errorf("%s: %v", markName, p)
		}
	}()
	fn(m.m.Bytes)
	return nil
}

func (m *mark) close() error {
	if m.m == nil {
		return nil
	}
	return m.m.Close()
}
