package pebble

import (
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// failurePause is how long a table that cannot be written holds up whoever writes it.
const failurePause = time.Second

// pacedFS pauses before it answers that a table could not be written. Pebble tries a flush
// that failed again at once, for as long as it takes: on a disk that is broken or full it
// would do nothing else. The changes are in the log meanwhile, and reads find them in memory.
type pacedFS struct {
	vfs.FS
	pause func()
}

func (fs pacedFS) Unwrap() vfs.FS { return fs.FS }

func (fs pacedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if !strings.HasSuffix(name, ".sst") {
		return f, err
	}
	if err != nil {
		return nil, fs.late(err)
	}
	return &pacedFile{f, fs}, nil
}

func (fs pacedFS) late(err error) error {
	if err != nil {
		fs.pause()
	}
	return err
}

// pacedFile is a table in the making.
type pacedFile struct {
	vfs.File
	fs pacedFS
}

func (f *pacedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.fs.late(err)
}

func (f *pacedFile) Sync() error     { return f.fs.late(f.File.Sync()) }
func (f *pacedFile) SyncData() error { return f.fs.late(f.File.SyncData()) }

func (f *pacedFile) SyncTo(length int64) (fullSync bool, err error) {
	fullSync, err = f.File.SyncTo(length)
	return fullSync, f.fs.late(err)
}
