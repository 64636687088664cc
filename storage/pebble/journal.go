package pebble

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// journal makes a change of one existing record survive the end of the process for the price
// of copying it into memory that belongs to a file: the operating system has it at once. The
// log gets the same change and loses nothing of its meaning; but its tail lies in a buffer of
// the process, and to hand that over takes two switches of goroutines and a system call.
//
// The file "journal" is two halves. Changes go to one until a round of the flusher begins,
// and then to the other; what lies in the first is in the log when the round ends, and is
// forgotten. If a half is full, the change waits for a round like any other.
//
//	half    magic "journal" 1 <8b> | run of the machine <8b> |
//	        bytes in use, this head included <8b> | change ...
//	change  checksum <4b> | bytes of the change <4b> | place <8b> | revision before <8b> |
//	        revision <8b> | deadline, Unix ms <8b> | what <1b> | kind <1b> | bytes of the name <2b> |
//	        name | value
//
// Numbers are big endian; the checksum is a CRC-32C of the rest of the change.
//
// When a store opens, a change is made again if its record still has the revision from before
// it. A revision is never used twice, so what the log holds already is not repeated, and what
// rests on a lost change is left out. A change that reads and writes one record alone may be
// kept without others from before it that nobody was promised: they change other records, and
// other clients made them. That holds for the end of the process only. When the machine has
// started anew there is no more than the log, which is all that a power cut was promised to
// leave, and in which everything has its order.
type journal struct {
	logger *slog.Logger

	mu     sync.Mutex
	mapped *mapping // nil if there is none
	active int      // the half that is written
	used   [2]int
	buf    []byte
}

const (
	journalName  = "journal"
	journalMagic = "journal\x01"

	journalHalf = 512 << 10
	journalSize = 2 * journalHalf
	halfHead    = len(journalMagic) + 8 + 8
	usedAt      = len(journalMagic) + 8
	noteHead    = 4 + 4 + 8 + 8 + 8 + 8 + 1 + 1 + 2

	// maxNote is the largest change in a journal. To copy a larger one costs as much as a round.
	maxNote = 8 << 10
)

// noteKind is what a change in the journal did.
type noteKind byte

const (
	noteDeadline noteKind = iota
	noteValue
	noteDelete
	noteKinds
)

// note is a change in the journal.
type note struct {
	place  place
	name   []byte
	before uint64 // the record's revision
	what   noteKind
	now    entry  // of which the kind, the deadline and the revision are known
	value  []byte // if what is noteValue
}

// noteOf describes the change of a cell that existed.
func noteOf(c *cell) note {
	n := note{place: c.place, name: c.name, before: c.was.revision, now: c.now}
	switch {
	case !c.exists:
		n.what = noteDelete
	case c.replaced:
		n.what, n.value = noteValue, c.value
	}
	return n
}

func (n *note) size() int { return noteHead + len(n.name) + len(n.value) }

func (n *note) append(dst []byte) []byte {
	begin := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n.size()))
	dst = binary.BigEndian.AppendUint64(dst, uint64(n.place))
	dst = binary.BigEndian.AppendUint64(dst, n.before)
	dst = binary.BigEndian.AppendUint64(dst, n.now.revision)
	dst = binary.BigEndian.AppendUint64(dst, uint64(n.now.deadline))
	dst = append(dst, byte(n.what), byte(n.now.kind))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(n.name)))
	dst = append(append(dst, n.name...), n.value...)
	binary.BigEndian.PutUint32(dst[begin:], crc32.Checksum(dst[begin+4:], chunkTable))
	return dst
}

// decodeNote returns the first change in b, and what is behind it.
func decodeNote(b []byte) (n note, rest []byte, ok bool) {
	if len(b) < noteHead {
		return n, nil, false
	}
	size := int(binary.BigEndian.Uint32(b[4:]))
	if size < noteHead || size > min(maxNote, len(b)) {
		return n, nil, false
	}
	b, rest = b[:size], b[size:]
	names := int(binary.BigEndian.Uint16(b[42:]))
	if names > size-noteHead || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], chunkTable) {
		return n, nil, false
	}
	n.place = place(binary.BigEndian.Uint64(b[8:]))
	n.before = binary.BigEndian.Uint64(b[16:])
	n.now.revision = binary.BigEndian.Uint64(b[24:])
	n.now.deadline = ttl.Instant(binary.BigEndian.Uint64(b[32:]))
	n.what, n.now.kind = noteKind(b[40]), storage.Kind(b[41])
	n.name, n.value = b[noteHead:noteHead+names], b[noteHead+names:]
	return n, rest, n.what < noteKinds && n.now.deadline >= 0
}

// decodeHalf returns the changes in a half that were made in this run of the machine. Sound is
// false if they are not all there.
func decodeHalf(b []byte, boot uint64) (notes []note, sound bool) {
	if string(b[:len(journalMagic)]) != journalMagic {
		return nil, bytes.Count(b[:halfHead], []byte{0}) == halfHead // a new file
	}
	if binary.BigEndian.Uint64(b[len(journalMagic):]) != boot {
		return nil, true
	}
	end := binary.BigEndian.Uint64(b[usedAt:])
	if end < uint64(halfHead) || end > uint64(len(b)) {
		return nil, false
	}
	for b = b[halfHead:end]; len(b) > 0; {
		n, rest, ok := decodeNote(b)
		if !ok {
			return notes, false
		}
		notes, b = append(notes, n), rest
	}
	return notes, true
}

// journalUsed returns how many bytes of changes there are in the journal of the store in dir.
func journalUsed(files vfs.FS, dir string) (n int64, err error) {
	f, err := files.Open(files.PathJoin(dir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for half := range 2 {
		var head [halfHead]byte
		if _, err := f.ReadAt(head[:], int64(half*journalHalf)); err == nil { // else it is too short to hold any
			n += int64(min(binary.BigEndian.Uint64(head[usedAt:]), journalHalf))
		}
	}
	return n, f.Close()
}

// openJournal maps the file and makes the changes in it again. Whatever is wrong with it is
// no reason not to open the store: there is a log.
func (e *Engine) openJournal(dir string, opts Options) error {
	j := &e.journal
	j.logger = e.logger
	if opts.mapFile == nil {
		return nil
	}
	path := opts.fs.PathJoin(dir, journalName)
	_, err := opts.fs.Stat(path)
	exists := !errors.Is(err, fs.ErrNotExist)
	if !exists && e.room.reserve.room() < e.room.line(extends) {
		return nil // it would take what is left
	}
	if j.mapped, err = opts.mapFile(path, journalSize); err != nil && exists {
		j.logger.Warn("the journal cannot be read: if the process was killed, changes of the last second may be lost",
			"file", journalName, "err", err)
	}
	if err != nil {
		return nil
	}
	j.used = [2]int{journalHalf, journalHalf} // nothing is kept in them before they were read
	if err := e.repeatJournal(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", journalName, err), j.mapped.close())
	}
	for half := range 2 {
		j.clear(half)
	}
	if j.mapped != nil {
		if err := j.mapped.sync(); err != nil { // what was read must not come back
			j.giveUp(err)
		}
	}
	return nil
}

// repeatJournal makes the changes in the file again and brings them to stable storage.
func (e *Engine) repeatJournal() error {
	j := &e.journal
	var b []byte
	if !j.guard(func(m *mapping) { b = bytes.Clone(m.b) }) {
		return nil
	}
	first, soundFirst := decodeHalf(b[:journalHalf], j.mapped.boot)
	second, soundSecond := decodeHalf(b[journalHalf:], j.mapped.boot)
	if !soundFirst || !soundSecond {
		j.logger.Warn("the journal is damaged: changes of the last second before the process was killed may be lost",
			"file", journalName)
	}
	made, err := e.repeat(append(first, second...))
	if err != nil || made == 0 {
		return err
	}
	j.logger.Info("changes were made again that only the journal had", "records", made)
	return e.await(context.Background(), storage.Barrier{Disk: e.order.issued.Load()})
}

// repeat makes the changes that the log does not have, and returns how many records it
// changed.
func (e *Engine) repeat(notes []note) (made int, err error) {
	room := e.room
	e.room = boundless() // they were admitted once
	defer func() { e.room = room }()
	// The changes of a record follow each other by their revisions, whichever half they are in.
	slices.SortStableFunc(notes, func(a, b note) int {
		return cmp.Or(cmp.Compare(a.place, b.place), bytes.Compare(a.name, b.name), cmp.Compare(a.before, b.before))
	})
	databases := e.layout.spaces.databases()
	for len(notes) > 0 {
		first := &notes[0]
		n := slices.IndexFunc(notes, func(x note) bool { return x.place != first.place || !bytes.Equal(x.name, first.name) })
		if n < 0 {
			n = len(notes)
		}
		k := storage.Key{DB: int(databases.of(first.place.space())), Name: first.name}
		_, err := e.Update(context.Background(), storage.Scope{Keys: []storage.Key{k}}, func(tx storage.Txn) error {
			changed, err := repeatOne(tx, k, notes[:n])
			if changed {
				made++
			}
			return err
		})
		if err != nil {
			return made, err
		}
		notes = notes[n:]
	}
	return made, nil
}

// repeatOne makes the changes of one record that the log does not have.
func repeatOne(tx storage.Txn, k storage.Key, notes []note) (changed bool, err error) {
	rec, found, err := tx.Stat(k)
	if err != nil || !found {
		return false, err
	}
	at := rec.Revision
	for i := range notes {
		n := &notes[i]
		if n.before != at {
			continue
		}
		switch at, changed = n.now.revision, true; n.what {
		case noteDeadline:
			err = tx.SetDeadline(k, n.now.deadline)
		case noteValue:
			err = tx.Put(k, storage.Record{Kind: n.now.kind, Value: n.value, Deadline: n.now.deadline})
		case noteDelete:
			err = tx.Delete(k)
		}
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// keep puts a change of one existing record into the journal and reports whether it is there:
// then it survives the end of the process. It was applied, and its stripe is held.
func (j *journal) keep(c *cell) (kept bool) {
	n := noteOf(c)
	size := n.size()
	if size > maxNote {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mapped == nil || j.used[j.active]+size > journalHalf {
		return false
	}
	j.buf = n.append(j.buf[:0])
	return j.guard(func(m *mapping) {
		half := m.b[j.active*journalHalf:][:journalHalf]
		copy(half[j.used[j.active]:], j.buf)
		j.used[j.active] += size
		binary.BigEndian.PutUint64(half[usedAt:], uint64(j.used[j.active]))
	})
}

// turn begins the other half. What was kept before is applied: the next record of the log
// stands behind it.
func (j *journal) turn() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.active = 1 - j.active
}

// forget empties the half before the turn: the log has it.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.clear(1 - j.active)
}

func (j *journal) clear(half int) {
	if j.used[half] == halfHead {
		return
	}
	j.used[half] = halfHead
	j.guard(func(m *mapping) {
		head := m.b[half*journalHalf:][:halfHead]
		copy(head, journalMagic)
		binary.BigEndian.PutUint64(head[usedAt:], uint64(halfHead))
		binary.BigEndian.PutUint64(head[len(journalMagic):], m.boot)
	})
}

// guard calls fn, which touches the mapped memory, if there is any. A disk that fails, or somebody who cuts
// the file, makes that a fault; then there is no journal any more.
func (j *journal) guard(fn func(*mapping)) (ok bool) {
	if j.mapped == nil {
		return false
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			j.giveUp(fmt.Errorf("%v", p))
			ok = false
		}
	}()
	fn(j.mapped)
	return true
}

// giveUp leaves the file as it is: it may hold what the log does not have yet.
func (j *journal) giveUp(err error) {
	j.logger.Warn("the journal is given up: every change goes to the operating system by the log",
		"file", journalName, "err", err)
	j.mapped = nil
}

// size returns the bytes of the file.
func (j *journal) size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mapped == nil {
		return 0
	}
	return journalSize
}

// close ends the journal of a store whose log is on stable storage.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for half := range 2 {
		j.clear(half)
	}
	if j.mapped == nil {
		return nil
	}
	m := j.mapped
	j.mapped = nil
	return m.close()
}
