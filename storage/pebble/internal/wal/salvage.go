package wal

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"slices"
)

// Gap is a part of the log that cannot be read.
type Gap struct {
	File     string
	Offset   int64 // in bytes
	From, To LSN
}

// Salvage reads what can be read of a damaged log and calls fn for each frame, in order: also
// for those that lie behind a damaged one. It returns where something is missing. A frame
// behind a gap may rest on one in it. What the disk does not give back is a gap, too. Nothing is
// changed.
//
// Without the control file Salvage needs the size of the segments and their greatest number from
// config, and knows them otherwise.
func Salvage(config Config, from LSN, fn func(Frame) error) ([]Gap, error) {
	config.FS = patientFS{config.FS}
	r := &reading{config: config, control: control{segments: config.Segments, size: config.SegmentBytes}}
	c, f, err := openControl(config.FS, config.Dir)
	switch {
	case err == nil:
		r.control = c
		from, err = c.first(from)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	case errors.Is(err, ErrNewer):
		return nil, err
	default:
		if err := r.guess(); err != nil {
			return nil, err
		}
	}
	if err := r.openFiles(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	gaps, err := r.salvage(from, fn)
	return gaps, errors.Join(err, r.close())
}

// guess takes the number of the store from the first segment that has one.
func (r *reading) guess() error {
	for i := range r.control.segments {
		f, err := r.config.FS.Open(r.config.FS.Join(r.config.Dir, segmentName(i+1)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		b := make([]byte, segmentHead)
		if err := errors.Join(readAll(f, b), f.Close()); err != nil {
			return err
		}
		if h, err := decodeSegmentHeader(b); err == nil {
			r.control.store, r.control.size = h.store, h.size
			return nil
		}
	}
	return ErrMissing
}

func (r *reading) salvage(from LSN, fn func(Frame) error) (gaps []Gap, err error) {
	size := LSN(r.control.size)
	r.buf = make([]byte, size)
	for _, s := range r.files {
		if s.file == nil || s.valid {
			continue
		}
		if err := readAll(s.file, r.buf); err != nil {
			return nil, err
		}
		s.begin = r.guessBegin()
	}
	slices.SortStableFunc(r.files, func(a, b *readSegment) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(b.header.life, a.header.life))
	})
	pos := from
	for i, s := range r.files {
		if s.file == nil || s.begin == 0 || s.begin+size <= from || i > 0 && r.files[i-1].begin == s.begin {
			continue
		}
		if s.valid && r.leftBehind(s.begin, s.header.life) {
			break // a torn tail left it behind
		}
		if s.begin+segmentHead > pos {
			if end := s.before(); end > pos {
				gaps = append(gaps, r.gap(pos, end))
			}
			pos = s.begin + segmentHead
		}
		if err := readAll(s.file, r.buf); err != nil {
			return nil, err
		}
		r.resync(s, pos, func(f frame) {
			if err != nil || r.leftBehind(f.lsn, f.life) {
				return
			}
			if f.lsn > pos {
				gaps = append(gaps, Gap{s.name, s.offset(pos), pos, f.lsn})
			}
			r.life, pos = f.life, f.end()
			err = fn(Frame{LSN: pos, Life: f.life, Payload: f.payload})
		})
		if err != nil {
			return gaps, err
		}
	}
	return gaps, nil
}

// before returns where the segment before s ended, or at least ended if that cannot be read.
func (s *readSegment) before() LSN {
	if s.valid {
		return s.header.previous
	}
	return 0
}

// gap returns a gap that nothing behind in its segment shows.
func (r *reading) gap(from, to LSN) Gap {
	size := LSN(r.control.size)
	begin, name := from/size*size, ControlName
	for _, s := range r.files {
		switch {
		case s.file != nil && s.begin == begin:
			return Gap{s.name, s.offset(from), from, to}
		case s.file == nil:
			name = s.name
		}
	}
	return Gap{name, int64(from - begin), from, to} // the file is missing
}

// guessBegin returns where the segment in buf begins, by its first frame, or 0.
func (r *reading) guessBegin() (begin LSN) {
	size := LSN(r.control.size)
	r.scan(segmentHead, func(off int, lsn LSN) bool { return lsn >= size && lsn%size == LSN(off) }, func(f frame, off int) bool {
		begin = f.lsn - LSN(off)
		return false
	})
	return begin
}

// patientFS gives zeros for each block that the disk does not give back.
type patientFS struct{ FS }

func (p patientFS) Open(path string) (File, error) {
	f, err := p.FS.Open(path)
	if err != nil {
		return nil, err
	}
	return patientFile{f}, nil
}

type patientFile struct{ File }

func (f patientFile) ReadAt(b []byte, at int64) (int, error) {
	if n, err := f.File.ReadAt(b, at); err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	n := min(len(b), int(max(size-at, 0)))
	for off := 0; off < n; off += patientBlock {
		block := b[off:min(off+patientBlock, n)]
		if _, err := f.File.ReadAt(block, at+int64(off)); err != nil {
			clear(block)
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

const patientBlock = 4 << 10
