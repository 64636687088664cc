package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
)

const (
	controlMagic = "sessctl\n"
	controlSize  = 8 + 4 + 4 + 16 + 8 + 8 + 4 + 4 + 8 + 8 + 8 + 4 + 4
	// controlPage is the distance of the two copies: no disk writes less than half of it at once.
	controlPage = 4096
)

// control is what the log knows of itself. Its copy on stable storage is never newer than what
// it speaks of.
type control struct {
	segments   int // how many there are at most
	store      storeID
	size       int    // of a segment, in bytes
	generation uint64 // raised by each write
	life       uint32 // the newest; 0 before the first
	began      LSN    // where it began, or any place behind: the log before is on stable storage
	from       LSN    // frames from here on are needed
	newest     LSN    // beginning of the newest segment that stable storage may have frames in
	// doubtful says that one copy could not be read, so that the number of a life may have been
	// used of which nothing is known.
	doubtful bool
}

func (c control) encode() []byte {
	b := make([]byte, 0, controlSize)
	b = append(b, controlMagic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, uint32(c.segments))
	b = append(b, c.store[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.size))
	b = binary.LittleEndian.AppendUint64(b, c.generation)
	b = binary.LittleEndian.AppendUint32(b, c.life)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.began))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.from))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.newest))
	b = append(b, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crcTable))
}

func decodeControl(b []byte) (c control, err error) {
	if len(b) < controlSize || string(b[:8]) != controlMagic {
		return c, errors.New("it does not begin as a control file does")
	}
	if v, newer := newerVersion(b[:controlSize]); newer {
		return c, fmt.Errorf("%s: log of version %d: %w", ControlName, v, ErrNewer)
	}
	if binary.LittleEndian.Uint32(b[controlSize-4:]) != crc32.Checksum(b[:controlSize-4], crcTable) {
		return c, errors.New("its checksum is wrong")
	}
	c.segments = int(binary.LittleEndian.Uint32(b[12:]))
	copy(c.store[:], b[16:])
	c.size = int(binary.LittleEndian.Uint64(b[32:]))
	c.generation = binary.LittleEndian.Uint64(b[40:])
	c.life = binary.LittleEndian.Uint32(b[48:])
	c.began = LSN(binary.LittleEndian.Uint64(b[56:]))
	c.from = LSN(binary.LittleEndian.Uint64(b[64:]))
	c.newest = LSN(binary.LittleEndian.Uint64(b[72:]))
	if c.size < MinSegmentBytes || c.size > MaxSegmentBytes || c.size%align != 0 ||
		c.segments < MinSegments || c.segments > MaxSegments || c.from == 0 || c.newest == 0 {
		return c, errors.New("its numbers are impossible")
	}
	return c, nil
}

// first returns where to read from for a caller that needs the frames from an LSN on.
func (c *control) first(from LSN) (LSN, error) {
	if from != 0 && from < c.from {
		return 0, fmt.Errorf("%w: up to LSN %d, and needed from %d on", ErrReleased, c.from, from)
	}
	return max(from, c.from), nil
}

// openControl opens the control file and returns the newer copy in it.
func openControl(fsys FS, dir string) (control, File, error) {
	f, err := fsys.Open(fsys.Join(dir, ControlName))
	if errors.Is(err, fs.ErrNotExist) {
		return control{}, nil, fmt.Errorf("%s: %w", ControlName, ErrMissing)
	}
	if err != nil {
		return control{}, nil, err
	}
	c, err := readControl(f)
	if err != nil {
		return control{}, nil, errors.Join(err, f.Close())
	}
	return c, f, nil
}

// readControl returns the newer copy.
func readControl(f File) (c control, err error) {
	b := make([]byte, 2*controlPage)
	if err := readAll(f, b); err != nil {
		return c, err
	}
	var bad error
	if bytes.Count(b, []byte{0}) == len(b) {
		return c, fmt.Errorf("%s was never written: %w", ControlName, ErrMissing)
	}
	copies := 0
	for i := range 2 {
		found, err := decodeControl(b[i*controlPage:])
		switch {
		case errors.Is(err, ErrNewer):
			return c, err
		case err != nil:
			bad = &Damage{ControlName, int64(i * controlPage), err.Error()}
			continue
		case found.generation > c.generation:
			c = found
		}
		copies++
	}
	if copies == 0 {
		return c, bad
	}
	c.doubtful = copies == 1 && c.generation > 1
	return c, nil
}

// write brings c to stable storage, in place of the older copy.
func (c *control) write(f File) error {
	c.generation++
	if _, err := f.WriteAt(c.encode(), int64(c.generation%2)*controlPage); err != nil {
		return err
	}
	return f.Sync()
}
