package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/sessiond/sessiond"
)

// handshakeSize is how many bytes a client may send before the handshake is complete. A long chain of
// certificates takes a fourth of it. TLS itself would buffer ten times as much for each client that has
// not logged in.
const handshakeSize = 32 << 10

// tlsListener encrypts the connections of another listener. Accept does not wait for the handshake: the
// server starts it in the goroutine of the connection.
type tlsListener struct {
	net.Listener
	certificates *certificates
	settings     sessiond.TLS
}

func newTLSListener(ln net.Listener, c tlsConfig, certs *certificates) *tlsListener {
	return &tlsListener{ln, certs, sessiond.TLS{
		Port:        ln.Addr().(*net.TCPAddr).Port,
		CertFile:    c.files.certificate,
		KeyFile:     c.files.key,
		CACertFile:  c.files.ca,
		CACertDir:   c.files.caDir,
		AuthClients: c.auth,
	}}
}

// TLS returns what CONFIG GET shows of the listener.
func (l *tlsListener) TLS() sessiond.TLS { return l.settings }

func (l *tlsListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	below := &boundedConn{Conn: nc, left: handshakeSize, bounded: true}
	return &tlsConn{tls.Server(below, l.certificates.config()), below}, nil
}

// tlsConn is an encrypted connection. Until HandshakeContext has returned, only Close and the methods
// that set deadlines may be called.
type tlsConn struct {
	*tls.Conn
	below *boundedConn
}

func (c *tlsConn) HandshakeContext(ctx context.Context) error {
	err := c.Conn.HandshakeContext(ctx)
	c.below.bounded = false
	return err
}

// boundedConn is a connection whose Read fails after a number of bytes, while bounded is true.
type boundedConn struct {
	net.Conn
	left    int
	bounded bool
}

// NetConn returns the connection that is bounded.
func (c *boundedConn) NetConn() net.Conn { return c.Conn }

var errHandshakeSize = errors.New("the client's part of the handshake is too large")

func (c *boundedConn) Read(b []byte) (int, error) {
	if !c.bounded {
		return c.Conn.Read(b)
	}
	if c.left == 0 {
		return 0, errHandshakeSize
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}
