package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// Clear makes sure that dir is absent or empty, but for what an interrupted restore or repair
// has left, and removes that.
func Clear(files vfs.FS, dir string) error {
	names, err := files.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	interrupted := slices.Contains(names, layout.RestoreName) &&
		!slices.ContainsFunc(names, layout.MakesStore)
	for _, name := range names {
		switch {
		case layout.IsInnocent(name), interrupted && (name == layout.RestoreName || name != layout.BackupName && layout.KindOf(name) != layout.ForeignFile):
		default:
			return fmt.Errorf("%w, %q for instance: choose an empty folder", ErrForeign, name)
		}
	}
	if err := Recognise(files, dir); err != nil {
		return err
	}
	if err := RemoveStore(files, files.PathJoin(dir, layout.RestoreName)); err != nil {
		return err
	}
	for _, name := range names {
		if layout.IsInnocent(name) || name == layout.RestoreName {
			continue
		}
		if err := files.RemoveAll(files.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// MoveOut moves a store out into the folder around it, where it was made under layout.RestoreName. The marker that makes it a store comes
// last.
func MoveOut(files vfs.FS, from, dir string) error {
	names, err := files.List(from)
	if err != nil {
		return err
	}
	for _, marker := range [...]bool{false, true} {
		for _, name := range names {
			if name == "LOCK" || layout.MakesStore(name) != marker {
				continue
			}
			if err := files.Rename(files.PathJoin(from, name), files.PathJoin(dir, name)); err != nil {
				return err
			}
		}
		if err := Sync(files, dir); err != nil {
			return err
		}
	}
	if err := files.RemoveAll(from); err != nil {
		return err
	}
	return Sync(files, dir)
}
