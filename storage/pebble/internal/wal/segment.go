package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	version      = 1
	segmentMagic = "sesslog\n"
	segmentHead  = 8 + 4 + 4 + 16 + 8 + 8 + 4 + 4 + 4 + 4
)

// storeID tells the logs of different stores apart. It is drawn at random.
type storeID [16]byte

// key is what the checksums of frames begin with. Clients choose what payloads hold, and do not
// know it: so none can write a payload that holds a valid frame.
func (id storeID) key() uint32 { return crc32.Checksum(id[:], crcTable) }

// segmentHeader is the beginning of a segment.
type segmentHeader struct {
	size     int
	store    storeID
	begin    LSN // of the segment's first byte
	previous LSN // where the segment before it ended; 0 in the first one
	life     uint32
	synced   LSN
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, 0, segmentHead)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.size))
	b = append(b, h.store[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.begin))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.previous))
	b = binary.LittleEndian.AppendUint32(b, h.life)
	b = binary.LittleEndian.AppendUint32(b, distance(h.begin, h.synced))
	b = append(b, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crcTable))
}

// decodeSegmentHeader returns an error that says what is wrong, or ErrNewer.
func decodeSegmentHeader(b []byte) (h segmentHeader, err error) {
	if len(b) < segmentHead || string(b[:8]) != segmentMagic {
		return h, errors.New("it does not begin as a segment does")
	}
	if v, newer := newerVersion(b[:segmentHead]); newer {
		return h, fmt.Errorf("segment of version %d: %w", v, ErrNewer)
	}
	if binary.LittleEndian.Uint32(b[segmentHead-4:]) != crc32.Checksum(b[:segmentHead-4], crcTable) {
		return h, errors.New("the checksum of its header is wrong")
	}
	h.size = int(binary.LittleEndian.Uint32(b[12:]))
	copy(h.store[:], b[16:])
	h.begin = LSN(binary.LittleEndian.Uint64(b[32:]))
	h.previous = LSN(binary.LittleEndian.Uint64(b[40:]))
	h.life = binary.LittleEndian.Uint32(b[48:])
	h.synced = behind(h.begin, binary.LittleEndian.Uint32(b[52:]))
	return h, nil
}

// newerVersion returns the version that b has behind its magic, and whether a newer program wrote
// it. If the checksum at the end of b is right for this program's version, only the number of the
// version was damaged.
func newerVersion(b []byte) (v uint32, newer bool) {
	if v = binary.LittleEndian.Uint32(b[8:]); v <= version {
		return v, false
	}
	end := len(b) - 4
	ours := append([]byte(nil), b[:end]...)
	binary.LittleEndian.PutUint32(ours[8:], version)
	return v, binary.LittleEndian.Uint32(b[end:]) != crc32.Checksum(ours, crcTable)
}

// segment is an open file of the log.
type segment struct {
	file   File
	name   string
	begin  LSN      // 0 while it is a spare
	mapped *Mapping // nil unless frames are copied into it
}

// offset returns where in the file a position of the segment is.
func (s *segment) offset(lsn LSN) int64 { return int64(lsn - s.begin) }

// makeSegment makes a spare segment: size zeros on stable storage, so that no later write to it
// asks the file system for room. A file that has the name already is taken over.
func makeSegment(fs FS, path, name string, size int) (_ *segment, err error) {
	f, err := fs.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make a segment of the log: %w", err), f.Close())
		}
	}()
	zeros := make([]byte, min(size, 1<<20))
	for at := 0; at < size; at += len(zeros) {
		if _, err := f.WriteAt(zeros[:min(len(zeros), size-at)], int64(at)); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	return &segment{file: f, name: name}, nil
}

// readAll reads a file of size bytes into buf. What a shorter file lacks is zeros.
func readAll(f File, buf []byte) error {
	n, err := f.ReadAt(buf, 0)
	clear(buf[n:])
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
