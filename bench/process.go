package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is a process as /proc shows it.
type process int

// self is the load generator.
func self() process { return process(os.Getpid()) }

// tick is the unit of processor times in /proc, the same on every Linux.
const tick = 10 * time.Millisecond

// cpu returns the processor time of all threads, user and system together, without that of
// child processes.
func (p process) cpu() (time.Duration, error) {
	stat, err := p.read("stat")
	if err != nil {
		return 0, err
	}
	// The name in parentheses is the second field and may hold anything.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const user, system = 14 - 3, 15 - 3
	if len(fields) <= system {
		return 0, fmt.Errorf("stat of process %d: too short", p)
	}
	u, err := strconv.ParseInt(fields[user], 10, 64)
	s, err2 := strconv.ParseInt(fields[system], 10, 64)
	return time.Duration(u+s) * tick, errors.Join(err, err2)
}

// resident returns the bytes of memory the process holds.
func (p process) resident() (int64, error) {
	kb, err := p.field("status", "VmRSS:")
	return kb << 10, err
}

// written returns the bytes that went, or will go, to the disk because of the process.
func (p process) written() (int64, error) { return p.field("io", "write_bytes:") }

// field returns the number in the line of a file that begins with name.
func (p process) field(file, name string) (int64, error) {
	content, err := p.read(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(content) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s of process %d: no %s", file, p, name)
}

func (p process) read(file string) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p, file))
	return string(bytes.TrimSpace(b)), err
}

// folderSize returns the bytes that all files below dir take on the disk. Files may come and go meanwhile.
func folderSize(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		total += allocated(info)
		return nil
	})
	return total, err
}
