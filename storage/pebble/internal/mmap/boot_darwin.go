package mmap

import "syscall"

// bootID returns what the system calls this run of the machine.
func bootID() (string, error) { return syscall.Sysctl("kern.bootsessionuuid") }
