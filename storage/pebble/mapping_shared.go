//go:build linux || darwin

package pebble

import (
	"errors"
	"hash/fnv"
	"io"
	"os"
	"syscall"
)

// mapFile is the mapper of the operating system's files.
func mapFile(path string, size int) (_ *mapping, err error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
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
	unmap := func() error { return errors.Join(os.NewSyscallError("munmap", syscall.Munmap(b)), f.Close()) }
	return &mapping{b, hashBoot(boot), f.Sync, unmap}, nil
}

func hashBoot(id string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, id) // it never fails
	return h.Sum64()
}

func writeZeros(f *os.File, size int) error {
	_, err := f.WriteAt(make([]byte, size), 0)
	return err
}
