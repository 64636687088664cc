package storage

// What the tests of this package use as a value_<type>.go would.
var (
	CutVersion  = cutVersion
	AppendField = appendField
	CutField    = cutField
)
