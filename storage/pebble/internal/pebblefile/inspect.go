package pebblefile

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

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// Inspection looks for damage that Pebble does not notice when it opens a store, or takes
// for something else: a MANIFEST that is damaged, a file that is not there. It reads the MANIFEST
// and looks at the size of each table. A MANIFEST that ends too early makes an older tree, which
// opens if the log still has what came since.
type Inspection struct {
	fs       vfs.FS
	dir      string
	options  *pebbledb.Options
	names    []string
	List     string // name of the MANIFEST that counts
	has      inventory
	Problems []Problem
}

// Inspect looks at a store that nobody has open, and changes nothing. It says what is wrong
// with it. An error says that a file could not be read. A folder without a store has no problems.
func Inspect(files vfs.FS, dir string, options *pebbledb.Options) (*Inspection, error) {
	options = options.Clone()
	options.EnsureDefaults()
	x := &Inspection{fs: files, dir: dir, options: options}
	x.has = inventory{tables: map[uint64]uint64{}, files: map[uint64]uint64{}}
	return x, x.run()
}

func (x *Inspection) run() (err error) {
	if x.names, err = x.fs.List(x.dir); err != nil {
		return err
	}
	slices.Sort(x.names)
	found := false
	if x.List, found = x.marked(layout.ManifestMarker); !found {
		return nil
	}
	for _, step := range []func() error{
		func() error { return x.manifest(x.List) }, x.tables, x.markers, x.settings,
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

func (x *Inspection) report(file, format string, args ...any) {
	x.Problems = append(x.Problems, Problem{file, fmt.Sprintf(format, args...)})
}

// marked returns what the marker with a prefix says.
func (x *Inspection) marked(prefix string) (what string, found bool) {
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
func (x *Inspection) read(name string, fn func(io.Reader) error) (size int64, err error) {
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
func (x *Inspection) manifest(name string) error {
	if !layout.IsManifest(name) {
		x.report(layout.ManifestMarker+"*", "names %q, which is no MANIFEST", name)
		return errUnknown
	}
	var end int64
	var followed bool
	var strange error
	_, err := x.read(name, func(f io.Reader) (err error) {
		end, followed, err = ReadManifest(f, func(edit []byte) error {
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
	case end == 0:
		x.report(name, "is damaged at its beginning")
	case followed:
		x.report(name, "is damaged at byte %d", end)
	case strange == nil:
		return nil
	}
	return errUnknown
}

// HasTables reports whether the store has tables: then it has a log, too.
func (x *Inspection) HasTables() bool { return len(x.has.tables) > 0 }

// tables looks for the tables.
func (x *Inspection) tables() error {
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

// markers looks for the marker of Pebble's format: without it Pebble would take the store for one that
// is being created.
func (x *Inspection) markers() error {
	if _, found := x.marked(layout.FormatMarker); !found && len(x.has.tables) > 0 {
		x.report(layout.FormatMarker+"*", "is missing")
	}
	return nil
}

// settings reads what Pebble noted about its settings when the store was last open.
func (x *Inspection) settings() error {
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
