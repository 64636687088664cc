package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
	"github.com/sessiond/sessiond/ttl"
)

// The matrix puts each file of a store through everything that may happen to a file between two
// starts, one thing at a time, and starts the store. A cell is good if the start shows everything
// that was acknowledged; or if it is refused, the refusal names the file, and a start with the
// file as it was shows everything. A start that succeeds must be final: what it did not show never
// comes back.
//
// What the matrix does not ask for, because no store can know it from its own files: that the whole
// folder, or every file that says how long the log was, is an older copy of the same moment.

const (
	matrixSegment = 64 << 10 // bytes of a segment of the smallest log
	matrixBoot    = 7        // the run of the machine
)

// matrixFolder is the content of the files of a folder, by name. A name that ends in a slash is that
// of a folder.
type matrixFolder map[string][]byte

// matrixFault makes a file unreadable.
type matrixFault struct {
	file string
	kind opKind // opOpen or opRead
	err  syscall.Errno
}

// matrixDisk is a file system in memory with a store on it.
type matrixDisk struct {
	tapFS
	mem   *vfs.MemFS
	fault *matrixFault

	shared  bool // nobody has the lock
	noMark  bool // files cannot be mapped
	mapping sync.Mutex
	mark    []byte // the mark of the log, mapped
}

// marked returns what is in the mark, at any moment.
func (d *matrixDisk) marked() *mapped {
	d.mapping.Lock()
	defer d.mapping.Unlock()
	return (&mapped{d.mark}).clone()
}

// newMatrixDisk makes a disk of a folder. Fault may be nil.
func newMatrixDisk(t testing.TB, folder matrixFolder, fault *matrixFault) *matrixDisk {
	t.Helper()
	d := &matrixDisk{mem: vfs.NewCrashableMem(), fault: fault}
	d.FS = d.mem
	d.before = func(op fileOp) error { return d.refuse(op.kind, op.name) }
	if err := d.mem.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range folder {
		where := d.mem.PathJoin(testDir, strings.TrimSuffix(name, "/"))
		if strings.HasSuffix(name, "/") {
			if err := d.mem.MkdirAll(where, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := writeMatrixFile(d.mem, where, content); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func writeMatrixFile(files vfs.FS, where string, content []byte) error {
	f, err := files.Create(where, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Clone(content)) // under -race Pebble makes something else of it
	return errors.Join(err, f.Close())
}

// refuse returns the error of an operation on the file that is unreadable.
func (d *matrixDisk) refuse(kind opKind, name string) error {
	if d.fault == nil || d.fault.file != path.Base(name) || d.fault.kind != kind {
		return nil
	}
	return &fs.PathError{Op: string(kind), Path: d.mem.PathJoin(testDir, name), Err: d.fault.err}
}

// Lock implements vfs.FS.
func (d *matrixDisk) Lock(name string) (io.Closer, error) {
	if err := d.refuse(opOpen, name); err != nil {
		return nil, err
	}
	if d.shared {
		return io.NopCloser(nil), nil
	}
	return d.tapFS.Lock(name)
}

// GetDiskUsage implements vfs.FS. The disk is small, so that there is a reserve.
func (d *matrixDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 48 << 20, TotalBytes: 64 << 20, UsedBytes: 16 << 20}, nil
}

// mapFile is a wal.Mapper that does what mmap.Map does.
func (d *matrixDisk) mapFile(name string, size int) (*wal.Mapping, error) {
	if d.noMark {
		return nil, errors.ErrUnsupported
	}
	if err := errors.Join(d.refuse(opOpen, name), d.refuse(opRead, name)); err != nil {
		return nil, err
	}
	content, err := readMatrixFile(d.mem, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	}
	if len(content) != size {
		content = make([]byte, size)
	}
	d.mapping.Lock()
	d.mark = content
	d.mapping.Unlock()
	return &wal.Mapping{Bytes: content, Close: func() error { return nil }}, writeMatrixFile(d.mem, name, content)
}

func readMatrixFile(files vfs.FS, where string) ([]byte, error) {
	info, err := files.Stat(where)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder: %w", where, fs.ErrInvalid)
	}
	f, err := files.Open(where)
	if err != nil {
		return nil, err
	}
	b := make([]byte, info.Size())
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], errors.Join(err, f.Close())
}

// folder returns what kill -9 leaves.
func (d *matrixDisk) folder(t testing.TB) matrixFolder {
	t.Helper()
	mark := d.marked() // first: it is never ahead of the log
	folder := readMatrixFolder(t, d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kill, RNG: rand.New(rand.NewPCG(1, 1))}))
	if len(mark.b) > 0 && folder["log.mark"] != nil {
		folder["log.mark"] = mark.b
	}
	return folder
}

func readMatrixFolder(t testing.TB, files vfs.FS) matrixFolder {
	t.Helper()
	names, err := files.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	folder := matrixFolder{}
	for _, name := range names {
		content, err := readMatrixFile(files, files.PathJoin(testDir, name))
		switch {
		case errors.Is(err, fs.ErrInvalid):
			folder[name+"/"] = nil
		case err != nil:
			t.Fatal(err)
		default:
			folder[name] = content
		}
	}
	return folder
}

// open opens the store on the disk.
func (d *matrixDisk) open(mode storage.Durability, boot uint64, clock ttl.Clock) (*Engine, error) {
	return Open(testDir, Options{
		Durability: mode, Clock: clock, CacheBytes: 1 << 20, LogBytes: minLogBytes, MemTableSize: 256 << 10,
		FS: d, MapFile: d.mapFile, BootID: boot, Logger: slog.New(slog.DiscardHandler),
		OnFailure: func(err error) { panic(err) },
	})
}

// matrixPast is how a store came to be as it is before the next start.
type matrixPast struct {
	mode  storage.Durability
	clean bool // it was stopped; else killed
	blind bool // there is no mark
	clock *ttl.Manual

	end     matrixFolder
	same    matrixFolder // earlier in the same life
	earlier matrixFolder // in an earlier life
	just    matrixFolder // a moment before

	worlds []world         // after each change of the last life
	ends   []wal.LSN       // of the log then
	synced wal.LSN         // of the log at the end
	seen   []ttl.Instant   // what the store says of the time then
	needed map[string]bool // the segments that hold frames which are needed
}

// matrixLife is a life of the store.
type matrixLife struct {
	*matrixPast
	t    testing.TB
	disk *matrixDisk
	e    *Engine
	n    int
}

// newDisk makes a disk of a folder.
func (p *matrixPast) newDisk(t testing.TB, folder matrixFolder, fault *matrixFault) *matrixDisk {
	t.Helper()
	d := newMatrixDisk(t, folder, fault)
	d.noMark = p.blind
	return d
}

func (p *matrixPast) live(t testing.TB, folder matrixFolder) *matrixLife {
	t.Helper()
	l := &matrixLife{matrixPast: p, t: t, disk: p.newDisk(t, folder, nil)}
	var err error
	if l.e, err = l.disk.open(p.mode, matrixBoot, p.clock); err != nil {
		t.Fatal(err)
	}
	now := world{}
	if n := len(p.worlds); n > 0 {
		now = p.worlds[n-1]
	}
	p.worlds, p.ends, p.seen = []world{now}, []wal.LSN{l.e.log.End()}, []ttl.Instant{l.e.Seen()}
	return l
}

// do makes a change and waits until it may be acknowledged.
func (l *matrixLife) do(c change) {
	l.t.Helper()
	b, err := c.update(l.e)
	if err == nil {
		err = l.e.Sync(context.Background(), b)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	w := maps.Clone(l.worlds[len(l.worlds)-1])
	c.apply(w)
	l.note(w)
}

func (l *matrixLife) note(w world) {
	l.worlds = append(l.worlds, w)
	l.ends = append(l.ends, l.e.log.End())
	l.seen = append(l.seen, l.e.Seen())
}

// name returns the i-th spot.
func matrixSpot(i int) spot { return spot{i % 2, fmt.Sprint("session ", i)} }

// put stores a value of about size bytes at n spots from the first on.
func (l *matrixLife) put(first, n, size int) {
	for i := first; i < first+n; i++ {
		l.n++
		value := fmt.Sprint(l.n, " ", strings.Repeat(string(rune('a'+l.n%26)), size))
		l.do(change{flush: -1, edits: []edit{{spot: matrixSpot(i), exists: true, to: image{value, crashBase + 1<<30 + ttl.Instant(l.n)}}}})
	}
}

// touch moves the deadlines of n spots that exist, from the first on.
func (l *matrixLife) touch(first, n int) {
	for i := first; i < first+n; i++ {
		l.n++
		x := l.worlds[len(l.worlds)-1][matrixSpot(i)]
		x.deadline = crashBase + 1<<31 + ttl.Instant(l.n)
		l.do(change{flush: -1, edits: []edit{{spot: matrixSpot(i), exists: true, move: true, to: x}}})
	}
}

func (l *matrixLife) remove(i int) {
	l.do(change{flush: -1, edits: []edit{{spot: matrixSpot(i)}}})
}

// sweep sweeps at an instant before anything is due, which at times is written down.
func (l *matrixLife) sweep(now ttl.Instant) {
	if _, _, err := l.e.Sweep(context.Background(), now, 100); err != nil {
		l.t.Fatal(err)
	}
	l.note(l.worlds[len(l.worlds)-1])
}

func (l *matrixLife) checkpoint() {
	if err := l.e.checkpoint(context.Background()); err != nil {
		l.t.Fatal(err)
	}
}

// rest waits until there is a spare segment, and returns the folder.
func (l *matrixLife) rest() matrixFolder {
	for begin := time.Now(); ; time.Sleep(50 * time.Microsecond) { // polling a goroutine
		folder := l.disk.folder(l.t)
		whole := 0
		for name, content := range folder {
			if isSegment(name) && len(content) == matrixSegment {
				whole++
			}
		}
		if l.e.log.Size() >= int64(whole)*matrixSegment && whole > 1 {
			return folder
		}
		if time.Since(begin) > 20*time.Second {
			l.t.Fatal("the log makes no spare segment")
		}
	}
}

func (l *matrixLife) close() {
	if err := l.e.Close(); err != nil {
		l.t.Fatal(err)
	}
}

func isSegment(name string) bool {
	_, ok := wal.Lookup(name)
	return ok && name != "log.control" && name != "log.mark"
}

// newMatrixPast lives three lives.
func newMatrixPast(t testing.TB, mode storage.Durability, clean, blind bool) *matrixPast {
	t.Helper()
	p := &matrixPast{mode: mode, clean: clean, blind: blind, clock: ttl.NewManual(crashBase)}
	l := p.live(t, nil)
	l.put(0, 20, 3000)
	l.sweep(crashBase + 1000)
	l.checkpoint()
	l.put(20, 4, 3000)
	l.close()
	p.earlier = l.disk.folder(t)

	l = p.live(t, p.earlier)
	l.put(10, 10, 2000)
	folder := l.rest()
	l.close()

	l = p.live(t, folder)
	l.put(0, 10, 4000)
	l.checkpoint()
	l.put(5, 10, 4000)
	l.touch(5, 3)
	p.same = l.rest()
	l.put(20, 10, 4000)
	l.put(30, 1, matrixSegment+5000) // no segment holds it
	l.checkpoint()
	l.put(31, 3, 1000)
	l.sweep(crashBase + 10) // the clock was set back
	l.do(change{flush: 1})
	l.do(change{flush: -1, swap: true})
	l.put(40, 14, 5000) // into a new segment
	l.remove(44)
	l.touch(41, 1)
	if err := l.e.await(context.Background(), l.e.logEnd()); err != nil {
		t.Fatal(err)
	}
	p.tail(l)
	p.end = l.rest()
	p.needed = neededSegments(p.end, l.e.followed())
	if !blind { // what was noted is all that is known without a mark
		p.synced = l.e.log.Synced()
	}
	l.close()
	if clean {
		p.end = l.disk.folder(t)
		p.needed = neededSegments(p.end, l.e.followed())
		p.synced, p.seen[len(p.seen)-1] = l.e.log.End(), l.e.Seen()
	}
	return p
}

// tail makes changes some of which are in the kernel only, if the mode permits it: one of each kind
// and enough of them to reach another segment.
func (p *matrixPast) tail(l *matrixLife) {
	l.put(41, 1, 5000)
	l.touch(41, 1)
	l.remove(45)
	l.do(change{flush: 0})
	l.do(change{flush: -1, swap: true})
	l.put(60, 10, 6000)
	p.just = l.rest()
	l.remove(61)
	if p.blind { // what happens once a second
		if err := errors.Join(l.e.await(context.Background(), l.e.logEnd()), l.e.log.Note()); err != nil {
			l.t.Fatal(err)
		}
		p.synced = l.e.log.Synced()
	}
	l.put(63, 1, 500)
	l.touch(63, 3)
}

// matrixFrame is where a frame lies.
type matrixFrame struct {
	kind   string
	file   string
	at     int // of its header
	length int // of its payload
}

const (
	matrixHead   = 64 // bytes of a segment's header
	matrixHeader = 24 // bytes of a frame's
)

var frameKinds = map[layout.ChangeKind]string{
	layout.ChangePut: "put", layout.ChangeTouch: "touch", layout.ChangeDelete: "delete", layout.ChangeFlush: "flush",
	layout.ChangePhysicalDBs: "spaces", layout.ChangeClock: "seen",
}

// framesOf finds the frames in a segment, as far as they follow each other.
func framesOf(file string, b []byte) (frames []matrixFrame) {
	begin := binary.LittleEndian.Uint64(b[32:])
	for at := matrixHead; at+matrixHeader <= len(b); {
		length := int(binary.LittleEndian.Uint32(b[at+4:]))
		if binary.LittleEndian.Uint64(b[at+8:]) != begin+uint64(at) {
			break
		}
		f := matrixFrame{"empty", file, at, length}
		if length > 0 {
			f.kind = frameKinds[layout.ChangeKind(b[at+matrixHeader])&layout.ChangeKinds]
		}
		frames = append(frames, f)
		at += (matrixHeader + length + 7) &^ 7
	}
	return frames
}

// neededSegments returns the segments that hold frames from followed on.
func neededSegments(folder matrixFolder, followed wal.LSN) map[string]bool {
	needed := map[string]bool{}
	for name, b := range folder {
		if !isSegment(name) || len(b) < matrixHead || !bytes.HasPrefix(b, []byte("sesslog\n")) {
			continue
		}
		begin := wal.LSN(binary.LittleEndian.Uint64(b[32:]))
		needed[name] = begin+matrixSegment > followed
	}
	return needed
}

// matrixHarm is something that happens to a file.
type matrixHarm struct {
	row, column string // of the table
	file        string // that suffers
	what        string
	do          func(matrixFolder) // may be nil
	fault       *matrixFault       // may be nil
	boot        uint64             // the run of the machine at the next start; 0 is the same
}

// harmsOf returns all that happens to the files of a store.
func (p *matrixPast) harms() (harms []matrixHarm) {
	harms = append(harms, matrixHarm{row: "nothing", column: "as it was", what: "as it was"})
	for _, name := range slices.Sorted(maps.Keys(p.end)) {
		if strings.HasPrefix(name, layout.BallastPrefix) && name != layout.BallastPrefix+"0" {
			continue // they are alike
		}
		harms = append(harms, p.general(name)...)
		harms = append(harms, p.older(name)...)
		harms = append(harms, p.flips(name)...)
	}
	for _, h := range harms {
		h.boot, h.column, h.what = matrixBoot+1, h.column+"*", h.what+", and another run of the machine"
		harms = append(harms, h)
	}
	return harms
}

// general returns what may happen to any file.
func (p *matrixPast) general(name string) (harms []matrixHarm) {
	row := p.row(name)
	add := func(column string, do func(matrixFolder), fault *matrixFault) {
		harms = append(harms, matrixHarm{row: row, column: column, file: name, what: name + " " + column, do: do, fault: fault})
	}
	size := len(p.end[name])
	add("missing", func(f matrixFolder) { delete(f, name) }, nil)
	add("folder", func(f matrixFolder) { delete(f, name); f[name+"/"] = nil }, nil)
	add("grown", func(f matrixFolder) { f[name] = append(slices.Clone(f[name]), make([]byte, 4096)...) }, nil)
	if size > 0 {
		add("half", func(f matrixFolder) { f[name] = f[name][:size/2] }, nil)
		add("empty", func(f matrixFolder) { f[name] = nil }, nil)
		add("zeros", func(f matrixFolder) { f[name] = make([]byte, size) }, nil)
	}
	add("open EIO", nil, &matrixFault{name, opOpen, syscall.EIO})
	add("open EACCES", nil, &matrixFault{name, opOpen, syscall.EACCES})
	if size > 0 {
		add("read EIO", nil, &matrixFault{name, opRead, syscall.EIO})
	}
	return harms
}

// older returns what an older copy of the file makes of the folder, from each time that had another.
func (p *matrixPast) older(name string) (harms []matrixHarm) {
	for column, past := range map[string]matrixFolder{"older": p.same, "older life": p.earlier, "just before": p.just} {
		was := name
		if strings.HasPrefix(name, "marker.") { // what it says is its name
			prefix := strings.Join(strings.Split(name, ".")[:2], ".")
			for old := range past {
				if strings.HasPrefix(old, prefix) {
					was = old
				}
			}
		}
		content, found := past[was]
		if !found || was == name && bytes.Equal(content, p.end[name]) {
			continue
		}
		harms = append(harms, matrixHarm{row: p.row(name), column: column, file: name, what: name + " " + column, do: func(f matrixFolder) {
			delete(f, name)
			f[was] = content
		}})
	}
	return harms
}

// row returns what a file is called in the table.
func (p *matrixPast) row(name string) string {
	switch {
	case isSegment(name):
		role := " spare"
		if p.needed[name] {
			role = " in use"
			if len(framesOf(name, p.end[name])) == 0 {
				role = " new"
			}
		}
		return "segment" + role
	case strings.HasSuffix(name, ".sst"):
		return "table"
	case strings.HasSuffix(name, ".log"):
		return "Pebble's log"
	case strings.HasPrefix(name, "MANIFEST-"):
		if strings.HasSuffix(p.marked(), name) {
			return "MANIFEST"
		}
		return "MANIFEST before"
	case strings.HasPrefix(name, "OPTIONS-"):
		return "OPTIONS"
	case strings.HasPrefix(name, "marker."):
		return strings.Join(strings.Split(name, ".")[:2], ".")
	}
	return strings.TrimRight(name, "01234567")
}

// marked returns the name of the marker of the MANIFEST.
func (p *matrixPast) marked() string {
	for name := range p.end {
		if strings.HasPrefix(name, layout.ManifestMarker) {
			return name
		}
	}
	return ""
}

// matrixFields are the fields of the log's files, by the byte where they begin.
var matrixFields = map[string][]int{
	"log.control": {0, 8, 12, 16, 32, 40, 48, 52, 56, 64, 72, 80, 84, 4096, 4104, 4108, 4112, 4128, 4136, 4144, 4152, 4160, 4168, 4176, 4180},
	"log.mark":    {0, 8, 16, 24, 32, 40, 48, 56, 64},
	"segment":     {0, 8, 12, 16, 32, 40, 48, 52, 56, 60},
	"frame":       {0, 4, 8, 16, 20},
}

// flips returns flipped bits in each part of a file.
func (p *matrixPast) flips(name string) (harms []matrixHarm) {
	size := len(p.end[name])
	add := func(column string, at, bit int) {
		harms = append(harms, matrixHarm{
			row: p.row(name), column: column, file: name, what: fmt.Sprintf("%s %s, byte %d bit %d", name, column, at, bit),
			do: func(f matrixFolder) {
				b := slices.Clone(f[name])
				b[at] ^= 1 << bit
				f[name] = b
			},
		})
	}
	for i, at := range matrixFields[name] {
		add("flip", at, i%8)
		add("flip", at, (i+3)%8)
	}
	switch {
	case size == 0 || matrixFields[name] != nil:
	case isSegment(name):
		for i, at := range matrixFields["segment"] {
			add("flip head", at, i%8)
		}
		add("flip rest", size/2, 2)
		p.flipFrames(name, add)
	default:
		for i, at := range []int{0, size / 3, size / 2, size - 60, size - 1} {
			add("flip", max(at, 0), i)
		}
	}
	return harms
}

// flipFrames flips bits in a frame of each kind, in each field of the newest one, and in the frame
// in the middle.
func (p *matrixPast) flipFrames(name string, add func(column string, at, bit int)) {
	if !p.needed[name] {
		return
	}
	frames := framesOf(name, p.end[name])
	last := map[string]matrixFrame{}
	for _, f := range frames {
		last[f.kind] = f
	}
	for kind, f := range last {
		add("flip "+kind, f.at+matrixHeader-1+f.length, 5)
	}
	if len(frames) == 0 {
		return
	}
	for _, i := range []int{len(frames) / 2, len(frames) - 1} {
		for bit, at := range matrixFields["frame"] {
			add("flip frame", frames[i].at+at, bit)
		}
	}
}

// outcome is what came of a cell: "kept", "lost" for what a power cut may take, "refused", or a
// complaint.
func (p *matrixPast) outcome(t testing.TB, h matrixHarm) (outcome string) {
	folder := maps.Clone(p.end)
	if h.do != nil {
		h.do(folder)
	}
	boot := max(h.boot, matrixBoot)
	disk := p.newDisk(t, folder, h.fault)
	e, err := disk.open(p.mode, boot, p.clock)
	if err != nil {
		return p.refusal(t, h, disk, err)
	}
	if err := readEverything(e); err != nil {
		outcome := p.refusal(t, h, disk, err)
		if err := e.Close(); err != nil {
			return fmt.Sprint("Close: ", err)
		}
		if outcome == "refused" {
			return "error"
		}
		return outcome
	}
	at, complaint := p.compare(t, e, boot != matrixBoot || p.blind)
	if complaint != "" {
		_ = e.Close() // it may hold anything
		return complaint
	}
	// What it did not show never comes back, not even if the file can be read again.
	n := len(p.worlds) - 1
	next := &matrixPast{mode: p.mode, clock: p.clock, worlds: []world{p.worlds[at]}, seen: []ttl.Instant{p.seen[at]}}
	l := &matrixLife{matrixPast: next, t: t, disk: disk, e: e, n: 1000}
	l.put(70, 2, 100)
	after := disk.folder(t)
	if err := e.Close(); err != nil {
		return fmt.Sprint("Close: ", err)
	}
	again := p.newDisk(t, after, nil)
	if e, err = again.open(p.mode, boot, p.clock); err != nil {
		return fmt.Sprint("the second start: ", err)
	}
	_, complaint = next.compare(t, e, false)
	if err := e.Close(); err != nil || complaint != "" {
		return fmt.Sprint("the second start: ", complaint, err)
	}
	if at < n {
		return "lost"
	}
	return "kept"
}

// refusal judges a refused start: it names the file, and the file as it was brings everything back.
func (p *matrixPast) refusal(t testing.TB, h matrixHarm, disk *matrixDisk, refused error) string {
	if h.file == "" || !p.names(h, refused) {
		return "refused with " + refused.Error()
	}
	folder := disk.folder(t)
	delete(folder, h.file+"/")
	folder[h.file] = p.end[h.file]
	if strings.HasPrefix(h.file, "marker.") {
		prefix := strings.Join(strings.Split(h.file, ".")[:2], ".")
		maps.DeleteFunc(folder, func(name string, _ []byte) bool { return strings.HasPrefix(name, prefix) && name != h.file })
	}
	e, err := p.newDisk(t, folder, nil).open(p.mode, max(h.boot, matrixBoot), p.clock)
	if err != nil {
		return fmt.Sprintf("refused with %v; and with the file as it was: %v", refused, err)
	}
	_, complaint := p.compare(t, e, false)
	if err := e.Close(); err != nil || complaint != "" {
		return fmt.Sprintf("refused with %v; and with the file as it was: %s%v", refused, complaint, err)
	}
	return "refused"
}

// names reports whether an error tells which file it is about, and what to do or why.
func (p *matrixPast) names(h matrixHarm, err error) bool {
	text := err.Error()
	name, _, _ := strings.Cut(h.file, ".0") // a marker that is missing is named with a star
	named := strings.Contains(text, name)
	if h.row == "MANIFEST" { // one that ends too early is an older one, and lists tables that are gone
		named = named || strings.Contains(text, ".sst is missing") || strings.Contains(text, "MANIFEST-* is an older copy")
	}
	if strings.HasPrefix(h.row, "marker.manifest") { // it says nothing but this name
		named = named || strings.Contains(text, "MANIFEST-")
	}
	advised := strings.Contains(text, "sessiond check --dir") || strings.Contains(text, "move it away") ||
		h.row == "table" && errors.Is(err, layout.ErrDamaged) || h.fault != nil && errors.Is(err, h.fault.err)
	return named && advised && !strings.Contains(text, "\n")
}

// compare holds the store to the last state; or, after another run of the machine, to any one from
// the last that was on stable storage on. It returns which it is.
func (p *matrixPast) compare(t testing.TB, e *Engine, cut bool) (at int, complaint string) {
	found, err := matrixSurvey(e)
	if err != nil {
		return 0, "read: " + err.Error()
	}
	last := len(p.worlds) - 1
	for at = last; at >= 0; at-- {
		if maps.Equal(found, p.worlds[at]) && e.Seen() == p.seen[at] {
			break
		}
	}
	switch {
	case at < 0:
		return at, fmt.Sprintf("a state that never was: %d records, want %d; %d seen, want %d", len(found), len(p.worlds[last]), e.Seen(), p.seen[last])
	case at < last && (!cut || p.ends[min(at+1, last)] <= p.synced):
		return at, fmt.Sprintf("OLDER: %d of %d changes", at, last)
	}
	checkStore(t, e)
	return at, ""
}

// readEverything reads all there is in Pebble.
func readEverything(e *Engine) error {
	it, err := e.db.NewIter(nil)
	if err != nil {
		return pebblefile.ReadError("read", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if _, err := it.ValueAndErr(); err != nil {
			_ = it.Close() // it says the same
			return pebblefile.ReadError("read", err)
		}
	}
	if err := it.Close(); err != nil {
		return pebblefile.ReadError("read", err)
	}
	return nil
}

// matrixSurvey returns every record of the two databases.
func matrixSurvey(e *Engine) (world, error) {
	w := world{}
	_, err := e.View(context.Background(), storage.Whole, func(r storage.Reader) error {
		for db := range 2 {
			var keys []storage.Key
			for cursor := uint64(0); ; {
				next, err := r.Scan(db, cursor, 1000, func(k storage.Key, _ storage.Record) bool {
					keys = append(keys, storage.Key{DB: k.DB, Name: bytes.Clone(k.Name)})
					return true
				})
				if err != nil {
					return err
				}
				if cursor = next; cursor == 0 {
					break
				}
			}
			for _, k := range keys {
				rec, found, err := r.Get(k)
				if err != nil || !found {
					return fmt.Errorf("%q is scanned, and found: %v, %w", k.Name, found, err)
				}
				w[spot{k.DB, string(k.Name)}] = image{string(rec.Value), rec.Deadline}
			}
		}
		return nil
	})
	return w, err
}

// matrixTable counts the outcomes of rows and columns.
type matrixTable struct {
	mu    sync.Mutex
	cells map[[2]string]map[string]int
}

func (m *matrixTable) add(row, column, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{row, column}
	if m.cells[key] == nil {
		m.cells[key] = map[string]int{}
	}
	m.cells[key][outcome]++
}

// log prints the table: how many cells were kept, refused, and lost what a power cut may take.
func (m *matrixTable) log(t *testing.T) {
	rows := map[string][]string{}
	for key, outcomes := range m.cells {
		text := key[1] + " "
		for _, o := range slices.Sorted(maps.Keys(outcomes)) {
			text += fmt.Sprintf("%d%s", outcomes[o], o[:1])
		}
		rows[key[0]] = append(rows[key[0]], text)
	}
	t.Log("k kept, r refused, e an error for who reads, l without changes that were not on stable storage; * is after another run of the machine")
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		slices.Sort(rows[row])
		t.Logf("%-24s %s", row, strings.Join(rows[row], ", "))
	}
}

// benign are the rows whose files a start can do without, or make again.
var benign = map[string]bool{
	"LOCK": true, "log.mark": true, "reserve.": true, "OPTIONS": true, "segment spare": true, "MANIFEST before": true,
}

// Ensure that whatever happens to one file of a store between two starts, the next start shows
// everything that was acknowledged, or is refused in words that name the file, and has then
// overwritten nothing. SESSIOND_MATRIX is the share of the cells that is looked at, one of so many.
func TestMatrix(t *testing.T) {
	t.Parallel()
	every := testNumber(t, "SESSIOND_MATRIX", 1)
	table := &matrixTable{cells: map[[2]string]map[string]int{}}
	t.Run("cells", func(t *testing.T) {
		for name, mode := range modes {
			for _, clean := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/clean=%v", name, clean), func(t *testing.T) {
					t.Parallel()
					p := newMatrixPast(t, mode, clean, false)
					for i, h := range p.harms() {
						if i%every != 0 && h.row != "nothing" {
							continue
						}
						got := p.outcome(t, h)
						switch {
						case got != "kept" && got != "refused" && got != "lost" && !(got == "error" && h.row == "table"):
							t.Errorf("%s: %s", h.what, got)
							got = "!"
						case got == "lost" && clean, got == "refused" && benign[h.row] && h.column == "missing":
							t.Errorf("%s: %s", h.what, got)
						}
						table.add(h.row, h.column, got)
					}
				})
			}
		}
	})
	table.log(t)
}

// Ensure that where files cannot be mapped, so that there is no mark, nothing that happens to the log
// takes back what it had noted; and nothing at all after a stop.
func TestMatrix_NoMark(t *testing.T) {
	t.Parallel()
	every := testNumber(t, "SESSIOND_MATRIX", 1)
	for name, mode := range modes {
		for _, clean := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/clean=%v", name, clean), func(t *testing.T) {
				t.Parallel()
				p := newMatrixPast(t, mode, clean, true)
				for i, h := range p.harms() {
					if _, ofLog := wal.Lookup(h.file); !ofLog || h.boot != 0 || i%every != 0 && h.column != "just before" {
						continue
					}
					got := p.outcome(t, h)
					if got != "kept" && got != "refused" && (got != "lost" || clean) {
						t.Errorf("%s: %s", h.what, got)
					}
				}
			})
		}
	}
}
