package wal

// nextSegment takes a segment that is free, and waits for one that is being made.
func (l *Log) nextSegment() (*segment, error) {
	l.makeSpare()
	for tried := false; ; tried = true {
		l.files.Lock()
		if free := l.files.free; len(free) > 0 {
			next := free[len(free)-1] // now: the next one that is made takes its place
			l.files.free = free[:len(free)-1]
			l.files.Unlock()
			l.makeSpare()
			return next, nil
		}
		making := l.files.making
		l.files.Unlock()
		if making == nil && !tried { // it may be that the last one could not be made
			making = l.makeSpare()
		}
		if making == nil {
			return nil, ErrFull
		}
		<-making
	}
}

// makeSpare sees to it that the next segment is there before it is needed, as long as there are
// fewer than there may be. If one is being made, it returns what is closed when it is there, or
// could not be made.
func (l *Log) makeSpare() (making chan struct{}) {
	l.files.Lock()
	defer l.files.Unlock()
	if len(l.files.free) > 0 || l.files.making != nil || len(l.files.missing) == 0 {
		return l.files.making
	}
	name := l.files.missing[0]
	making = make(chan struct{})
	l.files.making = making
	l.background.Go(func() {
		s, err := makeSegment(l.config.FS, l.path(name), name, l.config.SegmentBytes)
		if err == nil {
			err = l.config.FS.SyncDir(l.config.Dir)
		}
		l.files.Lock()
		defer l.files.Unlock()
		again := l.files.failed
		if l.files.failed = err != nil; err != nil {
			if !again {
				l.warn("the log has fewer segments than it may have", err)
			}
		} else {
			l.files.missing = l.files.missing[1:]
			l.files.free = append(l.files.free, s)
		}
		close(making)
		l.files.making = nil
	})
	return making
}
