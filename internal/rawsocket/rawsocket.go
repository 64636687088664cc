// Package rawsocket reads and writes a client's socket without telling Go's scheduler of the
// system calls. docs/decisions/0009 has the figures.
//
// The race detector knows the reads and writes of package syscall as what orders two goroutines,
// but it cannot see raw system calls. A build with it therefore makes the same reads and writes
// through package syscall, which tells the scheduler, too. Only quickCall differs: the code around
// it is the same, so the server that is tested under the race detector is the one that is shipped.
package rawsocket

import (
	"io"
	"net"
)

// New returns what reads and writes nc in its place. Reads and writes of up to 64 KiB of a TCP or
// Unix socket on Linux are raw; all others are those of nc, as are waiting, deadlines and closing.
// What nc is wrapped in, such as TLS, is left as it is: New then returns nc itself. As with nc, one
// goroutine may read while another one writes.
func New(nc net.Conn) io.ReadWriter { return newSocket(nc) }
