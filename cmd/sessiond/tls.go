package main

import "github.com/spf13/pflag"

// tlsConfig is what the TLS flags ask for.
type tlsConfig struct {
	enabled bool // port is not 0
	port    uint16
	files   certificateFiles
	auth    string // whether a client needs a certificate: yes, no or optional
}

func (c *tlsConfig) addFlags(set *pflag.FlagSet) {
	set.Uint16Var(&c.port, "tls-port", 0,
		"TCP `port` for TLS, beside --port or, with --port 0, alone; 0 is none")
	set.StringVar(&c.files.certificate, "tls-cert-file", "", "`path` of the certificate, PEM; SIGHUP reads the files again")
	set.StringVar(&c.files.key, "tls-key-file", "", "`path` of its private key, PEM")
	set.StringVar(&c.files.ca, "tls-ca-cert-file", "", "`path` of the CA certificates for clients, PEM")
	set.StringVar(&c.files.caDir, "tls-ca-cert-dir", "", "`folder` of such files")
	set.StringVar(&c.auth, "tls-auth-clients", "",
		"`who` needs a client certificate: yes, no or optional (default yes with a CA, otherwise no)")
}

// checkTLS checks the TLS flags and fills in defaults. By default Redis requires a certificate of
// clients, and does not start without a CA to check it. Here a CA makes certificates required by
// default; without a CA they are off.
func (f *flags) checkTLS() (tlsConfig, error) {
	c := f.config.tls
	c.enabled = c.port != 0
	if !c.enabled {
		return c, f.refuseIdleTLS()
	}
	hasCA := c.files.ca != "" || c.files.caDir != ""
	if c.auth == "" {
		c.auth = "no"
		if hasCA {
			c.auth = "yes"
		}
	}
	switch {
	case c.files.certificate == "":
		return c, usagef("--tls-port: --tls-cert-file is needed, too")
	case c.files.key == "":
		return c, usagef("--tls-cert-file: --tls-key-file is needed, too")
	case c.auth != "yes" && c.auth != "no" && c.auth != "optional":
		return c, usagef("--tls-auth-clients %q is none of yes, no, optional", c.auth)
	case c.auth != "no" && !hasCA:
		return c, usagef("--tls-auth-clients %s: --tls-ca-cert-file or --tls-ca-cert-dir is needed, too", c.auth)
	case c.port == f.port:
		return c, usagef("--tls-port %d: --port is the same", c.port)
	case len(splitAddresses(f.bind)) == 0:
		return c, usagef("--tls-port: --bind has no address")
	}
	return c, nil
}

// refuseIdleTLS refuses TLS flags without a TLS port, because the operator expects encryption.
func (f *flags) refuseIdleTLS() error {
	for _, name := range []string{
		"tls-cert-file", "tls-key-file", "tls-ca-cert-file", "tls-ca-cert-dir", "tls-auth-clients",
	} {
		if f.set.Lookup(name).Value.String() != "" {
			return usagef("--%s: --tls-port is needed, too", name)
		}
	}
	return nil
}

// plain reports whether there is a port without TLS.
func (c config) plain() bool { return c.port != 0 }

// tcp reports whether there is a port at all.
func (c config) tcp() bool { return c.plain() || c.tls.enabled }

// needsCertificate reports whether every client needs a certificate, except those of the Unix socket.
func (c config) needsCertificate() bool { return !c.plain() && c.tls.auth == "yes" }
