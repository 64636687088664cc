package wal

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"testing"
)

// sector is what a disk writes all of or nothing.
const sector = 512

// disk is a file system that knows what is on stable storage. A power cut leaves of each sector
// any of the contents that it had since it was last synced, and of a name that was not synced
// the file or nothing.
type disk struct {
	mu    sync.Mutex
	files map[string]*inode
	fail  func(op, name string) error // asked before each write and sync, may be nil
}

type inode struct {
	data  []byte
	dirty map[int][][]byte // contents of a sector that a power cut may leave, the stable one first
	named bool             // on stable storage
}

func newDisk() *disk { return &disk{files: map[string]*inode{}} }

func (d *disk) Create(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask("create", name); err != nil {
		return nil, err
	}
	n := &inode{dirty: map[int][][]byte{}}
	d.files[name] = n
	return &openFile{d, n, name}, nil
}

func (d *disk) Open(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.files[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return &openFile{d, n, name}, nil
}

func (d *disk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.files {
		n.named = true
	}
	return nil
}

func (d *disk) Join(dir, name string) string { return path.Join(dir, name) }

func (d *disk) ask(op, name string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(op, name)
}

// copied returns the disk as the kernel has it: what the end of the process leaves.
func (d *disk) copied() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := newDisk()
	for name, n := range d.files {
		m := &inode{data: slices.Clone(n.data), dirty: map[int][][]byte{}, named: n.named}
		for at, contents := range n.dirty {
			m.dirty[at] = slices.Clone(contents)
		}
		c.files[name] = m
	}
	return c
}

// cut returns what a power cut leaves.
func (d *disk) cut(rng *rand.Rand) *disk {
	c := d.copied()
	all := rng.IntN(3) // of what was not synced: nothing, everything, anything
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		n := c.files[name]
		if !n.named && rng.IntN(2) == 0 {
			delete(c.files, name)
			continue
		}
		n.named = true
		for _, at := range slices.Sorted(maps.Keys(n.dirty)) {
			contents := n.dirty[at]
			contents = append(contents, n.data[at*sector:min((at+1)*sector, len(n.data))])
			i := []int{0, len(contents) - 1, rng.IntN(len(contents))}[all]
			end := at*sector + copy(n.data[at*sector:], contents[i])
			clear(n.data[end:min((at+1)*sector, len(n.data))])
		}
		n.dirty = map[int][][]byte{}
	}
	return c
}

// openFile is an open file of a disk.
type openFile struct {
	disk *disk
	node *inode
	name string
}

func (f *openFile) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *openFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.ask("write", f.name); err != nil {
		return 0, err
	}
	n := f.node
	end := int(off) + len(p)
	for at := int(off) / sector; at*sector < end; at++ {
		from := min(at*sector, len(n.data))
		n.dirty[at] = append(n.dirty[at], slices.Clone(n.data[from:min((at+1)*sector, len(n.data))]))
	}
	if end > len(n.data) {
		n.data = append(n.data, make([]byte, end-len(n.data))...)
	}
	copy(n.data[off:], p)
	return len(p), nil
}

func (f *openFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.ask("sync", f.name); err != nil {
		return err
	}
	f.node.dirty = map[int][][]byte{}
	return nil
}

func (f *openFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.node.data)), nil
}

func (f *openFile) Close() error { return nil }

// shared is the memory in which a disk's mark is mapped, and outlives a process.
type shared struct {
	bytes []byte
	boot  uint64
}

func (s *shared) mapFile(_ string, size int) (*Mapping, error) {
	if s.bytes == nil {
		s.bytes = make([]byte, size)
	}
	return &Mapping{Bytes: s.bytes, Close: func() error { return nil }}, nil
}

// after returns the mapping as the next process finds it.
func (s *shared) after() *shared { return &shared{slices.Clone(s.bytes), s.boot} }

const testDir = "dir"

// testConfig is that of a log of small segments.
func testConfig(d *disk, s *shared) Config {
	c := Config{FS: d, Dir: testDir, Segments: 3, SegmentBytes: 4 << 10}
	if s != nil {
		c.Map, c.Boot = s.mapFile, 1+s.boot
	}
	return c
}

// create makes a log and opens it.
func create(t testing.TB, config Config) *Log {
	t.Helper()
	from, err := Create(config)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	l, found, err := Open(config, from, func(Frame) error { return errors.New("a frame in a new log") })
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if found.Frames != 0 || found.End != from {
		t.Fatalf("a new log holds %+v", found)
	}
	return l
}

// framed returns a frame with that payload.
func framed(payload string) []byte { return append(make([]byte, HeaderSize), payload...) }
