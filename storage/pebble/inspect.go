package pebble

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Markers are empty files whose names say something: PREFIX NUMBER . WHAT. The one with the
// highest number holds.
const (
	manifestMarker = "marker.manifest."
	formatMarker   = "marker.format-version."
)

// inspection looks for damage that Pebble does not notice when it opens a store, or takes
// for something else: a log or a MANIFEST that ends too early, a file that is not there. It
// reads the MANIFEST and the logs whose changes are not in tables yet, and looks at the size
// of each table.
type inspection struct {
	fs       vfs.FS
	dir      string
	options  *pebbledb.Options
	names    []string
	marks    marks
	has      inventory
	problems []problem
}

// inspect looks at a store that nobody has open, and changes nothing. It returns what is
// wrong with it and, for openSynced, what is known to be on stable storage. An error says
// that a file could not be read. A folder without a store has no problems.
func inspect(files vfs.FS, dir string, options *pebbledb.Options) (marks, []problem, error) {
	options = options.Clone()
	options.EnsureDefaults()
	x := inspection{fs: files, dir: dir, options: options}
	x.has = inventory{tables: map[uint64]uint64{}, files: map[uint64]uint64{}}
	err := x.run()
	return x.marks, x.problems, err
}

func (x *inspection) run() (err error) {
	if x.names, err = x.fs.List(x.dir); err != nil {
		return err
	}
	slices.Sort(x.names)
	if x.marks, err = readMarks(x.fs, x.dir); err != nil {
		return err
	}
	manifest, found := x.marked(manifestMarker)
	if !found {
		if len(x.marks.logs) > 0 {
			x.report(manifestMarker+"*", "is missing")
		}
		x.marks = marks{}
		return nil
	}
	for _, step := range []func() error{
		func() error { return x.manifest(manifest) }, x.tables, x.logs, x.settings,
	} {
		err := step()
		if err == errUnknown {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errUnknown ends an inspection that cannot judge the rest.
var errUnknown = errors.New("inventory of the store is unknown")

func (x *inspection) report(file, format string, args ...any) {
	x.problems = append(x.problems, problem{file, fmt.Sprintf(format, args...)})
}

// marked returns what the marker with a prefix says.
func (x *inspection) marked(prefix string) (what string, found bool) {
	var newest uint64
	for _, name := range x.names {
		rest, ok := strings.CutPrefix(name, prefix)
		digits, says, _ := strings.Cut(rest, ".")
		if n, err := strconv.ParseUint(digits, 10, 64); ok && err == nil && (!found || n > newest) {
			newest, what, found = n, says, true
		}
	}
	return what, found
}

// read hands a file to fn and returns its size.
func (x *inspection) read(name string, fn func(io.Reader) error) (size int64, err error) {
	f, err := x.fs.Open(x.fs.PathJoin(x.dir, name), vfs.SequentialReadsOption)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), fn(f)
}

// manifest takes stock by the MANIFEST.
func (x *inspection) manifest(name string) error {
	number, log, ok := parseSynced(name)
	if !ok || log {
		x.report(manifestMarker+"*", "names %q, which is no MANIFEST", name)
		return errUnknown
	}
	safe, known := findMark(x.marks.manifests, number)
	if !known {
		x.marks = marks{} // of another time: a power cut can take back what was not synced
	}
	var end int64
	var strange error
	size, err := x.read(name, func(f io.Reader) (err error) {
		end, err = readManifest(f, func(edit []byte) error {
			if strange == nil {
				strange = x.has.apply(edit)
			}
			return nil
		})
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x.report(name, "is missing")
	case err != nil:
		return err
	case end < safe:
		x.short(name, end, size, safe)
	case end == 0:
		x.report(name, "is damaged at its beginning")
	case strange == nil:
		return nil
	}
	return errUnknown
}

// short reports a log or a MANIFEST that is valid up to end and was safe further on.
func (x *inspection) short(name string, end, size, safe int64) {
	if size < safe {
		x.report(name, "is cut off: it has %d bytes, and %d had been written and synced", size, safe)
		return
	}
	x.report(name, "is damaged at byte %d, and %d bytes had been written and synced", end, safe)
}

// tables looks for the tables.
func (x *inspection) tables() error {
	sizes := maps.Clone(x.has.tables)
	maps.Copy(sizes, x.has.files)
	for _, number := range slices.Sorted(maps.Keys(sizes)) {
		name := fmt.Sprintf("%06d.sst", number)
		info, err := x.fs.Stat(x.fs.PathJoin(x.dir, name))
		switch want := int64(sizes[number]); {
		case errors.Is(err, fs.ErrNotExist):
			x.report(name, "is missing")
		case err != nil:
			return err
		case info.Size() != want:
			x.report(name, "has %d bytes, and %d had been written", info.Size(), want)
		}
	}
	return nil
}

// logs looks for the logs that are needed, and reads them.
func (x *inspection) logs() error {
	var numbers []uint64
	for _, name := range x.names {
		if n, log, ok := parseSynced(name); ok && log && n >= x.has.oldestLog {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, m := range x.marks.logs {
		if m.number >= x.has.oldestLog && !slices.Contains(numbers, m.number) {
			x.report(logName(m.number), "is missing")
		}
	}
	used := len(x.has.tables) > 0
	for i, n := range numbers {
		end, err := x.log(n, i == len(numbers)-1)
		if err != nil {
			return err
		}
		used = used || end > logHead
	}
	// Pebble would take the store for one that is being created.
	if _, found := x.marked(formatMarker); !found && used {
		x.report(formatMarker+"*", "is missing")
	}
	return nil
}

// log reads a log and returns where its valid part ends. One that is not the newest was
// closed before the next was begun.
func (x *inspection) log(number uint64, newest bool) (end int64, err error) {
	name, closed := logName(number), false
	size, err := x.read(name, func(f io.Reader) (err error) {
		end, closed, err = readLog(f, number, nil)
		return err
	})
	if err != nil {
		return 0, err
	}
	if safe, _ := findMark(x.marks.logs, number); end < safe {
		x.short(name, end, size, safe)
	} else if !newest && !closed {
		x.report(name, "is damaged at byte %d: it was closed, and there it has no end", end)
	}
	return end, nil
}

func logName(number uint64) string { return fmt.Sprintf("%06d.log", number) }

// settings reads what Pebble noted about its settings when the store was last open.
func (x *inspection) settings() error {
	var name string
	var newest uint64
	for _, s := range x.names {
		digits, ok := strings.CutPrefix(s, "OPTIONS-")
		if n, err := strconv.ParseUint(digits, 10, 64); ok && err == nil && n >= newest {
			newest, name = n, s
		}
	}
	if name == "" {
		return nil // nothing depends on it
	}
	var text []byte
	_, err := x.read(name, func(f io.Reader) (err error) {
		text, err = io.ReadAll(f)
		return err
	})
	if err != nil {
		return err
	}
	if err := x.options.CheckCompatibility(x.dir, string(text)); err != nil {
		x.report(name, "was not written by this program, or is damaged: it holds no sessions, and if the store is "+
			"one of sessiond's the file may be removed (%v)", err)
	}
	return nil
}
