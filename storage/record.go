package storage

import "github.com/sessiond/sessiond/ttl"

// Key names a record: a logical database and a name of any bytes, empty included.
type Key struct {
	DB   int
	Name []byte
}

// Kind says what a record's value is: see value.go. The numbers are on disk and never change meaning.
type Kind byte

const (
	// KindString is a plain value: GET, SET and their family.
	KindString Kind = 1
)

// String returns the name TYPE answers with.
func (k Kind) String() string {
	if k == KindString {
		return "string"
	}
	return "unknown"
}

// Record is what an engine keeps under a key.
type Record struct {
	Kind Kind
	// Value is valid only until the function that was handed the record returns, and
	// must not be changed. It is nil in a record that came from Stat or Scan.
	Value []byte
	// Size is the length of the value in bytes; Put ignores it.
	Size int
	// Deadline is the instant the record ends; ttl.Never means it does not.
	Deadline ttl.Instant
	// Revision grows with every change, a moved deadline included, and is never used
	// twice in the life of a store, nor within a transaction. The engine sets it; Put
	// ignores it.
	Revision uint64
}

// Count is the size of one database. Records that are due but not yet swept count.
type Count struct {
	Records  int64 // all records
	Expiring int64 // those with a deadline
}
