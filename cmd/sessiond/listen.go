package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// resolve returns the TCP addresses to listen on. One that others can reach needs a
// password, or anybody on the network could read and forge every session.
func (c config) resolve() ([]*net.TCPAddr, error) {
	var addrs []*net.TCPAddr
	for _, host := range c.bind {
		name := host
		if host == "*" {
			name = ""
		}
		addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(name, strconv.Itoa(int(c.port))))
		if err != nil {
			return nil, usagef("--bind %s: %w", host, err)
		}
		if c.password == "" && !addr.IP.IsLoopback() {
			return nil, usagef("--bind %s can be reached from other machines, and no password is set: "+
				"set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1", host)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// listen opens all listeners, or none. A port chosen by the system for the first address
// is used for all of them.
func (c config) listen(addrs []*net.TCPAddr) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(listeners)
			listeners = nil
		}
	}()
	for _, addr := range addrs {
		if len(listeners) > 0 {
			addr.Port = listeners[0].Addr().(*net.TCPAddr).Port
		}
		ln, err := net.ListenTCP(network(addr), addr)
		if err != nil {
			return listeners, listenError(addr, err)
		}
		listeners = append(listeners, ln)
	}
	if c.unixSocket != "" {
		ln, err := listenUnix(c.unixSocket, c.unixSocketPerm)
		if err != nil {
			return listeners, fmt.Errorf("listen on %s: %w", c.unixSocket, err)
		}
		listeners = append(listeners, ln)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		_ = ln.Close() // nobody was served yet
	}
}

// network keeps 0.0.0.0 from meaning IPv6 as well, and :: from meaning IPv4.
func network(addr *net.TCPAddr) string {
	switch {
	case addr.IP == nil:
		return "tcp"
	case addr.IP.To4() != nil:
		return "tcp4"
	default:
		return "tcp6"
	}
}

func listenError(addr *net.TCPAddr, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: another program uses that port (perhaps Redis or a second sessiond): "+
			"stop it, or choose another --port", addr)
	}
	// The address is in the message already.
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

// listenUnix listens on a Unix socket with the given permission. Until it is set, which
// is before anybody is served, the socket has what the umask leaves, as in Redis. The
// listener removes the file when it is closed.
func listenUnix(path string, perm fs.FileMode) (net.Listener, error) {
	if err := removeStaleSocket(path); err != nil {
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // the path is in the message already
		}
		return nil, err
	}
	if err := os.Chmod(path, perm); err != nil {
		_ = ln.Close() // nobody was served yet
		return nil, err
	}
	return ln, nil
}

// removeStaleSocket removes the socket file that a killed server left behind, and nothing
// else: no other file, and no socket that answers.
func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return errors.New("a file is in the way that is not a socket")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close() // it was only to see whether somebody answers
		return errors.New("another program answers there")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
