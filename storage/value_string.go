package storage

// A string is its bytes, of any length, without a version before them.

// FindString is Find for a string; another kind of value is ErrWrongKind.
func (tx *Tx) FindString(k Key) (Record, bool, error) { return tx.FindKind(k, KindString) }

// AsString passes on what a read returned, unless it found something other than a string: that is
// ErrWrongKind.
func AsString(r Record, found bool, err error) (Record, bool, error) {
	return asKind(KindString, r, found, err)
}
