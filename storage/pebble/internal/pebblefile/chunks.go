package pebblefile

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// Pebble's MANIFEST is a row of chunks, in blocks of 32 KiB that no chunk crosses. All numbers
// are little endian.
//
//	chunk   checksum <4b> | size <2b> | type <1b> | size bytes
//
// The checksum is a masked CRC-32C of all that stands behind the size. The types 1, 2, 3 and
// 4 are a whole record and the first, a middle and the last part of one. Where the rest of a
// block has no room for the head of a chunk it is zero.
//
// Pebble itself takes the first invalid chunk for the end. That is why damage is looked for here,
// before Pebble opens the store.
const (
	ChunkBlock = 32 << 10
	ChunkHead  = 4 + 2 + 1

	chunkWhole, chunkFirst, chunkMiddle, chunkLast = 1, 2, 3, 4
)

var ChunkTable = crc32.MakeTable(crc32.Castagnoli)

// ChunkSum is the checksum of a chunk.
func ChunkSum(b []byte) uint32 {
	c := crc32.Checksum(b, ChunkTable)
	return (c>>15 | c<<17) + 0xa282ead8
}

// ReadManifest reads a MANIFEST up to its end or to the first chunk that is not valid, and says
// where that is and whether a valid chunk follows. Pebble syncs each record before it writes the
// next, so what is followed was whole once. Each, unless it is nil, gets the records that are
// complete, and may not keep them.
func ReadManifest(from io.Reader, each func(record []byte) error) (end int64, followed bool, err error) {
	r := chunkReader{each: each}
	b, err := io.ReadAll(from)
	if err != nil {
		return 0, false, err
	}
	for begin := 0; begin < len(b) && err == nil; begin += ChunkBlock {
		err = r.block(int64(begin), b[begin:min(begin+ChunkBlock, len(b))])
	}
	if err != nil && err != errChunksEnd {
		return r.end, false, err
	}
	return r.end, chunkWithin(b, r.end), nil
}

// chunkWithin reports whether a valid chunk begins behind at.
func chunkWithin(b []byte, at int64) bool {
	for p := int(at) + 1; p+ChunkHead <= len(b); p++ {
		r := chunkReader{inside: b[p+6] == chunkMiddle || b[p+6] == chunkLast}
		rest := b[p:min(len(b), (p/ChunkBlock+1)*ChunkBlock)]
		if n, err := r.chunk(rest); err == nil && n > ChunkHead {
			return true
		}
	}
	return false
}

// chunkReader reads the valid beginning of a MANIFEST.
type chunkReader struct {
	each func(record []byte) error

	end    int64 // of the last valid chunk
	inside bool  // a record has begun
	record []byte
}

// errChunksEnd says that the valid part is over.
var errChunksEnd = errors.New("end of the chunks")

// block reads a block that begins at byte at.
func (r *chunkReader) block(at int64, b []byte) error {
	for p := 0; p < len(b); {
		if p+ChunkHead > ChunkBlock { // no room for another chunk
			for _, x := range b[p:] {
				if x != 0 {
					return errChunksEnd
				}
			}
			r.end = at + int64(len(b))
			return nil
		}
		n, err := r.chunk(b[p:])
		if err != nil {
			return err
		}
		p += n
		r.end = at + int64(p)
	}
	return nil
}

// chunk reads the chunk that b begins with and returns its size.
func (r *chunkReader) chunk(b []byte) (int, error) {
	if len(b) < ChunkHead {
		return 0, errChunksEnd
	}
	sum, size, kind := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint16(b[4:])), b[6]
	if kind < chunkWhole || kind > chunkLast || ChunkHead+size > len(b) || sum != ChunkSum(b[6:ChunkHead+size]) {
		return 0, errChunksEnd
	}
	if begins := kind == chunkWhole || kind == chunkFirst; begins == r.inside {
		return 0, errChunksEnd
	}
	r.inside = kind == chunkFirst || kind == chunkMiddle
	return ChunkHead + size, r.take(kind, b[ChunkHead:ChunkHead+size])
}

// take adds a chunk to the record it belongs to.
func (r *chunkReader) take(kind byte, payload []byte) error {
	if r.each == nil {
		return nil
	}
	switch kind {
	case chunkWhole:
		return r.each(payload)
	case chunkFirst:
		r.record = r.record[:0]
	}
	r.record = append(r.record, payload...)
	if kind != chunkLast {
		return nil
	}
	return r.each(r.record)
}
