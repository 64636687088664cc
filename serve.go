package sessiond

import (
	"cmp"
	"errors"
	"net"
	"slices"

	"github.com/sessiond/sessiond/internal/aclfile"
	"github.com/sessiond/sessiond/server"
	"github.com/sessiond/sessiond/server/acl"
)

// Serve answers Redis clients that connect to the listeners, which it closes. It returns
// ErrServerClosed after Shutdown or Close. If a listener fails, Serve closes the others
// and returns the error; clients that are connected stay.
//
// Serve trusts the network as far as the listeners reach: give a listener that others can
// connect to a Password.
//
// A listener may encrypt, as those of crypto/tls do. If it has a method TLS() TLS, CONFIG GET shows the
// result.
func (s *Store) Serve(listeners ...net.Listener) error {
	if len(listeners) == 0 {
		return errors.New("serve: no listener")
	}
	srv := s.startServing(listeners)
	if srv == nil {
		closeAll(listeners)
		return ErrServerClosed
	}
	results := make(chan error, len(listeners))
	for _, ln := range listeners {
		go func() { results <- srv.Serve(ln) }()
	}
	var first error // the other errors follow from it
	for range listeners {
		if err := <-results; first == nil {
			first = err
			closeAll(listeners)
		}
	}
	return first
}

// TLS is what CONFIG GET shows of an encrypted listener, in the words of redis.conf.
type TLS struct {
	Port        int    // the TCP port
	CertFile    string // the server's certificate
	KeyFile     string // the private key of the server
	CACertFile  string // certificates of the authorities that may sign a client's certificate
	CACertDir   string // a folder of such certificates
	AuthClients string // whether a client needs a certificate: yes, no or optional
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		_ = ln.Close() // it may be closed already
	}
}

// startServing returns the server, or nil after Shutdown. The first call creates the server.
func (s *Store) startServing(listeners []net.Listener) *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shutDown {
		return nil
	}
	if s.server == nil {
		s.server = server.New(server.Config{
			Keyspace:  s.keyspace,
			Databases: s.options.Databases,
			Users:     s.users,
			Renames:   s.renames,
			ACLFile:   s.aclFile(),
			Settings:  s.settings(listeners),
			Version:   Version,
			Backup:    s.save,
			Stop:      s.options.OnShutdown,
			Logger:    s.options.Logger,
			LogLevel:  s.options.LogLevel,
		})
		s.options.Password = "" // the server keeps its hash
	}
	return s.server
}

// aclFile returns the file of the users, nil if there is none.
func (s *Store) aclFile() acl.File {
	if s.options.ACLFile == "" {
		return nil
	}
	return aclfile.Path(s.options.ACLFile)
}

// stopServing refuses any later Serve and returns the server, or nil if there is none.
func (s *Store) stopServing() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shutDown = true
	return s.server
}

// settings returns the values of CONFIG GET.
func (s *Store) settings(listeners []net.Listener) server.Settings {
	settings := server.Settings{
		Password:     s.options.Password,
		MaxClients:   s.options.MaxClients,
		MaxBulk:      s.options.MaxBulk,
		QueryBuffer:  s.options.QueryBuffer,
		OutputLimits: s.options.OutputLimits,
		IdleTimeout:  s.options.IdleTimeout,
		TCPKeepAlive: s.options.TCPKeepAlive,
		Dir:          s.dir,
		ACLFile:      s.options.ACLFile,
		Durability:   s.options.Durability.String(),
		LogLevel:     server.LogLevelName(s.options.Logger),
	}
	for _, ln := range listeners {
		encrypted, ok := ln.(interface{ TLS() TLS })
		if ok {
			settings.TLS = server.TLSSettings(encrypted.TLS())
		}
		switch addr := ln.Addr().(type) {
		case *net.TCPAddr:
			if ip := addr.IP.String(); !slices.Contains(settings.Bind, ip) {
				settings.Bind = append(settings.Bind, ip)
			}
			if !ok {
				settings.Port = cmp.Or(settings.Port, addr.Port)
			}
		case *net.UnixAddr:
			settings.UnixSocket = addr.Name
		}
	}
	return settings
}
