package layout

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// formatFile and a number name an empty file that lies in the folder of a store whose format
// is a later one than 2: "format-3" and so on. A program that goes over to a new format creates
// it before it changes anything. So every program can refuse a newer store by looking at
// names; to learn the format from the store itself, Pebble has to open it, and that writes.
const formatFile = "format-"

// OtherFormat returns an error if the names in a folder are those of a store of another format.
func OtherFormat(names []string) error {
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, formatFile)
		version, err := strconv.ParseUint(digits, 10, 32)
		if ok && err == nil && version > FormatVersion {
			return CheckFormat(uint32(version))
		}
	}
	// Stores of format 1 had their newest changes in logs of Pebble's, and these files beside them.
	first := slices.Contains(names, "synced") || slices.Contains(names, "journal")
	if first && slices.ContainsFunc(names, MakesStore) && !slices.ContainsFunc(names, IsLog) {
		return CheckFormat(1)
	}
	return nil
}

// ErrOlderFormat says that the store was made while sessiond was in development, in a format that
// no version reads any more.
var ErrOlderFormat = errors.New("store was made by an earlier development version")

// CheckFormat returns an error if format is not the one of this program.
func CheckFormat(format uint32) error {
	switch {
	case format > FormatVersion:
		return fmt.Errorf("%w: it has format %d, and this one reads up to %d", ErrNewerFormat, format, FormatVersion)
	case format < FormatVersion:
		return fmt.Errorf("%w: it has format %d, and this one reads %d; begin with an empty folder", ErrOlderFormat, format, FormatVersion)
	}
	return nil
}
