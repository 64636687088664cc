package compat_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a CA with a folder for what it signs.
type authority struct {
	t    *testing.T
	dir  string
	file string // its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// pair is a certificate and its key, as PEM files.
type pair struct{ cert, key string }

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert = &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	a.file = a.issue(a.cert, "ca").cert
	return a
}

// server issues a certificate for loopback, in files that begin with name.
func (a *authority) server(name string) pair {
	a.t.Helper()
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:    []string{"localhost"},
	}, name)
}

// client issues a certificate for a client, valid until then.
func (a *authority) client(name string, until time.Time) pair {
	a.t.Helper()
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		NotBefore:   time.Now().Add(-2 * time.Hour),
		NotAfter:    until,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, name)
}

// issue signs a certificate, with its own key if the authority has none yet.
func (a *authority) issue(template *x509.Certificate, name string) pair {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	if a.key == nil {
		a.key = key
	}
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	must(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	must(a.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(a.t, err)
	p := pair{filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")}
	must(a.t, os.WriteFile(p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(a.t, os.WriteFile(p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return p
}

// replace puts the files of another pair in the place of p.
func (p pair) replace(t *testing.T, other pair) {
	t.Helper()
	must(t, os.Rename(other.cert, p.cert))
	must(t, os.Rename(other.key, p.key))
}

// config is that of a client which trusts a alone and shows these certificates.
func (a *authority) config(show ...pair) *tls.Config {
	a.t.Helper()
	text, err := os.ReadFile(a.file)
	must(a.t, err)
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(text) {
		a.t.Fatalf("%s holds no certificate", a.file)
	}
	for _, p := range show {
		cert, err := tls.LoadX509KeyPair(p.cert, p.key)
		must(a.t, err)
		c.Certificates = append(c.Certificates, cert)
	}
	return c
}
