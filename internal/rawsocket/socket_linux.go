package rawsocket

import (
	"io"
	"net"
	"syscall"
)

// maxQuick is the largest transfer that is quick enough for Go's scheduler not to know of it.
// The kernel copies as much in some microseconds.
const maxQuick = 64 << 10

// socket reads and writes a client's socket. The sockets of package net never block, so the
// kernel only copies and returns; but package net makes each call as if it could block, and
// while commands are small and many that keeps the scheduler's monitor awake, which takes
// processors away from threads that were about to return. A socket makes the calls without a
// word to the scheduler. Waiting, deadlines and closing are package net's.
//
// Like a net.Conn it can be read by one goroutine while another one writes.
type socket struct {
	net.Conn
	raw syscall.RawConn

	in, out transfer
	tryIn   func(fd uintptr) (done bool)
	tryOut  func(fd uintptr) (done bool)
}

// transfer is a read or a write under way.
type transfer struct {
	b   []byte // what is left of it
	n   int    // bytes so far
	err error
}

// newSocket returns what nc is to be read and written by.
func newSocket(nc net.Conn) io.ReadWriter {
	var raw syscall.RawConn
	var err error
	switch nc := nc.(type) { // not syscall.Conn: a type around one of these may do something else
	case *net.TCPConn:
		raw, err = nc.SyscallConn()
	case *net.UnixConn:
		raw, err = nc.SyscallConn()
	}
	if raw == nil || err != nil {
		return nc
	}
	s := &socket{Conn: nc, raw: raw}
	s.tryIn, s.tryOut = s.readOnce, s.writeAll
	return s
}

// Read implements io.Reader.
func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 || len(b) > maxQuick {
		return s.Conn.Read(b)
	}
	return s.in.run(b, s.raw.Read, s.tryIn)
}

// Write implements io.Writer.
func (s *socket) Write(b []byte) (int, error) {
	if len(b) == 0 || len(b) > maxQuick {
		return s.Conn.Write(b)
	}
	return s.out.run(b, s.raw.Write, s.tryOut)
}

// run transfers b by try, which wait calls again when the socket is ready.
func (t *transfer) run(b []byte, wait func(func(uintptr) bool) error, try func(uintptr) bool) (int, error) {
	*t = transfer{b: b}
	if err := wait(try); t.err == nil {
		t.err = err
	}
	n, err := t.n, t.err
	*t = transfer{} // the bytes are the caller's
	return n, err
}

func (s *socket) readOnce(fd uintptr) (done bool) {
	n, err := quickCall(syscall.SYS_READ, fd, s.in.b)
	switch {
	case err == syscall.EAGAIN:
		return false
	case err != 0:
		s.in.err = err
	case n == 0:
		s.in.err = io.EOF
	}
	s.in.n = n
	return true
}

func (s *socket) writeAll(fd uintptr) (done bool) {
	for len(s.out.b) > 0 {
		n, err := quickCall(syscall.SYS_WRITE, fd, s.out.b)
		if err == syscall.EAGAIN {
			return false
		}
		if err != 0 {
			s.out.err = err
			break
		}
		s.out.n += n
		s.out.b = s.out.b[n:]
	}
	return true
}
