package wal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Frame is what Open reads.
type Frame struct {
	LSN     LSN // behind the frame, as Append returned it
	Life    uint32
	Payload []byte // valid until the function that was handed the frame returns
}

// Found says what Open has found.
type Found struct {
	From, End LSN // the frames lay there
	Frames    int
	// Exact says that the log is known to be whole: had the last frames been lost, Open had
	// refused. If it is false, because the machine was started anew or the mark is not there,
	// that holds for what was on stable storage.
	Exact bool
	// Lost is how many bytes of the log are known to have been written behind End. They were not
	// on stable storage when the machine stopped.
	Lost int64
	Mark error // why there is no mark, or nil
}

// Create makes a log where there is none and returns the LSN where its first frame will be. A
// log that was made and never opened is made again. It has MinSegments segments, which is how many it
// needs to go on for ever, whatever becomes of the others.
func Create(config Config) (LSN, error) {
	if config.SegmentBytes < MinSegmentBytes || config.SegmentBytes > MaxSegmentBytes || config.SegmentBytes%align != 0 ||
		config.Segments < MinSegments || config.Segments > MaxSegments {
		return 0, fmt.Errorf("log of %d segments of %d bytes: from %d of %d to %d of %d", config.Segments,
			config.SegmentBytes, MinSegments, MinSegmentBytes, MaxSegments, MaxSegmentBytes)
	}
	old, f, err := openControl(config.FS, config.Dir)
	switch {
	case err == nil && old.life > 0:
		return 0, errors.Join(fmt.Errorf("%s: there is a log already: %w", ControlName, fs.ErrExist), f.Close())
	case err == nil:
		err = f.Close()
	case errors.Is(err, ErrMissing):
		err = nil
	}
	if err != nil {
		return 0, err
	}
	begin := LSN(config.SegmentBytes)
	c := control{
		segments: config.Segments, size: config.SegmentBytes,
		began: begin + segmentHead, from: begin + segmentHead, newest: begin,
	}
	if _, err := rand.Read(c.store[:]); err != nil {
		return 0, err
	}
	header := segmentHeader{size: c.size, store: c.store, begin: begin}
	for n, head := range [MinSegments][]byte{header.encode()} {
		name := segmentName(n + 1)
		s, err := makeSegment(config.FS, config.FS.Join(config.Dir, name), name, config.SegmentBytes)
		if err != nil {
			return 0, err
		}
		_, err = s.file.WriteAt(head, 0)
		if err := errors.Join(err, s.file.Sync(), s.file.Close()); err != nil {
			return 0, err
		}
	}
	f, err = config.FS.Create(config.FS.Join(config.Dir, ControlName))
	if err != nil {
		return 0, err
	}
	_, err = f.WriteAt(make([]byte, 2*controlPage), 0)
	return c.from, errors.Join(err, c.write(f), f.Close(), config.FS.SyncDir(config.Dir))
}

// Open opens the log, hands apply the frames from LSN from on, in order, and begins a life. The
// error of apply ends it. Frames before from are not needed any more; 0 stands for where the log begins.
// If that is behind from the error is ErrReleased.
func Open(config Config, from LSN, apply func(Frame) error) (*Log, Found, error) {
	c, f, err := openControl(config.FS, config.Dir)
	if err != nil {
		return nil, Found{}, err
	}
	r := &reading{config: config, control: c}
	if from, err = c.first(from); err != nil {
		return nil, Found{}, errors.Join(err, f.Close())
	}
	l, err := r.open(f, from, apply)
	if err != nil {
		return nil, r.found, errors.Join(err, f.Close(), r.close())
	}
	return l, r.found, nil
}

// Inspect reads the log as Open does, and changes nothing: no life begins.
func Inspect(config Config, from LSN, apply func(Frame) error) (Found, error) {
	c, f, err := openControl(config.FS, config.Dir)
	if err != nil {
		return Found{}, err
	}
	r := &reading{config: config, control: c}
	r.marked, r.found.Mark = readMark(config)
	if from, err = c.first(from); err == nil {
		err = r.openFiles()
	}
	if err == nil {
		_, err = r.read(from, apply)
	}
	return r.found, errors.Join(err, f.Close(), r.close())
}

// reading is a log that is being read.
type reading struct {
	config  Config
	control control
	files   []*readSegment
	buf     []byte // of one segment
	mark    mark
	marked  marked
	found   Found

	life   uint32 // of the newest frame
	synced LSN    // the most that a frame says of stable storage
}

// readSegment is a file as it was found.
type readSegment struct {
	segment
	header segmentHeader
	valid  bool  // the header is that of a segment of this log
	bad    error // why it is not
	blank  bool  // the header is zeros
	size   int64 // of the file; less than 0 if there is none
}

func (r *reading) open(f File, from LSN, apply func(Frame) error) (*Log, error) {
	c := &r.control
	r.config.Segments, r.config.SegmentBytes = c.segments, c.size
	r.mark, r.marked, r.found.Mark = openMark(r.config)
	if r.mark.m != nil && c.life == 0 {
		r.found.Mark = nil // there was none to be found
	}
	if err := r.openFiles(); err != nil {
		return nil, err
	}
	// What is read may be in the kernel only, and apply makes something of it that is to last.
	for _, s := range r.files {
		if s.valid {
			if err := s.file.Sync(); err != nil {
				return nil, err
			}
		}
	}
	used, err := r.read(from, apply)
	if err != nil {
		return nil, err
	}
	c.life = max(c.life, r.life) + 1
	if c.doubtful {
		c.life++
	}
	c.began, c.from, c.newest = r.found.End, from, used[len(used)-1].begin
	if err := c.write(f); err != nil {
		return nil, err
	}
	if err := r.mark.begin(c.life, c.began); err != nil {
		r.found.Mark = err
	}
	return r.log(f, used)
}

// log returns the log that goes on where the reading ended.
func (r *reading) log(f File, used []*readSegment) (*Log, error) {
	l := &Log{config: r.config, key: r.control.store.key(), life: r.control.life, at: r.found.End, current: &used[len(used)-1].segment}
	l.control.control, l.control.file = r.control, f
	l.mark.mark = r.mark
	for _, s := range r.files {
		switch {
		case slices.Contains(used, s):
		case s.size == int64(r.control.size):
			s.begin = 0
			l.files.free = append(l.files.free, &s.segment)
		default:
			if s.file != nil {
				if err := s.file.Close(); err != nil {
					return nil, err
				}
			}
			l.files.missing = append(l.files.missing, s.name)
		}
	}
	for _, s := range used {
		l.files.used = append(l.files.used, &s.segment)
	}
	for _, at := range []interface{ Store(uint64) }{&l.appended, &l.written, &l.synced} {
		at.Store(uint64(r.found.End))
	}
	l.makeSpare()
	return l, nil
}

func (r *reading) close() error {
	errs := []error{r.mark.close()}
	for _, s := range r.files {
		if s.file != nil {
			errs = append(errs, s.file.Close())
		}
	}
	return errors.Join(errs...)
}

// openFiles opens the segments and reads their headers.
func (r *reading) openFiles() error {
	for i := range r.control.segments {
		name := segmentName(i + 1)
		s := &readSegment{segment: segment{name: name}, size: -1}
		r.files = append(r.files, s)
		f, err := r.config.FS.Open(r.config.FS.Join(r.config.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.file = f
		if s.size, err = f.Size(); err != nil {
			return err
		}
		b := make([]byte, segmentHead)
		if err := readAll(f, b); err != nil {
			return err
		}
		s.blank = bytes.Count(b, []byte{0}) == len(b)
		s.header, s.bad = decodeSegmentHeader(b)
		switch {
		case errors.Is(s.bad, ErrNewer):
			return fmt.Errorf("%s: %w", name, s.bad)
		case s.bad != nil:
		case s.header.store != r.control.store || s.header.size != r.control.size:
			s.bad = errors.New("it is a segment of another log")
		default:
			s.valid, s.begin = true, s.header.begin
		}
	}
	return nil
}

// at returns the segment that begins there. If a torn tail left another one, that is of an
// earlier life.
func (r *reading) at(begin LSN) *readSegment {
	var found *readSegment
	for _, s := range r.files {
		if s.valid && s.header.begin == begin && (found == nil || s.header.life > found.header.life) {
			found = s
		}
	}
	return found
}

// read reads the frames from LSN from on and returns the segments that hold them. It refuses if
// there must be more of them.
func (r *reading) read(from LSN, apply func(Frame) error) (used []*readSegment, err error) {
	size := LSN(r.control.size)
	r.found.From = from
	r.synced = max(from, r.control.began)
	r.buf = make([]byte, size)
	pos := from
	s := r.at(pos / size * size)
	for s != nil {
		used = append(used, s)
		if err := readAll(s.file, r.buf); err != nil {
			return nil, err
		}
		if len(used) == 1 && !r.reaches(s, pos) {
			return nil, &Damage{s.name, s.offset(pos), fmt.Sprintf(
				"the log ends before LSN %d, and had been longer: the file may be an older copy", pos)}
		}
		if pos, err = r.readSegment(s, pos, apply); err != nil {
			return nil, err
		}
		next := r.at(s.begin + size)
		if next == nil || next.header.previous != pos || r.leftBehind(next.begin, next.header.life) {
			break
		}
		r.synced = max(r.synced, next.header.synced)
		r.life = next.header.life
		pos, s = next.begin+segmentHead, next
	}
	r.found.End = pos
	return used, r.judge(s, pos)
}

// reaches reports whether the segment in buf had frames up to pos, by any frame that ends there or
// lies further on. Those before pos are not needed any more, so damage to some of them is nothing
// to refuse the log for. They tell which life wrote last, even if the control file is an older copy.
func (r *reading) reaches(s *readSegment, pos LSN) (reached bool) {
	r.life = s.header.life
	if pos == s.begin+segmentHead {
		return true // that is what its header says
	}
	r.resync(s, s.begin+segmentHead, func(f frame) {
		reached = reached || f.end() >= pos
		if f.end() <= pos {
			r.life = max(r.life, f.life)
		}
	})
	return reached
}

// readSegment reads the frames of the segment in buf, and returns the LSN behind the last one.
func (r *reading) readSegment(s *readSegment, pos LSN, apply func(Frame) error) (LSN, error) {
	key := r.control.store.key()
	for {
		f, ok := frameAt(key, r.buf, int(s.offset(pos)), pos)
		if !ok || r.leftBehind(f.lsn, f.life) {
			return pos, nil
		}
		r.life, r.synced = f.life, max(r.synced, f.synced)
		r.found.Frames++
		pos = f.end()
		if err := apply(Frame{LSN: pos, Life: f.life, Payload: f.payload}); err != nil {
			return pos, err
		}
	}
}

// leftBehind reports whether what lies at lsn is of an earlier life than the last one that wrote
// there. The frames that would show that may have been released already.
func (r *reading) leftBehind(lsn LSN, life uint32) bool {
	return life < r.life || lsn >= r.control.began && life < r.control.life
}
