package sessiond

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"

	"github.com/sessiond/sessiond/server"
)

// Serve answers Redis clients that connect to the listeners, which it closes. It returns
// ErrServerClosed after Shutdown or Close. If a listener fails, Serve closes the others
// and returns the error; clients that are connected stay.
//
// Serve trusts the network as far as the listeners reach: give a listener that others can
// connect to a Password.
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
	var first error // the reason of the others
	for range listeners {
		if err := <-results; first == nil {
			first = err
			closeAll(listeners)
		}
	}
	return first
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		_ = ln.Close() // it may be closed already
	}
}

// startServing returns the server, which the first call makes, or nil after Shutdown.
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
			Settings:  s.settings(listeners),
			Version:   Version,
			Stop:      s.options.OnShutdown,
			Logger:    s.options.Logger,
		})
	}
	return s.server
}

// stopServing refuses any later Serve and returns the server, or nil if there is none.
func (s *Store) stopServing() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shutDown = true
	return s.server
}

// settings returns what CONFIG GET tells clients.
func (s *Store) settings(listeners []net.Listener) server.Settings {
	settings := server.Settings{
		Password:    s.options.Password,
		MaxClients:  s.options.MaxClients,
		IdleTimeout: s.options.IdleTimeout,
		Dir:         s.dir,
		Durability:  s.options.Durability.String(),
		LogLevel:    levelName(s.options.Logger),
	}
	for _, ln := range listeners {
		switch addr := ln.Addr().(type) {
		case *net.TCPAddr:
			settings.Bind = append(settings.Bind, addr.IP.String())
			settings.Port = cmp.Or(settings.Port, addr.Port)
		case *net.UnixAddr:
			settings.UnixSocket = addr.Name
		}
	}
	return settings
}

// levelName returns Redis' name for what the logger lets through.
func levelName(log *slog.Logger) string {
	ctx := context.Background()
	switch {
	case log.Enabled(ctx, slog.LevelDebug):
		return "debug"
	case log.Enabled(ctx, slog.LevelInfo-1):
		return "verbose"
	case log.Enabled(ctx, slog.LevelInfo):
		return "notice"
	default:
		return "warning"
	}
}
