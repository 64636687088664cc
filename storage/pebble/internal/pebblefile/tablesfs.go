package pebblefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// TablesFS looks at tables for damage before Pebble does.
//
//	table    block ... | footer
//	block    bytes | compression <1b> | checksum, a masked CRC-32C of all before <4b>
//	footer   1, for CRC-32C <1b> | where two blocks are <40b> | version 5 <4b> | magic <8b>
//
// Numbers are little endian. A footer of this version has no checksum, and Pebble would read
// a table with another version in another way, and find no sessions in it. And where Pebble
// finds a block that does not match its checksum it tries each bit of the first 40 KiB, to
// tell which one it was: that takes a tenth of a second for a block of 8 KiB and half a
// minute for one of a megabyte, each time that somebody asks for the session.
//
// It rests on a fact about Pebble: of a table it reads blocks and the footer and nothing
// else, each in one ReadAt of exactly its size.
type TablesFS struct {
	vfs.FS
	Tell func(Problem) // gets all damage that is met
}

const (
	TableFooter   = 1 + 40 + 4 + 8
	tableVersion  = 5 // what pebbleFormat writes
	tableChecksum = 1
	tableMagic    = "\xf0\x9f\xaa\xb3\xf0\x9f\xaa\xb3"
	blockSum      = 4
)

func (fs TablesFS) Unwrap() vfs.FS { return fs.FS }

func (fs TablesFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return f, err
	}
	t := &checkedTable{File: f, name: filepath.Base(name), tell: fs.Tell}
	if err := t.check(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

// checkedTable is a table that is read.
type checkedTable struct {
	vfs.File
	name string
	size int64
	tell func(Problem)
}

// check looks at the footer.
func (t *checkedTable) check() error {
	info, err := t.File.Stat()
	if err != nil {
		return err
	}
	t.size = info.Size()
	b := make([]byte, TableFooter)
	if t.size < TableFooter {
		return t.damaged("is too short")
	}
	if _, err := t.File.ReadAt(b, t.size-TableFooter); err != nil {
		return err
	}
	if b[0] != tableChecksum || binary.LittleEndian.Uint32(b[41:]) != tableVersion || string(b[45:]) != tableMagic {
		return t.damaged("is damaged at its end")
	}
	return nil
}

// ReadAt implements vfs.File.
func (t *checkedTable) ReadAt(p []byte, at int64) (int, error) {
	n, err := t.File.ReadAt(p, at)
	end := n - blockSum
	if err != nil || end < 0 || at+int64(n) == t.size || ChunkSum(p[:end]) == binary.LittleEndian.Uint32(p[end:]) {
		return n, err
	}
	return 0, t.damaged("is damaged: the block of %d bytes at byte %d is not what was written", n, at)
}

func (t *checkedTable) damaged(format string, args ...any) error {
	d := &tableDamage{Problem{t.name, fmt.Sprintf(format, args...)}}
	t.tell(d.Problem)
	return d
}

// tableDamage is the error of reading a damaged table.
type tableDamage struct{ Problem }

func (d *tableDamage) Error() string { return fmt.Sprintf("%v: %v", layout.ErrDamaged, d.Problem) }

func (d *tableDamage) Unwrap() error { return layout.ErrDamaged }

// Format is Pebble's own format of the store: tablesFS knows its tables.
const Format = pebbledb.FormatColumnarBlocks
