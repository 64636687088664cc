//go:build linux || darwin

// Package mmap maps a file of the operating system into memory.
package mmap

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/sessiond/sessiond/storage/pebble/internal/wal"
)

// Boot returns a number for this run of the machine, another one each time it starts, or 0 if
// the system does not tell.
func Boot() uint64 {
	id, err := bootID()
	if err != nil {
		return 0
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, id) // it never fails
	return max(h.Sum64(), 1)
}

// Map is a wal.Mapper. It maps regular files only, and follows no link: what else has the name is
// refused with fs.ErrInvalid and left as it is. The disk has room for all of the file when Map
// returns.
func Map(path string, size int) (_ *wal.Mapping, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: %w", path, fs.ErrInvalid)
	}
	if info.Size() != int64(size) {
		// Written, and not only made long: to write to a hole may find the disk full.
		_, err := f.WriteAt(make([]byte, size), 0)
		if err := errors.Join(err, f.Truncate(int64(size)), f.Sync()); err != nil {
			return nil, err
		}
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	unmap := func() error { return errors.Join(os.NewSyscallError("munmap", syscall.Munmap(b)), f.Close()) }
	return &wal.Mapping{Bytes: b, Close: unmap}, nil
}
