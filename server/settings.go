package server

import (
	"sync"
	"time"
)

// Settings are the directives of redis.conf that a Server works with or tells about.
type Settings struct {
	Password    string        // requirepass; "" asks for none
	MaxClients  int           // zero means 10000
	IdleTimeout time.Duration // timeout; zero means connections may idle forever
	Dir         string        // the data folder
	Bind        []string      // addresses listened on
	Port        int           // the TCP port, 0 if there is none
	UnixSocket  string        // the path of the Unix socket, "" if there is none
	Durability  string        // session, strict or everysec; "" means session
	LogLevel    string        // debug, verbose, notice or warning; "" means notice
	ConfigFile  string        // the configuration file, "" if there is none
}

// settings holds the present values behind CONFIG. It is safe for concurrent use.
type settings struct {
	known []parameter

	mu  sync.RWMutex
	now Settings
}

func newSettings(initial Settings, databases int) *settings {
	if initial.MaxClients == 0 {
		initial.MaxClients = 10000
	}
	if initial.Durability == "" {
		initial.Durability = "session"
	}
	if initial.LogLevel == "" {
		initial.LogLevel = "notice"
	}
	return &settings{known: parameters(databases), now: initial}
}

func (s *settings) get() Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

// change applies fn to the values, all of it or, if fn returns an error, nothing.
func (s *settings) change(fn func(*Settings) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.now
	if err := fn(&next); err != nil {
		return err
	}
	s.now = next
	return nil
}

func (s *settings) password() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now.Password
}

func (s *settings) maxClients() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now.MaxClients
}

func (s *settings) idle() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now.IdleTimeout
}
