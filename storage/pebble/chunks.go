package pebble

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// Pebble's logs and MANIFESTs are rows of chunks, in blocks of 32 KiB that no chunk crosses.
// All numbers are little endian.
//
//	chunk of a MANIFEST   checksum <4b> | size <2b> | type <1b> | size bytes
//	chunk of a log        checksum <4b> | size <2b> | type <1b> | log number <4b> | size bytes
//	end of a closed log       zero <4b> | zero <2b> |  5   <1b> | log number + 1 <4b>
//
// The checksum is a masked CRC-32C of all that stands behind the size. The types 1, 2, 3 and
// 4 are a whole record and the first, a middle and the last part of one; in a log they are 5
// to 8. Where the rest of a block has no room for the head of a chunk it is zero. A log may
// be written over an older one, whose chunks then follow behind its end with another number.
//
// Pebble itself takes the first invalid chunk of a MANIFEST and of the newest log for the
// end, and a chunk with the next log number for the end of any log, whatever its checksum.
// That is why damage is looked for here, before Pebble opens the store.
const (
	chunkBlock = 32 << 10

	manifestHead = 4 + 2 + 1
	logHead      = manifestHead + 4

	chunkWhole, chunkFirst, chunkMiddle, chunkLast = 1, 2, 3, 4
	logChunks                                      = 4 // is added to the type in a log
)

var chunkTable = crc32.MakeTable(crc32.Castagnoli)

// chunkSum is the checksum of a chunk.
func chunkSum(b []byte) uint32 {
	c := crc32.Checksum(b, chunkTable)
	return (c>>15 | c<<17) + 0xa282ead8
}

// readLog reads a log up to its end or to the first chunk that is not valid, and says where
// that is and whether Pebble closed the log there. Each, unless it is nil, gets the records
// that are complete, and may not keep them.
func readLog(from io.Reader, number uint64, each func(record []byte) error) (end int64, closed bool, err error) {
	r := chunkReader{log: true, number: uint32(number), head: logHead, each: each}
	err = r.read(from)
	return r.end, r.closed, err
}

// readManifest reads a MANIFEST up to its end or to the first chunk that is not valid.
func readManifest(from io.Reader, each func(record []byte) error) (end int64, err error) {
	r := chunkReader{head: manifestHead, each: each}
	err = r.read(from)
	return r.end, err
}

// chunkReader reads the valid beginning of a log or a MANIFEST.
type chunkReader struct {
	log    bool
	number uint32 // of the log
	head   int    // size of the head of a chunk
	each   func(record []byte) error

	end    int64 // of the last valid chunk
	closed bool  // the log ends there as Pebble ends one that it closes
	inside bool  // a record has begun
	record []byte
}

// errChunksEnd says that the valid part is over.
var errChunksEnd = errors.New("end of the chunks")

func (r *chunkReader) read(from io.Reader) error {
	buf := make([]byte, 32*chunkBlock)
	for at := int64(0); ; at += int64(len(buf)) {
		n, err := io.ReadFull(from, buf)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		for begin := 0; begin < n; begin += chunkBlock {
			err := r.block(at+int64(begin), buf[begin:min(begin+chunkBlock, n)])
			if err == errChunksEnd {
				return nil
			}
			if err != nil {
				return err
			}
		}
		if n < len(buf) {
			return nil
		}
	}
}

// block reads a block that begins at byte at.
func (r *chunkReader) block(at int64, b []byte) error {
	for p := 0; p < len(b); {
		if p+r.head > chunkBlock { // no room for another chunk
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
		if r.closed {
			return errChunksEnd
		}
	}
	return nil
}

// chunk reads the chunk that b begins with and returns its size.
func (r *chunkReader) chunk(b []byte) (int, error) {
	if len(b) < r.head {
		return 0, errChunksEnd
	}
	sum, size, kind := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint16(b[4:])), b[6]
	if r.log {
		kind -= logChunks
		number := binary.LittleEndian.Uint32(b[manifestHead:])
		if number == r.number+1 && kind == chunkWhole && sum == 0 && size == 0 && !r.inside {
			r.closed = true
			return r.head, nil
		}
		if number != r.number {
			return 0, errChunksEnd
		}
	}
	if kind < chunkWhole || kind > chunkLast || r.head+size > len(b) || sum != chunkSum(b[6:r.head+size]) {
		return 0, errChunksEnd
	}
	if begins := kind == chunkWhole || kind == chunkFirst; begins == r.inside {
		return 0, errChunksEnd
	}
	r.inside = kind == chunkFirst || kind == chunkMiddle
	return r.head + size, r.take(kind, b[r.head:r.head+size])
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
