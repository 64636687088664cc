package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writePair writes a certificate for 127.0.0.1 that signs itself, and its key.
func writePair(t *testing.T, cert, key, name string, until time.Time) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-2 * time.Hour),
		NotAfter:     until,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Ensure that the TLS flags and variables mean what they mean in redis.conf, and that a
// CA makes client certificates necessary.
func TestParseConfig_TLS(t *testing.T) {
	t.Parallel()
	const pair = " --tls-cert-file c --tls-key-file k "
	tests := []struct {
		line, env string
		want      string // plain port, TLS port, who needs a certificate
	}{
		{"", "", "6379"},
		{"--tls-port 0", "", "6379"},
		{"--port 0 --unixsocket s", "", ""},
		{"--port 0 --tls-port 0 --unixsocket s", "", ""},
		{"--tls-port 7" + pair, "", "6379 TLS 7 no"},
		{"--port 0 --tls-port 7" + pair, "", "TLS 7 no"},
		{"--tls-port 7 --tls-ca-cert-file a" + pair, "", "6379 TLS 7 yes"},
		{"--tls-port 7 --tls-ca-cert-dir a" + pair, "", "6379 TLS 7 yes"},
		{"--tls-port 7 --tls-ca-cert-file a --tls-auth-clients no" + pair, "", "6379 TLS 7 no"},
		{"--tls-port 7 --tls-ca-cert-file a --tls-auth-clients optional" + pair, "", "6379 TLS 7 optional"},
		{"", "SESSIOND_PORT=0 SESSIOND_TLS_PORT=7 SESSIOND_TLS_CERT_FILE=c SESSIOND_TLS_KEY_FILE=k " +
			"SESSIOND_TLS_CA_CERT_FILE=a SESSIOND_TLS_CA_CERT_DIR=d SESSIOND_TLS_AUTH_CLIENTS=optional", "TLS 7 optional"},
		{"", "SESSIOND_TLS_PORT=tcp://10.0.0.1:6380", "6379"},
	}
	for _, tt := range tests {
		c, err := parse(tt.line, tt.env)
		if err != nil {
			t.Errorf("%q, %q: %v", tt.line, tt.env, err)
			continue
		}
		var got []string
		if c.plain() {
			got = append(got, fmt.Sprint(c.port))
		}
		if c.tls.enabled {
			got = append(got, "TLS", fmt.Sprint(c.tls.port), c.tls.auth)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.line, tt.env, got, tt.want)
		}
	}
}

// Ensure that flags which cannot be meant together are refused in one line.
func TestParseConfig_TLSUsage(t *testing.T) {
	t.Parallel()
	const pair = " --tls-cert-file c --tls-key-file k "
	tests := []struct{ line, want string }{
		{"--tls-port 7", "--tls-port: --tls-cert-file is needed, too"},
		{"--tls-port 7 --tls-key-file k", "--tls-port: --tls-cert-file is needed, too"},
		{"--tls-port 7 --tls-cert-file c", "--tls-cert-file: --tls-key-file is needed, too"},
		{"--tls-cert-file c", "--tls-cert-file: --tls-port is needed, too"},
		{"--tls-port 0" + pair, "--tls-cert-file: --tls-port is needed, too"},
		{"--tls-key-file k", "--tls-key-file: --tls-port is needed, too"},
		{"--tls-ca-cert-file a", "--tls-ca-cert-file: --tls-port is needed, too"},
		{"--tls-auth-clients no", "--tls-auth-clients: --tls-port is needed, too"},
		{"--tls-port 7 --tls-auth-clients maybe" + pair, `--tls-auth-clients "maybe" is none of yes, no, optional`},
		{"--tls-port 7 --tls-auth-clients yes" + pair, "--tls-auth-clients yes: --tls-ca-cert-file or --tls-ca-cert-dir is needed, too"},
		{"--tls-port 7 --tls-auth-clients optional" + pair, "--tls-auth-clients optional: --tls-ca-cert-file or --tls-ca-cert-dir is needed, too"},
		{"--tls-port 6379" + pair, "--tls-port 6379: --port is the same"},
		{"--tls-port 7 --bind= --unixsocket s" + pair, "--tls-port: --bind has no address"},
		{"--tls-port x" + pair, `--tls-port "x": not a whole number from 0 to 65535`},
	}
	for _, tt := range tests {
		_, err := parse(tt.line, "")
		var usage usageError
		if err == nil || !errors.As(err, &usage) || err.Error() != tt.want {
			t.Errorf("%q: %v, want the usage error %q", tt.line, err, tt.want)
		}
	}
}

// Ensure that an address others can reach needs a password or client certificates, and
// that a plain port beside TLS spoils the latter. A port of an address is for one of the two.
func TestConfig_Resolve_TLS(t *testing.T) {
	t.Parallel()
	const tls = " --tls-port 7 --tls-cert-file c --tls-key-file k "
	const public = "--bind 0.0.0.0" + tls
	tests := []struct {
		line string
		ok   bool
	}{
		{public, false},
		{public + "--port 0", false},
		{public + "--port 0 --tls-ca-cert-file a --tls-auth-clients optional", false},
		{public + "--tls-ca-cert-file a", false},
		{public + "--port 0 --tls-ca-cert-file a", true},
		{public + "--port 0 --requirepass secret", true},
		{"--bind 127.0.0.1:8 --port 0" + tls, true},
		{"--bind 127.0.0.1:0" + tls, true},
		{"--bind 127.0.0.1:8" + tls, false}, // which of the two would have it?
		{"--bind 127.0.0.1 127.0.0.1:7 --port 0" + tls, false},
	}
	for _, tt := range tests {
		c, err := parse(tt.line, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.resolve(); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.line, err)
		}
	}
}

// Ensure that files which are missing, wrong or do not belong together are named in one
// line, and that no data folder is made.
func TestRun_TLSFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writePair(t, at("cert"), at("key"), "one", time.Now().Add(time.Hour))
	writePair(t, at("cert2"), at("key2"), "two", time.Now().Add(time.Hour))
	write(t, at("text"), []byte("Dear Ada,\n"))
	write(t, at("torn"), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	if err := errors.Join(os.Mkdir(at("empty"), 0o700), os.Mkdir(at("broken"), 0o700)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(at("broken"), "torn"), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	tests := []struct{ cert, key, more, want string }{
		{"missing", "key", "", "--tls-cert-file DIR/missing: no such file or directory"},
		{"cert", "missing", "", "--tls-key-file DIR/missing: no such file or directory"},
		{"empty", "key", "", "--tls-cert-file DIR/empty: is a directory"},
		{"text", "key", "", "--tls-cert-file DIR/text: no PEM certificate in it"},
		{"key", "cert", "", "--tls-cert-file DIR/key: no PEM certificate in it"},
		{"torn", "key", "", "--tls-cert-file DIR/torn: x509: malformed certificate"},
		{"cert", "text", "", "--tls-key-file DIR/text: tls: failed to find any PEM data in key input"},
		{"cert", "cert", "", "--tls-key-file DIR/cert: tls: found a certificate rather than a key in the PEM for the private key"},
		{"cert", "key2", "", "--tls-key-file DIR/key2: tls: private key does not match public key"},
		{"cert", "key", "--tls-ca-cert-file DIR/missing", "--tls-ca-cert-file DIR/missing: no such file or directory"},
		{"cert", "key", "--tls-ca-cert-file DIR/key", "--tls-ca-cert-file DIR/key: no PEM certificate in it"},
		{"cert", "key", "--tls-ca-cert-dir DIR/missing", "--tls-ca-cert-dir DIR/missing: no such file or directory"},
		{"cert", "key", "--tls-ca-cert-dir DIR/empty", "--tls-ca-cert-dir DIR/empty: no PEM certificate in it"},
		{"cert", "key", "--tls-ca-cert-dir DIR/broken", "--tls-ca-cert-dir DIR/broken: torn: x509: malformed certificate"},
	}
	for _, tt := range tests {
		args := []string{"--bind", "127.0.0.1:0", "--tls-port", "7", "--dir", at("data"), "--tls-cert-file", at(tt.cert), "--tls-key-file", at(tt.key)}
		args = append(args, strings.Fields(strings.ReplaceAll(tt.more, "DIR", dir))...)
		var stdout, stderr bytes.Buffer
		code := run(args, nil, &stdout, &stderr)
		want := "sessiond: " + strings.ReplaceAll(tt.want, "DIR", dir) + "\n"
		if code != exitFailed || stdout.Len() != 0 || stderr.String() != want {
			t.Errorf("%v: code %d, stdout %q, stderr %q, want code %d and %q", tt, code, &stdout, &stderr, exitFailed, want)
		}
		if _, err := os.Stat(at("data")); err == nil {
			t.Fatalf("%v: the data folder was made", tt)
		}
	}
}

// Ensure that a folder of CA certificates is read whatever the names in it, and that what
// is no certificate in it does no harm.
func TestCertificateFiles_Folder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writePair(t, at("3f2a11c0.0"), at("some.key"), "first", time.Now().Add(time.Hour))
	writePair(t, at("second.pem"), at("another.key"), "second", time.Now().Add(time.Hour))
	write(t, at("README"), []byte("Dear Ada,\n"))
	err := errors.Join(os.Symlink("nowhere", at("dangling")), os.Mkdir(at("folder"), 0o700), os.Symlink("second.pem", at("link")))
	if err != nil {
		t.Fatal(err)
	}
	list, err := readFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, cert := range list {
		names = append(names, cert.Subject.CommonName)
	}
	if want := []string{"first", "second", "second"}; !slices.Equal(names, want) {
		t.Errorf("certificates %q, want %q", names, want)
	}
}

// Ensure that reading again takes the new certificate, and keeps the old one and says so
// when the new one is no good.
func TestCertificates_Reload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writePair(t, cert, key, "first", time.Now().Add(time.Hour))
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	certs, err := loadCertificates(tlsConfig{enabled: true, auth: "no", files: certificateFiles{certificate: cert, key: key}}, log)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		change    func()
		name, log string
	}{
		{func() {}, "first", "level=INFO msg=\"SIGHUP: certificates were read again\" valid_until="},
		{func() { writePair(t, cert, filepath.Join(dir, "other"), "torn", time.Now().Add(time.Hour)) }, "first",
			"level=ERROR msg=\"SIGHUP: the old certificates stay in use\" err=\"--tls-key-file " + key + ": tls: private key does not match"},
		{func() { write(t, cert, nil) }, "first", "no PEM certificate in it"},
		{func() { writePair(t, cert, key, "second", time.Now().Add(time.Hour)) }, "second", "level=INFO"},
		{func() { writePair(t, cert, key, "late", time.Now().Add(-time.Hour)) }, "late", "level=WARN msg=\"the certificate has expired; clients will refuse it\""},
	}
	for i, step := range steps {
		step.change()
		text.Reset()
		certs.reload(log)
		if got := certs.leaf().Subject.CommonName; got != step.name || !strings.Contains(text.String(), step.log) {
			t.Errorf("step %d: certificate %q, log %q, want %q and %q", i, got, &text, step.name, step.log)
		}
	}
	text.Reset()
	(*certificates)(nil).reload(log)
	if !strings.Contains(text.String(), "no certificates to read again") {
		t.Errorf("without TLS: log %q", &text)
	}
}

// Ensure that a client cannot fill the memory with a handshake, and that it may send more than that
// after the handshake.
func TestTLSListener_HandshakeSize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := tlsConfig{enabled: true, auth: "no", files: certificateFiles{
		certificate: filepath.Join(dir, "cert"), key: filepath.Join(dir, "key"),
	}}
	writePair(t, c.files.certificate, c.files.key, "server", time.Now().Add(time.Hour))
	certs, err := loadCertificates(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := newTLSListener(below, c, certs)
	defer ln.Close()

	// A hello of nearly 64 KiB, the most its header can say, in records of 16 KiB.
	hello := []byte{1, 0, 0xff, 0xf0}
	hello = append(hello, make([]byte, 0xfff0)...)
	var records []byte
	for part := range slices.Chunk(hello, 16<<10) {
		records = append(records, 0x16, 3, 1, byte(len(part)>>8), byte(len(part)))
		records = append(records, part...)
	}
	served := accept(t, ln, func(nc net.Conn) error {
		return nc.(*tlsConn).HandshakeContext(context.Background())
	})
	nc, err := net.Dial("tcp", below.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = nc.Write(records) // the server may close before it has them all
	if err := <-served; !errors.Is(err, errHandshakeSize) {
		t.Errorf("a hello of 64 KiB: %v, want %v", err, errHandshakeSize)
	}

	served = accept(t, ln, func(nc net.Conn) error {
		if err := nc.(*tlsConn).HandshakeContext(context.Background()); err != nil {
			return err
		}
		_, err := io.CopyN(io.Discard, nc, 4*handshakeSize)
		return err
	})
	client, err := tls.Dial("tcp", below.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write(make([]byte, 4*handshakeSize)); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("after the handshake: %v", err)
	}
}

// patience is how long tests wait for others before they fail.
const patience = 20 * time.Second

// accept serves one connection with fn, for a bounded time, and then closes it.
func accept(t *testing.T, ln net.Listener, fn func(net.Conn) error) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			result <- err
			return
		}
		defer nc.Close()
		if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
			result <- err
			return
		}
		result <- fn(nc)
	}()
	return result
}
