package wal

import (
	"errors"
	"fmt"
)

// Hold keeps the frames from lsn on until free is called, whatever is released meanwhile. The
// error is ErrMissing if they were released already.
func (l *Log) Hold(lsn LSN) (free func(), err error) {
	l.files.Lock()
	defer l.files.Unlock()
	if lsn < l.files.used[0].begin {
		return nil, fmt.Errorf("the log before LSN %d: %w", l.files.used[0].begin, ErrMissing)
	}
	held := &lsn
	l.files.held = append(l.files.held, held)
	return func() {
		l.files.Lock()
		defer l.files.Unlock()
		for i, h := range l.files.held {
			if h == held {
				l.files.held = append(l.files.held[:i], l.files.held[i+1:]...)
				return
			}
		}
	}, nil
}

// CopyTo makes a log in another folder, which has none, of the frames from one LSN to another. All
// of them count as needed: none that is damaged later is taken for a torn tail.
// The caller holds them, and they are in the kernel. The copy is on stable storage when CopyTo
// returns. Open goes on with it as with the original.
func (l *Log) CopyTo(fs FS, dir string, from, to LSN) error {
	l.files.Lock()
	var used []segment
	for _, s := range l.files.used {
		if s.begin+LSN(l.config.SegmentBytes) > from && s.begin < to {
			used = append(used, *s)
		}
	}
	l.files.Unlock()
	buf := make([]byte, l.config.SegmentBytes)
	for i, s := range used {
		if err := readAll(s.file, buf); err != nil {
			return err
		}
		end := min(s.offset(to), int64(len(buf)))
		if err := writeFile(fs, fs.Join(dir, segmentName(i+1)), buf[:end], len(buf)); err != nil {
			return err
		}
	}
	l.control.Lock()
	c := l.control.control
	l.control.Unlock()
	c.from, c.began, c.newest = from, to, used[len(used)-1].begin
	c.segments = max(c.segments, len(used))
	b := make([]byte, 2*controlPage)
	copy(b, c.encode())
	copy(b[controlPage:], c.encode())
	return errors.Join(writeFile(fs, fs.Join(dir, ControlName), b, len(b)), fs.SyncDir(dir))
}

// writeFile makes a file of size bytes on stable storage: b, and a hole behind it.
func writeFile(fs FS, path string, b []byte, size int) error {
	f, err := fs.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil && len(b) < size {
		_, err = f.WriteAt([]byte{0}, int64(size-1))
	}
	return errors.Join(err, f.Sync(), f.Close())
}
