package folder

import (
	"io"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// Recognise makes sure that what has the names of sessiond's files in a folder is a file each,
// and that those are sessiond's which are written over before anybody reads all of them. Others
// Pebble reads, or removes by their numbers.
func Recognise(files vfs.FS, dir string) error {
	names, err := files.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !isOwn(name) {
			continue
		}
		if err := recogniseFile(files, dir, name); err != nil {
			return err
		}
	}
	return nil
}

// isOwn reports whether a name is of a file of a store's. A backup and the socket for tools
// are looked at when they are used.
func isOwn(name string) bool {
	return !layout.IsInnocent(name) && name != layout.BackupName && name != "control.sock" && layout.KindOf(name) != layout.ForeignFile
}

func recogniseFile(files vfs.FS, dir, name string) error {
	path := files.PathJoin(dir, name)
	info, err := Lstat(files, path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return StrangeError(path, info.Mode())
	}
	empty, heads := headsOf(name)
	if empty && info.Size() > 0 {
		return ContentError(path)
	}
	if info.Size() == 0 || len(heads) == 0 {
		return nil
	}
	f, err := files.Open(path)
	if err != nil {
		return err
	}
	known := false
	for _, h := range heads {
		b := make([]byte, len(h.bytes))
		n, err := f.ReadAt(b, h.at)
		if err != nil && err != io.EOF {
			known = true // what cannot be read is nothing to judge by
		}
		known = known || Resembles(b[:n], h.bytes) || Resembles(b[:n], make([]byte, n))
	}
	if err := f.Close(); err != nil || known {
		return err
	}
	return ContentError(path)
}

// fileHead is what a file has at a position.
type fileHead struct {
	at    int64
	bytes []byte
}

// headsOf says whether a file with a name is empty, and else what it may begin with beside
// zeros, which is what a power cut leaves of a new file. No heads mean that all may be in it.
func headsOf(name string) (empty bool, heads []fileHead) {
	switch {
	case name == layout.LockFile, layout.IsMarker(name):
		return true, nil
	case layout.IsBallast(name):
		head := make([]byte, 64)
		_, _ = Filler().Read(head) // it never fails
		return false, []fileHead{{0, head}}
	}
	if file, ok := wal.Lookup(name); ok {
		for _, at := range file.At {
			heads = append(heads, fileHead{at, []byte(file.Magic)})
		}
	}
	return false, heads
}

// Filler is what the reserve is made of where room cannot be had without writing.
func Filler() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{}) }

// Resembles reports whether b is want, or its beginning, but for one byte in eight: a disk
// that has changed one does not make a file somebody else's.
func Resembles(b, want []byte) bool {
	wrong := 0
	for i := range b {
		if b[i] != want[i] {
			wrong++
		}
	}
	return 8*wrong <= len(b) && len(b) > 0
}
