package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// startTLS serves TLS beside the plain port of startServer.
func startTLS(t *testing.T, config Config) (srv *Server, plain, encrypted string) {
	t.Helper()
	srv, plain = startServer(t, ttl.NewManual(1), config)
	return srv, plain, serveTLS(t, srv)
}

// serveTLS serves TLS on a free port, whose address it returns.
func serveTLS(t *testing.T, srv *Server) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- srv.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}))
	}()
	t.Cleanup(func() {
		_ = srv.Close() // it returns no error
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
	})
	return ln.Addr().String()
}

func newCertificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Error(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Error(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// encrypt makes a TLS client out of a connection. It does not check the server's certificate.
func encrypt(nc net.Conn) *tls.Conn { return tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) }

// wantCut reads to the end of a connection that the server must close; a reset is an end.
func wantCut(t *testing.T, nc net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, nc)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Errorf("the connection stays open: %v", err)
	}
}

// Ensure that commands are answered over TLS, and that a connection that is killed while
// it waits for its client ends.
func TestConn_TLS(t *testing.T) {
	t.Parallel()
	_, plain, encrypted := startTLS(t, Config{})
	nc, _ := dialServer(t, encrypted)
	client := encrypt(nc)
	if _, err := io.WriteString(client, "CLIENT SETNAME ada\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(io.LimitReader(client, 5)); string(got) != "+OK\r\n" {
		t.Fatalf("reply = %q, %v", got, err)
	}
	other, r := dialServer(t, plain)
	if _, err := io.WriteString(other, "CLIENT KILL TYPE normal SKIPME yes\r\n"); err != nil {
		t.Fatal(err)
	}
	expectLine(t, r, ":1")
	wantCut(t, client)
}

// Ensure that a stop does not wait for clients that have not shaken hands.
func TestConn_TLS_ShutdownHalfOpen(t *testing.T) {
	t.Parallel()
	srv, plain, encrypted := startTLS(t, Config{})
	silent, _ := dialServer(t, encrypted)
	slow, _ := dialServer(t, encrypted)
	if _, err := slow.Write([]byte{0x16, 3, 1, 0x40}); err != nil {
		t.Fatal(err)
	}
	nc, r := dialServer(t, plain)
	for { // until both were accepted
		if _, err := io.WriteString(nc, "CLIENT LIST\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := ""; line != "\r\n"; n++ {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if n == 4 { // three clients and an empty line
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime/2)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	wantCut(t, silent)
	wantCut(t, slow)
}

// Ensure that a stop which comes just before the handshake is not forgotten by it.
func TestConn_TLS_ShutdownBefore(t *testing.T) {
	t.Parallel()
	srv, _ := startServer(t, ttl.NewManual(1), Config{})
	below, silent := net.Pipe()
	defer silent.Close()
	defer below.Close()
	c := newConn(srv, 1, tls.Server(below, &tls.Config{}))
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	c.interrupt()
	if err := c.handshake(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("handshake = %v, want %v", err, net.ErrClosed)
	}
}

// Ensure that a client above maxclients is turned away without a handshake, for which the
// accept loop would have to wait.
func TestServer_TLS_MaxClients(t *testing.T) {
	t.Parallel()
	_, plain, encrypted := startTLS(t, Config{Settings: Settings{MaxClients: 1}})
	nc, r := dialServer(t, plain)
	if _, err := io.WriteString(nc, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	expectLine(t, r, "+PONG")
	silent, _ := dialServer(t, encrypted)
	wantCut(t, silent)
	if _, err := io.WriteString(nc, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	expectLine(t, r, "+PONG")
}

// Ensure that a client that uses the wrong port gets an error at once and does not wait forever.
func TestConn_TLS_WrongPort(t *testing.T) {
	t.Parallel()
	_, plain, encrypted := startTLS(t, Config{})
	nc, _ := dialServer(t, plain)
	// The beginning of a hello. Taken for an inline command it has no end.
	if _, err := io.WriteString(nc, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"); err != nil {
		t.Fatal(err)
	}
	wantCut(t, nc)
	nc, _ = dialServer(t, encrypted)
	if _, err := io.WriteString(nc, strings.Repeat("PING\r\n", 10)); err != nil {
		t.Fatal(err)
	}
	wantCut(t, nc)
}

// Ensure that the password can be removed only if clients then still need a certificate, or only
// loopback is served.
func TestSettings_Public(t *testing.T) {
	t.Parallel()
	all := []string{"0.0.0.0"}
	tests := []struct {
		settings Settings
		want     bool
	}{
		{Settings{Bind: []string{"127.0.0.1", "::1"}, Port: 1}, false},
		{Settings{Bind: all, Port: 1}, true},
		{Settings{Bind: all, TLS: TLSSettings{Port: 2, AuthClients: "yes"}}, false},
		{Settings{Bind: all, Port: 1, TLS: TLSSettings{Port: 2, AuthClients: "yes"}}, true},
		{Settings{Bind: all, TLS: TLSSettings{Port: 2, AuthClients: "optional"}}, true},
		{Settings{Bind: all, TLS: TLSSettings{Port: 2}}, true},
	}
	for _, tt := range tests {
		if got := tt.settings.public(); got != tt.want {
			t.Errorf("%+v: public = %v, want %v", tt.settings, got, tt.want)
		}
	}
}
