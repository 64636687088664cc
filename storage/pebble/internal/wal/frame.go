package wal

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// LSN is a position in the log, in bytes. Positions of frames are multiples of 8, and none is 0.
type LSN uint64

// HeaderSize is how many bytes at the beginning of what is handed to Append are left to it.
const HeaderSize = 4 + 4 + 8 + 4 + 4

const align = 8

// crcTable is never changed.
var crcTable = crc32.MakeTable(crc32.Castagnoli)

// frame is one frame as it was read.
type frame struct {
	lsn     LSN
	life    uint32
	synced  LSN // the log was on stable storage up to here when the frame was written
	payload []byte
}

// padded returns the bytes that a frame of n bytes, header included, takes in the log.
func padded(n int) int { return (n + align - 1) &^ (align - 1) }

func (f *frame) end() LSN { return f.lsn + LSN(padded(HeaderSize+len(f.payload))) }

// putHeader writes the header of a frame; sum is the checksum of the store's number and the
// frame's payload of n bytes.
func putHeader(dst []byte, sum uint32, n int, lsn LSN, life uint32, synced LSN) {
	h := dst[:HeaderSize]
	binary.LittleEndian.PutUint32(h[4:], uint32(n))
	binary.LittleEndian.PutUint64(h[8:], uint64(lsn))
	binary.LittleEndian.PutUint32(h[16:], life)
	binary.LittleEndian.PutUint32(h[20:], distance(lsn, synced))
	binary.LittleEndian.PutUint32(h, crc32.Update(sum, crcTable, h[4:]))
}

// frameAt returns the frame that begins at b[off], whose position is lsn, if there is one of the
// store with that key. The payload is part of b.
func frameAt(key uint32, b []byte, off int, lsn LSN) (f frame, ok bool) {
	if off < 0 || len(b)-off < HeaderSize {
		return frame{}, false
	}
	h := b[off : off+HeaderSize]
	if binary.LittleEndian.Uint64(h[8:]) != uint64(lsn) {
		return frame{}, false
	}
	n := binary.LittleEndian.Uint32(h[4:])
	if uint64(n) > uint64(len(b)-off-HeaderSize) {
		return frame{}, false
	}
	payload := b[off+HeaderSize : off+HeaderSize+int(n)]
	sum := crc32.Update(key, crcTable, payload)
	if crc32.Update(sum, crcTable, h[4:]) != binary.LittleEndian.Uint32(h) {
		return frame{}, false
	}
	return frame{
		lsn:     lsn,
		life:    binary.LittleEndian.Uint32(h[16:]),
		synced:  behind(lsn, binary.LittleEndian.Uint32(h[20:])),
		payload: payload,
	}, true
}

// distance says how far synced lies before lsn. The largest number stands for more than fits.
func distance(lsn, synced LSN) uint32 {
	return uint32(min(uint64(lsn-min(synced, lsn)), math.MaxUint32))
}

// behind is the inverse of distance; 0 says that it is not known.
func behind(lsn LSN, distance uint32) LSN {
	if distance == math.MaxUint32 || LSN(distance) > lsn {
		return 0
	}
	return lsn - LSN(distance)
}
