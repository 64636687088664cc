package pebble

import "github.com/sessiond/sessiond/storage/pebble/internal/layout"

// Errors that whoever reads bytes of a store returns. Compare with errors.Is.
var (
	// ErrDamaged is wrapped by an error that says that the files of a store are not what was
	// written to them. A store for which Open returns it was not changed.
	ErrDamaged = layout.ErrDamaged
	// ErrNewerFormat is returned if a newer version of the program wrote the store.
	ErrNewerFormat = layout.ErrNewerFormat
)
