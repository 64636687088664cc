package pebble

// mapping is a file in memory: what is written to b is the file's at once, whatever becomes of
// the process.
type mapping struct {
	b     []byte
	boot  uint64       // of the machine, another one each time it starts
	sync  func() error // brings b to stable storage
	close func() error
}

// mapper maps a file of size bytes, which it creates full of zeros if there is none. The disk
// has room for all of it.
type mapper func(path string, size int) (*mapping, error)
