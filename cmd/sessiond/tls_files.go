package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/sessiond/sessiond/ttl"
)

// certificateFiles are the paths of PEM files. Those of the CA may be empty.
type certificateFiles struct {
	certificate, key string
	ca               string
	caDir            string
}

// certificates is what the files held when they were last read without an error. It is
// safe for concurrent use.
type certificates struct {
	files certificateFiles
	auth  tls.ClientAuthType
	now   atomic.Pointer[tls.Config]
}

// loadCertificates reads the files of c; nil if TLS is off.
func loadCertificates(c tlsConfig, log *slog.Logger) (*certificates, error) {
	if !c.enabled {
		return nil, nil
	}
	certs := &certificates{files: c.files, auth: map[string]tls.ClientAuthType{
		"no":       tls.NoClientCert,
		"optional": tls.VerifyClientCertIfGiven,
		"yes":      tls.RequireAndVerifyClientCert,
	}[c.auth]}
	if err := certs.load(); err != nil {
		return nil, err
	}
	certs.warn(log)
	return certs, nil
}

// load reads the files. If it returns an error nothing changes.
//
// Each load creates a new tls.Config with new keys for session tickets, so that a client cannot resume a
// session that an earlier CA has allowed.
func (c *certificates) load() error {
	pair, err := c.files.pair()
	if err != nil {
		return err
	}
	cas, err := c.files.cas()
	if err != nil {
		return err
	}
	c.now.Store(&tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   c.auth,
		ClientCAs:    cas,
	})
	return nil
}

// config returns what new connections use.
func (c *certificates) config() *tls.Config { return c.now.Load() }

// reload reads the files again. Connections stay as they are. New ones get the new certificate, or the
// old one if the new one is wrong. A nil c has no files, and reload does nothing, as SIGHUP in Redis.
func (c *certificates) reload(log *slog.Logger) {
	if c == nil {
		log.Info("SIGHUP: there are no certificates to read again")
		return
	}
	if err := c.load(); err != nil {
		log.Error("SIGHUP: the old certificates stay in use", "err", err)
		return
	}
	log.Info("SIGHUP: certificates were read again", "valid_until", c.leaf().NotAfter)
	c.warn(log)
}

func (c *certificates) leaf() *x509.Certificate { return c.config().Certificates[0].Leaf }

// warn logs why clients may refuse the server's certificate.
func (c *certificates) warn(log *slog.Logger) {
	now := ttl.System.Now().Time()
	leaf := c.leaf()
	switch {
	case now.After(leaf.NotAfter):
		log.Warn("the certificate has expired; clients will refuse it", "valid_until", leaf.NotAfter)
	case now.Before(leaf.NotBefore):
		log.Warn("the certificate is not valid yet; clients will refuse it", "valid_from", leaf.NotBefore)
	}
}

// pair returns the server's certificate with its key.
func (f certificateFiles) pair() (tls.Certificate, error) {
	certPEM, err := os.ReadFile(f.certificate)
	if err != nil {
		return tls.Certificate{}, fileError("--tls-cert-file", f.certificate, err)
	}
	if _, err := parseCertificates(certPEM); err != nil {
		return tls.Certificate{}, fileError("--tls-cert-file", f.certificate, err)
	}
	keyPEM, err := os.ReadFile(f.key)
	if err != nil {
		return tls.Certificate{}, fileError("--tls-key-file", f.key, err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fileError("--tls-key-file", f.key, err)
	}
	return pair, nil
}

// cas returns the CA certificates that client certificates are checked with, or nil if none are given.
func (f certificateFiles) cas() (*x509.CertPool, error) {
	if f.ca == "" && f.caDir == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if f.ca != "" {
		list, err := readCertificates(f.ca)
		if err != nil {
			return nil, fileError("--tls-ca-cert-file", f.ca, err)
		}
		addAll(pool, list)
	}
	if f.caDir != "" {
		list, err := readFolder(f.caDir)
		if err != nil {
			return nil, fileError("--tls-ca-cert-dir", f.caDir, err)
		}
		addAll(pool, list)
	}
	return pool, nil
}

func addAll(pool *x509.CertPool, list []*x509.Certificate) {
	for _, cert := range list {
		pool.AddCert(cert)
	}
}

// readFolder returns the certificates in the files of a folder. The files may have any names, not only
// the hashes that OpenSSL needs. Files without certificates, such as revocation lists, are skipped.
func readFolder(dir string) ([]*x509.Certificate, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue // a folder, or a link to nowhere
		}
		list, err := readCertificates(path)
		if err != nil && !errors.Is(err, errNoCertificate) {
			return nil, fmt.Errorf("%s: %w", entry.Name(), err)
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil, errNoCertificate
	}
	return all, nil
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseCertificates(text)
}

var errNoCertificate = errors.New("no PEM certificate in it")

// parseCertificates returns the certificates among the PEM blocks of a file, at least one.
func parseCertificates(text []byte) (list []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, cert)
	}
	if len(list) == 0 {
		return nil, errNoCertificate
	}
	return list, nil
}

// fileError adds the flag to an error, and the path unless the error has it already.
func fileError(flag, path string, err error) error {
	var op *fs.PathError
	if errors.As(err, &op) && op.Path == path {
		err = op.Err
	}
	return fmt.Errorf("%s %s: %w", flag, path, err)
}
