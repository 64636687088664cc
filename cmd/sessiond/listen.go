package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// resolve returns the addresses to listen on. An address that other machines can reach needs a password
// or certificates; otherwise anybody on the network could read and forge every session.
func (c config) resolve() ([]address, error) {
	open, err := c.loginOptional()
	if err != nil {
		return nil, err
	}
	var addrs []address
	for _, text := range c.bind {
		addr, err := resolveAddress(text)
		if err != nil {
			return nil, err
		}
		if open && c.tcp() && !c.needsCertificate() && !addr.ip.IsLoopback() {
			remedy := "set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"
			if c.tls.enabled {
				remedy += ", or serve TLS only (--port 0) and ask every client for a certificate (--tls-auth-clients yes)"
			}
			return nil, usagef("--bind %s can be reached from other machines, and no password is set: %s", text, remedy)
		}
		if addr.ownPort && !c.tcp() {
			return nil, usagef("--bind %s: it has a port, but --port 0 is no TCP port: leave out one of the two", text)
		}
		if addr.ownPort && addr.port != 0 && c.plain() && c.tls.enabled {
			return nil, usagef("--bind %s: one port cannot serve both --port and --tls-port", text)
		}
		for _, other := range addrs {
			if addr.overlaps(other, cmp.Or(c.port, c.tls.port)) {
				return nil, usagef("--bind: %s and %s overlap, leave one of them out", other.text, text)
			}
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// listen opens all listeners, or none. A nil certs means no TLS.
func (c config) listen(addrs []address, certs *certificates, log *slog.Logger) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(listeners)
			listeners = nil
		}
	}()
	if c.plain() {
		if listeners, err = listenTCP(addrs, c.port, "--port", log); err != nil {
			return listeners, err
		}
	}
	if certs != nil {
		below, err := listenTCP(addrs, c.tls.port, "--tls-port", log)
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
	if len(listeners) == 0 {
		return nil, fmt.Errorf("this machine has no address of --bind %q: add one that it has, 127.0.0.1 for instance",
			strings.Join(c.bind, " "))
	}
	return listeners, nil
}

// listenTCP listens on one port of every address, or on the address's own port if it has one. If it
// returns an error it also returns the listeners that it has opened.
func listenTCP(addrs []address, port uint16, flag string, log *slog.Logger) (listeners []net.Listener, err error) {
	for _, addr := range addrs {
		at := addr.at(port)
		ln, err := net.ListenTCP(addr.network(), at)
		switch {
		case err == nil:
		case mayLack(err, addr.optional):
			log.Info("this machine lacks an address of --bind, which is left out", "address", at, "err", withoutAddress(err))
			continue
		default:
			return listeners, listenError(addr, at, flag, err)
		}
		listeners = append(listeners, ln)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		_ = ln.Close() // it has served no client
	}
}

// mayLack reports whether the server may start without the address, as Redis does: without an optional
// one that no interface has, and without one of a protocol that the machine does not support, such as
// ::1 without IPv6. A port that is in use is an error.
func mayLack(err error, optional bool) bool {
	if optional && errors.Is(err, syscall.EADDRNOTAVAIL) {
		return true
	}
	for _, unsupported := range []syscall.Errno{
		syscall.EAFNOSUPPORT, syscall.EPFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.ESOCKTNOSUPPORT, syscall.ENOPROTOOPT,
	} {
		if errors.Is(err, unsupported) {
			return true
		}
	}
	return false
}

func listenError(addr address, at *net.TCPAddr, flag string, err error) error {
	if addr.ownPort {
		flag = "port behind " + addr.text
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: another program uses that port (perhaps Redis or a second sessiond): "+
			"stop it, or choose another %s", at, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this machine has no such address: correct --bind, or write -%s if it may be missing",
			at, addr.text)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s: ports below 1024 need a privilege here: choose another %s", at, flag)
	}
	return fmt.Errorf("listen on %s: %w", at, withoutAddress(err))
}

// withoutAddress returns the reason in an error of package net, for messages that contain the address
// already.
func withoutAddress(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// listenUnix listens on a Unix socket with the given permission. The listener removes the
// file when it is closed.
func listenUnix(path string, perm fs.FileMode) (net.Listener, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	if err := removeStaleSocket(path); err != nil {
		return nil, err
	}
	ln, err := socketConfig(perm).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, socketError(path, withoutAddress(err))
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Perm() != perm { // the umask has taken some of it
		err = os.Chmod(path, perm)
	}
	if err != nil {
		_ = ln.Close() // it has served no client
		return nil, err
	}
	return ln, nil
}

// removeStaleSocket removes a socket file that a killed server has left behind. It removes no other file,
// and no socket that a process listens on.
func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return socketError(path, err)
	case info.IsDir():
		return fmt.Errorf("it is a folder: name a socket in it, %s for instance", filepath.Join(path, "sessiond.sock"))
	case info.Mode()&fs.ModeSocket == 0:
		return errors.New("a file is in the way that is not a socket: move it away, or choose another path")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close() // it has shown that a process listens
		return errors.New("another program answers there: stop it, or choose another path")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("a socket is in the way that another program may use: "+
			"remove it if that has ended, or choose another path: %w", withoutAddress(err))
	}
	if err := os.Remove(path); err != nil {
		return socketError(path, err)
	}
	return nil
}
