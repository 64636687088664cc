package pebble

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The file "synced" says up to where logs and MANIFESTs are known to be on stable storage.
// A torn log is what a power cut leaves, and a store that has one opens; but what is known
// here was promised, and if it cannot be read the store is damaged.
//
//	file    magic "sessiond" <8b> | version <1b> | manifests <1b> | logs <1b> |
//	        mark ... | checksum <4b>
//	mark    number <8b> | size <8b>     of the manifests first, then of the logs, ascending
//
// Numbers are big endian; the checksum is a CRC-32C of everything before it. The file fits in
// a sector and is written over in place after each sync that it speaks of, without one of its
// own. It never says more than is true: what it knew a moment ago stays true, since a log
// goes only after the MANIFEST that makes it needless is safe, and a MANIFEST after its
// successor. A file that is torn, gone or of another time than the store says nothing.
const (
	syncedName    = "synced"
	syncedMagic   = "sessiond"
	syncedVersion = 1 // a program takes another version for an absent file

	syncedSize   = 512
	syncedHead   = len(syncedMagic) + 3
	markSize     = 8 + 8
	maxManifests = 4
	maxLogs      = (syncedSize-syncedHead-4)/markSize - maxManifests
)

// mark says how much of a file is on stable storage.
type mark struct {
	number uint64
	size   int64
}

// marks are the marks of a store, ascending.
type marks struct{ manifests, logs []mark }

func findMark(list []mark, number uint64) (size int64, found bool) {
	for _, m := range list {
		if m.number == number {
			return m.size, true
		}
	}
	return 0, false
}

// setMark returns list with m in it, and the newest of it if they are more than limit.
func setMark(list []mark, m mark, limit int) []mark {
	i, found := slices.BinarySearchFunc(list, m, func(a, b mark) int { return cmp.Compare(a.number, b.number) })
	if found {
		list[i] = m
		return list
	}
	list = slices.Insert(list, i, m)
	return list[max(0, len(list)-limit):]
}

// append appends the file that says m.
func (m marks) append(dst []byte) []byte {
	begin := len(dst)
	dst = append(dst, syncedMagic...)
	dst = append(dst, syncedVersion, byte(len(m.manifests)), byte(len(m.logs)))
	for _, list := range [...][]mark{m.manifests, m.logs} {
		for _, x := range list {
			dst = binary.BigEndian.AppendUint64(dst, x.number)
			dst = binary.BigEndian.AppendUint64(dst, uint64(x.size))
		}
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], chunkTable))
}

// decodeMarks returns no marks for what marks.append does not write.
func decodeMarks(b []byte) (m marks) {
	if len(b) < syncedHead || string(b[:len(syncedMagic)]) != syncedMagic || b[len(syncedMagic)] != syncedVersion {
		return marks{}
	}
	manifests, logs := int(b[syncedHead-2]), int(b[syncedHead-1])
	end := syncedHead + (manifests+logs)*markSize
	if manifests > maxManifests || logs > maxLogs || len(b) < end+4 ||
		binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], chunkTable) {
		return marks{}
	}
	for i := range manifests + logs {
		x := b[syncedHead+i*markSize:]
		m.logs = append(m.logs, mark{binary.BigEndian.Uint64(x), int64(binary.BigEndian.Uint64(x[8:]))})
	}
	m.manifests, m.logs = m.logs[:manifests:manifests], m.logs[manifests:]
	return m
}

// readMarks reads the marks of the store in dir.
func readMarks(files vfs.FS, dir string) (marks, error) {
	f, err := files.Open(files.PathJoin(dir, syncedName))
	if errors.Is(err, fs.ErrNotExist) {
		return marks{}, nil
	}
	if err != nil {
		return marks{}, err
	}
	b := make([]byte, syncedSize)
	n, _ := f.ReadAt(b, 0) // what cannot be read says nothing
	return decodeMarks(b[:n]), f.Close()
}

// synced keeps the marks of an open store. It is never the reason that a store does not work:
// if the file cannot be written the marks grow old, and old marks are true.
type synced struct {
	dir    string
	logger *slog.Logger

	mu    sync.Mutex
	known marks
	file  vfs.File // nil if it cannot be written
	buf   []byte
}

// openSynced goes on with the marks that the store was found with.
func openSynced(files vfs.FS, dir string, known marks, logger *slog.Logger) *synced {
	path := files.PathJoin(dir, syncedName)
	s := &synced{dir: filepath.Dir(path), logger: logger, known: known}
	f, err := files.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		s.giveUpLocked(err)
		return s
	}
	s.file = f
	return s
}

// reached notes that size bytes of a log or a MANIFEST are on stable storage.
func (s *synced) reached(path string, size int64) {
	number, log, ok := s.parse(path)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if log {
		s.known.logs = setMark(s.known.logs, mark{number, size}, maxLogs)
	} else {
		s.known.manifests = setMark(s.known.manifests, mark{number, size}, maxManifests)
	}
	if s.file == nil {
		return
	}
	s.buf = s.known.append(s.buf[:0])
	if _, err := s.file.WriteAt(s.buf, 0); err != nil {
		s.giveUpLocked(err)
	}
}

// gone notes that a file is removed or written over. The next write of the file will do.
func (s *synced) gone(path string) {
	number, log, ok := s.parse(path)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &s.known.manifests
	if log {
		list = &s.known.logs
	}
	*list = slices.DeleteFunc(*list, func(m mark) bool { return m.number == number })
}

func (s *synced) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return errors.Join(f.Sync(), f.Close())
}

func (s *synced) giveUpLocked(err error) {
	s.logger.Warn("a damaged log may go unnoticed at the next start", "file", syncedName, "err", err)
	if s.file != nil {
		_ = s.file.Close() // it has an error already
		s.file = nil
	}
}

// parse returns the number of a log or a MANIFEST of the store, and not one of a backup's.
func (s *synced) parse(path string) (number uint64, log, ok bool) {
	if filepath.Dir(path) != s.dir {
		return 0, false, false
	}
	return parseSynced(filepath.Base(path))
}

// parseSynced returns the number of a log or a MANIFEST.
func parseSynced(name string) (number uint64, log, ok bool) {
	digits, log := strings.CutSuffix(name, ".log")
	if !log {
		if digits, ok = strings.CutPrefix(name, "MANIFEST-"); !ok {
			return 0, false, false
		}
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, log, err == nil
}
