package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// formatFile and a number name an empty file that lies in the folder of a store whose format
// is not the first: "format-2" and so on. A program that goes over to a new format creates
// it before it changes anything. So every program can refuse a newer store by looking at
// names; to learn the format from the store itself, Pebble has to open it, and that writes.
const formatFile = "format-"

// refuseNewer refuses the folder of a newer store and leaves it as it is.
func refuseNewer(files vfs.FS, dir string) error {
	names, err := files.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, formatFile)
		version, err := strconv.ParseUint(digits, 10, 32)
		if ok && err == nil && version > formatVersion {
			return errNewer(version)
		}
	}
	return nil
}

func errNewer(version uint64) error {
	return fmt.Errorf("%w: it has format %d, and this one reads up to %d", ErrNewerFormat, version, formatVersion)
}
