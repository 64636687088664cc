package diskspace

import (
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// RetryDelay is how long a table that cannot be written holds up the goroutine that writes it.
const RetryDelay = time.Second

// retryDelayFS waits before it answers that a table could not be written. Pebble tries a flush
// that failed again at once, for as long as it takes: on a disk that is broken or full it
// would do nothing else. The changes are in the log meanwhile, and reads find them in memory.
type retryDelayFS struct {
	vfs.FS
	delay func()
}

// Unwrap implements vfs.FS.
func (fs retryDelayFS) Unwrap() vfs.FS { return fs.FS }

// Create implements vfs.FS.
func (fs retryDelayFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if !strings.HasSuffix(name, ".sst") {
		return f, err
	}
	if err != nil {
		return nil, fs.delayed(err)
	}
	return &retryDelayFile{f, fs}, nil
}

func (fs retryDelayFS) delayed(err error) error {
	if err != nil {
		fs.delay()
	}
	return err
}

// retryDelayFile is a table in the making.
type retryDelayFile struct {
	vfs.File
	fs retryDelayFS
}

func (f *retryDelayFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.fs.delayed(err)
}

func (f *retryDelayFile) Sync() error     { return f.fs.delayed(f.File.Sync()) }
func (f *retryDelayFile) SyncData() error { return f.fs.delayed(f.File.SyncData()) }

func (f *retryDelayFile) SyncTo(length int64) (fullSync bool, err error) {
	fullSync, err = f.File.SyncTo(length)
	return fullSync, f.fs.delayed(err)
}
