//go:build unix

package pebble

import (
	"errors"
	"os"
	"syscall"
)

// mapFile is the mapper of the operating system's files.
func mapFile(path string, size int) (_ *mapping, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
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
	if info.Size() != int64(size) {
		// Written, and not only made long: to write to a hole may find the disk full.
		if err := errors.Join(f.Truncate(0), writeZeros(f, size), f.Sync()); err != nil {
			return nil, errors.Join(err, os.Remove(path))
		}
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &mapping{b, f.Sync, func() error {
		return errors.Join(os.NewSyscallError("munmap", syscall.Munmap(b)), f.Close())
	}}, nil
}

func writeZeros(f *os.File, size int) error {
	_, err := f.WriteAt(make([]byte, size), 0)
	return err
}
