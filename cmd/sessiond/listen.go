package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// resolve returns the addresses to listen on. One that others can reach needs a password
// or certificates, or anybody on the network could read and forge every session.
func (c config) resolve() ([]*net.TCPAddr, error) {
	open, err := c.loginOptional()
	if err != nil {
		return nil, err
	}
	var addrs []*net.TCPAddr
	for _, host := range c.bind {
		name := host
		if host == "*" {
			name = ""
		}
		addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(name, "0"))
		if err != nil {
			return nil, usagef("--bind %s: %w", host, err)
		}
		if open && !c.needsCertificate() && !addr.IP.IsLoopback() {
			remedy := "set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"
			if c.tls.enabled {
				remedy += ", or serve TLS only (--port 0) and ask every client for a certificate (--tls-auth-clients yes)"
			}
			return nil, usagef("--bind %s can be reached from other machines, and no password is set: %s", host, remedy)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// listen opens all listeners, or none. A nil certs means no TLS.
func (c config) listen(addrs []*net.TCPAddr, certs *certificates) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(listeners)
			listeners = nil
		}
	}()
	if c.plain() {
		if listeners, err = listenTCP(addrs, int(c.port), "--port"); err != nil {
			return listeners, err
		}
	}
	if certs != nil {
		below, err := listenTCP(addrs, int(c.tls.port), "--tls-port")
		for _, ln := range below {
			listeners = append(listeners, newTLSListener(ln, c.tls, certs))
		}
		if err != nil {
			return listeners, err
		}
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

// listenTCP listens on one port of every address. A port chosen by the system for the
// first is used for all of them. Beside an error it returns the listeners it opened.
func listenTCP(addrs []*net.TCPAddr, port int, flag string) (listeners []net.Listener, err error) {
	for _, addr := range addrs {
		at := &net.TCPAddr{IP: addr.IP, Zone: addr.Zone, Port: port}
		ln, err := net.ListenTCP(network(at), at)
		if err != nil {
			return listeners, listenError(at, flag, err)
		}
		port = ln.Addr().(*net.TCPAddr).Port
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

func listenError(addr *net.TCPAddr, flag string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: another program uses that port (perhaps Redis or a second sessiond): "+
			"stop it, or choose another %s", addr, flag)
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
