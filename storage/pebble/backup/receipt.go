package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/ttl"
)

// The folder of a backup holds
//
//	BACKUP          the receipt, which makes the copy valid; replaced by one rename
//	BACKUP.new      the next one in the making
//	data-000007     the files of the store, in the folder that the receipt names;
//	                another one of that form is in the making, or left over
//
// so a backup needs nothing outside its folder, which may be a mount point. The receipt
// is text, written before anything else and again when a copy is complete:
//
//	sessiond backup 2                           version of this form
//	data data-000007                            absent, like the rest, until there is a copy
//	made 1732323232323                          Unix ms
//	format 3                                    formatVersion of the store
//	store 00a1b2c3d4e5                          seed.identity
//	records 3 1200                              database, number of its records; repeated
//	file 000012.sst 4096 1732323232000000000    name, size, time at which the store wrote
//	                                            it, Unix ns; repeated
//	end 1b2c3d4e                                CRC-32C of the lines before

// receiptVersion is in the first line. A program refuses a larger number than its own.
const receiptVersion = 2

// receiptHead begins every receipt, whatever its version.
const receiptHead = "sessiond backup "

// receipt says what a backup consists of. The zero receipt is that of a backup that was
// never completed.
type receipt struct {
	data    string // name of the folder with the files; "" until a copy is complete
	made    ttl.Instant
	format  uint32
	store   uint64
	records map[int]int64
	files   []backupFile
}

// backupFile is one file of a copy.
type backupFile struct {
	name     string
	size     int64
	modified int64 // when the store wrote it, Unix ns
}

func (v receipt) complete() bool { return v.data != "" }

// report returns what callers are told.
func (v receipt) report() Report {
	b := Report{Made: v.made, Records: v.records}
	for _, f := range v.files {
		b.Bytes += f.size
	}
	return b
}

func (v receipt) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%d\n", receiptHead, receiptVersion)
	if !v.complete() {
		return b.Bytes()
	}
	fmt.Fprintf(&b, "data %s\nmade %d\nformat %d\nstore %012x\n", v.data, v.made, v.format, v.store)
	for _, db := range slices.Sorted(maps.Keys(v.records)) {
		fmt.Fprintf(&b, "records %d %d\n", db, v.records[db])
	}
	for _, f := range v.files {
		fmt.Fprintf(&b, "file %s %d %d\n", f.name, f.size, f.modified)
	}
	fmt.Fprintf(&b, "end %08x\n", crc32.Checksum(b.Bytes(), pebblefile.ChunkTable))
	return b.Bytes()
}

var ErrReceipt = errors.New("file BACKUP is damaged")

// decodeReceipt refuses everything that encode does not write.
func decodeReceipt(text []byte) (receipt, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	var version int
	if !lines.Scan() || !bytes.HasPrefix(text, []byte(receiptHead)) {
		return receipt{}, ErrReceipt
	}
	if _, err := fmt.Sscanf(lines.Text(), receiptHead+"%d", &version); err != nil {
		return receipt{}, ErrReceipt
	}
	if version > receiptVersion {
		return receipt{}, fmt.Errorf("%w: the backup has form %d, and this one reads up to %d",
			layout.ErrNewerFormat, version, receiptVersion)
	}
	v := receipt{records: map[int]int64{}}
	for lines.Scan() {
		if err := v.decodeLine(lines.Text()); err != nil {
			return receipt{}, fmt.Errorf("line %q: %w", lines.Text(), ErrReceipt)
		}
	}
	// Whatever was lost or changed, it would be written in another way, with another checksum.
	if !bytes.Equal(v.encode(), text) {
		return receipt{}, ErrReceipt
	}
	return v, nil
}

func (v *receipt) decodeLine(line string) (err error) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "data":
		v.data = rest
		_, err = dataNumber(rest)
	case "made":
		_, err = fmt.Sscanf(rest, "%d", &v.made)
	case "format":
		_, err = fmt.Sscanf(rest, "%d", &v.format)
	case "store":
		_, err = fmt.Sscanf(rest, "%x", &v.store)
	case "records":
		var db int
		var n int64
		_, err = fmt.Sscanf(rest, "%d %d", &db, &n)
		v.records[db] = n
	case "file":
		var f backupFile
		_, err = fmt.Sscanf(rest, "%s %d %d", &f.name, &f.size, &f.modified)
		if f.name != filepath.Base(f.name) || f.name == ".." || f.name == "." || f.size < 0 {
			return ErrReceipt
		}
		v.files = append(v.files, f)
	case "end":
	default:
		return ErrReceipt
	}
	return err
}

// dataName returns the name of the folder of the nth copy.
func dataName(n uint64) string { return fmt.Sprintf("data-%06d", n) }

// dataNumber is the reverse of dataName.
func dataNumber(name string) (n uint64, err error) {
	if _, err := fmt.Sscanf(name, "data-%d", &n); err != nil || dataName(n) != name {
		return 0, ErrReceipt
	}
	return n, nil
}
