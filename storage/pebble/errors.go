package pebble

import (
	"github.com/sessiond/sessiond/storage/pebble/internal/folder"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// Errors of Open and of everything else that reads the folder of a store. Compare with errors.Is.
var (
	// ErrDamaged is wrapped by an error that says that the files of a store are not what was
	// written to them. A store for which Open returns it was not changed.
	ErrDamaged = layout.ErrDamaged
	// ErrNewerFormat is returned if a newer version of the program wrote the store.
	ErrNewerFormat = layout.ErrNewerFormat
	// ErrLocked is returned if the folder is already open, in this process or another.
	ErrLocked = folder.ErrLocked
	// ErrForeign is returned if the folder holds something that is not a store, or something
	// else in the place of one of its files. It is left as it is.
	ErrForeign = folder.ErrForeign
	// ErrNoStore is returned by those who read a store that must exist.
	ErrNoStore = folder.ErrNoStore
)
