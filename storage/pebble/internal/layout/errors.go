package layout

import "errors"

// Errors of a store's bytes, whoever reads them. Compare with errors.Is.
var (
	// ErrDamaged is wrapped by an error that says that the files of a store are not what was
	// written to them. A store for which Open returns it was not changed.
	ErrDamaged = errors.New("store is damaged")
	// ErrNewerFormat is returned if a newer version of the program wrote the store.
	ErrNewerFormat = errors.New("store was written by a newer version")
)
