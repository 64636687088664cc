package wal

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// judge decides whether the frame at pos, which is not valid, ends the log or is damaged. s is
// the segment in buf, or nil if there is none with that position.
func (r *reading) judge(s *readSegment, pos LSN) error {
	size := LSN(r.control.size)
	if s == nil {
		return r.missing(pos / size * size)
	}
	r.life = max(r.life, r.control.life)
	seen := r.lookBehind(s, pos)
	kernel := LSN(0)
	if r.marked.known && r.marked.life == r.life {
		r.synced = max(r.synced, r.marked.synced)
		kernel = r.marked.kernel
		r.found.Exact = r.config.Boot != 0 && r.marked.boot == r.config.Boot
	}
	seen = max(seen, kernel)
	known := max(r.control.newest+1, r.synced)
	if r.found.Exact {
		known = max(known, kernel)
	}
	if next := s.begin + size; known > next && r.at(next) == nil {
		return r.missing(next)
	}
	if s.size != int64(size) {
		return &Damage{s.name, s.size, fmt.Sprintf("the file has %d bytes, not %d", s.size, size)}
	}
	switch {
	case r.synced > pos || r.control.newest > s.begin:
		return &Damage{s.name, s.offset(pos), fmt.Sprintf(
			"the frame at LSN %d is not valid, and stable storage had the log at least up to %d", pos, r.synced)}
	case r.found.Exact && kernel > pos:
		return &Damage{s.name, s.offset(pos), fmt.Sprintf(
			"the frame at LSN %d is not valid, and the kernel had the log up to %d", pos, kernel)}
	}
	if seen > pos {
		r.found.Lost = int64(seen - pos)
	}
	return nil
}

// missing says that the segment with that beginning is not there, and which file may have been.
func (r *reading) missing(begin LSN) error {
	const none = "no other file holds the log from LSN %d on"
	made := 0 // segments are made in the order of their numbers
	for i, s := range r.files {
		if s.size >= 0 {
			made = i + 1
		}
		if s.file == nil || s.valid || readAll(s.file, r.buf) != nil {
			continue
		}
		if r.guessBegin() == begin || !s.blank {
			return &Damage{s.name, 0, fmt.Sprintf("%v, and "+none, s.bad, begin)}
		}
	}
	for _, s := range r.files[:made] {
		if s.size < 0 {
			return &Damage{s.name, 0, fmt.Sprintf("the file is missing, and "+none, begin)}
		}
	}
	names := r.suspects(r.files[:min(made+1, len(r.files))])
	return &Damage{names[0], 0, fmt.Sprintf("no file holds the log from LSN %d on: %s is missing, cut, or an older copy",
		begin, strings.Join(names, " or "))}
}

// suspects returns the names of the files of which one may have been the segment that is missing: any
// that is shorter, which may also be one in the making; any that could be a spare; the last one that
// was made; or the control file, if it knows less than the segments.
func (r *reading) suspects(files []*readSegment) (names []string) {
	size := LSN(r.control.size)
	older := false
	for _, s := range files {
		older = older || s.valid && (s.begin > r.control.newest || s.header.life > r.control.life)
		switch {
		case s.size >= 0 && s.size < int64(size) && s.blank:
			names = append([]string{s.name}, names...)
		case !s.valid || s.begin < r.found.From/size*size:
			names = append(names, s.name)
		}
	}
	if older || len(names) == 0 {
		names = append([]string{ControlName}, names...)
	}
	return names
}

// lookBehind looks for frames of the last life behind pos, and returns the end of the last one.
// What they say of stable storage is noted.
func (r *reading) lookBehind(s *readSegment, pos LSN) (seen LSN) {
	for s != nil {
		if s.header.life == r.life && s.begin > pos {
			r.synced = max(r.synced, s.header.synced)
		}
		r.resync(s, max(pos, s.begin+segmentHead), func(f frame) {
			if f.life == r.life && f.lsn > pos {
				r.synced = max(r.synced, f.synced)
				seen = f.end()
			}
		})
		s = r.at(s.begin + LSN(r.control.size))
		if s != nil && readAll(s.file, r.buf) != nil {
			return seen // who cannot read it learns nothing from it
		}
	}
	return seen
}

// resync calls fn for each valid frame of the segment in buf that begins at pos or later.
func (r *reading) resync(s *readSegment, pos LSN, fn func(frame)) {
	r.scan(int(s.offset(pos)), func(off int, lsn LSN) bool { return lsn == s.begin+LSN(off) }, func(f frame, _ int) bool {
		fn(f)
		return true
	})
}

// scan calls fn for each valid frame in buf from offset off on, until fn returns false. Fits tells
// by the LSN alone, which spares most of the checksums, whether a frame can be where it is.
func (r *reading) scan(off int, fits func(off int, lsn LSN) bool, fn func(f frame, off int) bool) {
	key := r.control.store.key()
	for off+HeaderSize <= len(r.buf) {
		lsn := LSN(binary.LittleEndian.Uint64(r.buf[off+8:]))
		if fits(off, lsn) {
			if f, ok := frameAt(key, r.buf, off, lsn); ok {
				if !fn(f, off) {
					return
				}
				off += int(f.end() - f.lsn)
				continue
			}
		}
		off += align
	}
}
