package main

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// Ensure that each spelling of an address means what it means in redis.conf.
func TestResolveAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text, want string // where it listens if --port is 7
		optional   bool
	}{
		{"127.0.0.1", "127.0.0.1:7", false},
		{"-127.0.0.1", "127.0.0.1:7", true},
		{"::1", "[::1]:7", false},
		{"-::1", "[::1]:7", true},
		{"[::1]", "[::1]:7", false},
		{"-[::1]", "[::1]:7", true},
		{"::ffff:127.0.0.1", "127.0.0.1:7", false},
		{"fe80::1%lo", "[fe80::1%lo]:7", false},
		{"*", "0.0.0.0:7", false},
		{"0.0.0.0", "0.0.0.0:7", false},
		{"::*", "[::]:7", false},
		{"-::*", "[::]:7", true},
		{"::", "[::]:7", false},
		{"localhost", "127.0.0.1:7", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"127.0.0.1:8", "127.0.0.1:8", false},
		{"localhost:8", "127.0.0.1:8", false},
		{"-[::1]:8", "[::1]:8", true},
		{"[fe80::1%lo]:8", "[fe80::1%lo]:8", false},
		{"::1:8", "[::1:8]:7", false},
		{"*:8", "0.0.0.0:8", false},
		{"[::*]:8", "[::]:8", false},
	}
	for _, tt := range tests {
		a, err := resolveAddress(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
		} else if got := a.at(7).String(); got != tt.want || a.optional != tt.optional {
			t.Errorf("%s: %s, optional %v, want %s, %v", tt.text, got, a.optional, tt.want, tt.optional)
		}
	}
}

// Ensure that a machine may lack optional addresses and all of IPv6, and that nothing else
// lets a start go on without an address.
func TestMayLack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err                syscall.Errno
		optional, required bool
	}{
		{syscall.EADDRNOTAVAIL, true, false},
		{syscall.EAFNOSUPPORT, true, true},
		{syscall.EPROTONOSUPPORT, true, true},
		{syscall.EADDRINUSE, false, false},
		{syscall.EACCES, false, false},
	}
	for _, tt := range tests {
		err := &net.OpError{Op: "listen", Err: tt.err}
		if mayLack(err, true) != tt.optional || mayLack(err, false) != tt.required {
			t.Errorf("%v: optional %v, required %v, want %v, %v", tt.err, mayLack(err, true), mayLack(err, false), tt.optional, tt.required)
		}
	}
}

// Ensure that an address which cannot be had is answered with what to do.
func TestListenError(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		err  error
		want string
	}{
		{"127.0.0.1", syscall.EADDRINUSE, "listen on 127.0.0.1:7: another program uses that port (perhaps Redis or a second sessiond): stop it, or choose another --port"},
		{"[::1]:8", syscall.EADDRINUSE, "listen on [::1]:8: another program uses that port (perhaps Redis or a second sessiond): stop it, or choose another port behind [::1]:8"},
		{"203.0.113.1", syscall.EADDRNOTAVAIL, "listen on 203.0.113.1:7: this machine has no such address: correct --bind, or write -203.0.113.1 if it may be missing"},
		{"127.0.0.1", syscall.EACCES, "listen on 127.0.0.1:7: ports below 1024 need a privilege here: choose another --port"},
		{"127.0.0.1", errors.New("no luck"), "listen on 127.0.0.1:7: no luck"},
	}
	for _, tt := range tests {
		a, err := resolveAddress(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := listenError(a, a.at(7), "--port", &net.OpError{Op: "listen", Err: tt.err}); got.Error() != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.want)
		}
	}
}
