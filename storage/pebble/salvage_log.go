package pebble

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2/record"
)

// stretch is a part of a file, by offset.
type stretch struct{ from, to int64 }

func (s stretch) bytes() int64 { return s.to - s.from }

// salvageLog returns the stretches of the log b that cannot be read though they were on
// stable storage, which they were up to safe, and up to where its records are to be used. A
// log that is not the newest was closed, and so was all of it.
//
// Records behind a damaged stretch are used, not dropped. Each is a whole commit, and a
// commit holds the new state of its records, not a change of the old one. So whatever comes
// after the damage is newer than what came before: to leave it out would bring back every
// session that was ended there. What stays uncertain is only what the stretch itself
// changed. Those records are as they were before it, unless a later commit wrote them; if
// that was a mere extension, the new deadline meets the old value, and if the value had
// another size, the record is given up as half a record.
//
// From safe on it is otherwise: there a power cut may have left a hole, behind which nothing
// was acknowledged. A log that cannot be read there ends there, as it does for Open.
func salvageLog(b []byte, number uint64, safe int64, newest bool) (used int64, damage []stretch) {
	pieces, closed := readPieces(b, number, nil)
	if closed {
		safe = pieces[len(pieces)-1].end
	} else if !newest {
		safe = max(safe, int64(len(b)))
	}
	var end int64 // of the last chunk
	for _, p := range pieces {
		if p.from > used && end >= safe {
			return used, damage
		}
		if p.from > used {
			damage = append(damage, stretch{used, p.from})
		}
		used, end = p.used, p.end
	}
	if end < safe {
		damage = append(damage, stretch{used, safe})
	}
	return used, damage
}

// piece is a part of a log that can be read without a break.
type piece struct {
	from int64
	used int64 // end of the last complete record
	end  int64 // end of the last chunk
}

// readPieces reads a log to its end. Where no valid chunk follows it goes on at the next
// border of a block. It looks for chunks nowhere else: a client's value may contain bytes
// that look like one. Each, unless it is nil, gets the records with the offset of their last
// chunk, and may not keep them.
func readPieces(b []byte, number uint64, each func(at int64, record []byte)) (pieces []piece, closed bool) {
	l := pieceReader{broken: true}
	l.r = chunkReader{log: true, number: uint32(number), head: logHead}
	if each != nil {
		l.r.each = func(record []byte) error {
			if !l.drop {
				each(l.at, record)
			}
			return nil
		}
	}
	for at := 0; at < len(b) && !l.r.closed; at += chunkBlock {
		l.block(int64(at), b[at:min(at+chunkBlock, len(b))])
	}
	return l.pieces, l.r.closed
}

type pieceReader struct {
	r      chunkReader
	pieces []piece
	at     int64 // of the chunk that is being read
	broken bool  // no piece is open
	drop   bool  // the record that continues has lost its beginning
}

// block reads the block that begins at an offset, up to the first chunk that is not valid.
func (l *pieceReader) block(at int64, b []byte) {
	for p := 0; p < len(b) && p+logHead <= chunkBlock && !l.r.closed; {
		if l.broken && !l.drop && p+logHead <= len(b) {
			kind := b[p+manifestHead-1] - logChunks
			l.drop = kind == chunkMiddle || kind == chunkLast
			l.r.inside = l.drop
		}
		l.at = at + int64(p)
		n, err := l.r.chunk(b[p:])
		if err != nil { // the end of the chunks: each has no errors
			l.broken, l.drop, l.r.inside = true, false, false
			return
		}
		l.add(int64(n))
		p += n
	}
}

// add adds the chunk that was read, of n bytes.
func (l *pieceReader) add(n int64) {
	if l.drop {
		l.drop = l.r.inside
		return
	}
	if l.broken {
		l.pieces = append(l.pieces, piece{from: l.at, used: l.at})
		l.broken = false
	}
	p := &l.pieces[len(l.pieces)-1]
	p.end = l.at + n
	if !l.r.inside {
		p.used = p.end
	}
}

// cleanLog returns a log of the readable records of the log b up to an offset. Pebble reads
// it without complaint.
func cleanLog(b []byte, number uint64, used int64) []byte {
	var out bytes.Buffer
	w := record.NewWriter(&out)
	var failed error
	readPieces(b, number, func(at int64, record []byte) {
		if at < used && failed == nil {
			_, failed = w.WriteRecord(record)
		}
	})
	if err := errors.Join(failed, w.Close()); err != nil {
		panic("pebble: write to memory: " + err.Error())
	}
	return out.Bytes()
}
