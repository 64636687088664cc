package server

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessiond/sessiond/server/resp"
)

// Settings are the directives of redis.conf that a Server uses or shows.
type Settings struct {
	Password    string        // requirepass; "" asks for none, and New keeps only a hash
	MaxClients  int           // zero means 10000
	IdleTimeout time.Duration // timeout; zero means connections may idle forever
	// TCPKeepAlive is tcp-keepalive: a connection that was silent for so long is probed. Zero means
	// 300 seconds; a negative value means never.
	TCPKeepAlive time.Duration
	Dir          string   // the data folder
	Bind         []string // addresses listened on
	Port         int      // the TCP port, 0 if there is none
	UnixSocket   string   // the path of the Unix socket, "" if there is none
	Durability   string   // session, strict or everysec; "" means session
	LogLevel     string   // debug, verbose, notice or warning; "" means notice
	ConfigFile   string   // the configuration file, "" if there is none
	ACLFile      string   // aclfile, "" if there is none
	TLS          TLSSettings

	// Limits of one client, in bytes.
	MaxBulk      int          // proto-max-bulk-len: one argument, one value; zero means 64 MiB
	QueryBuffer  int          // client-query-buffer-limit: one command or transaction; zero means 256 MiB
	OutputLimits OutputLimits // client-output-buffer-limit: replies not sent
}

// TLSSettings describe an encrypted listener for CONFIG GET. The server does not use them.
type TLSSettings struct {
	Port        int    // tls-port, 0 if there is none
	CertFile    string // tls-cert-file
	KeyFile     string // tls-key-file
	CACertFile  string // tls-ca-cert-file
	CACertDir   string // tls-ca-cert-dir
	AuthClients string // tls-auth-clients: yes, no or optional
}

const (
	defaultBulk  = 64 << 20
	defaultQuery = 256 << 20
)

// settings holds the present values behind CONFIG. It is safe for concurrent use.
type settings struct {
	known []parameter

	turn sync.Mutex // held by CONFIG SET until its values are applied; turn -> mu

	mu  sync.RWMutex
	now Settings

	current atomic.Pointer[bounds] // of now
}

func newSettings(initial Settings, databases int) *settings {
	initial.Password = hidePassword(initial.Password)
	if initial.MaxClients == 0 {
		initial.MaxClients = 10000
	}
	if initial.Durability == "" {
		initial.Durability = "session"
	}
	if initial.LogLevel == "" {
		initial.LogLevel = "notice"
	}
	initial.MaxBulk = cmp.Or(initial.MaxBulk, defaultBulk)
	initial.TCPKeepAlive = keepAliveSetting(initial.TCPKeepAlive)
	initial.QueryBuffer = cmp.Or(initial.QueryBuffer, defaultQuery)
	s := &settings{known: parameters(databases), now: initial}
	s.publish()
	return s
}

func (s *settings) get() Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

// change applies fn to the values. If fn returns an error nothing changes.
func (s *settings) change(fn func(*Settings) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.now
	if err := fn(&next); err != nil {
		return err
	}
	s.now = next
	s.publish()
	return nil
}

func (s *settings) maxClients() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now.MaxClients
}

func (s *settings) keepAlive() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now.TCPKeepAlive
}

func (s *settings) maxBulk() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now.MaxBulk
}

// bounds are the settings that a connection reads before it waits for its client.
type bounds struct {
	idle   time.Duration
	input  resp.Limits
	output outputBounds
}

// bounds takes no lock, because every connection calls it each time it waits.
func (s *settings) bounds() bounds { return *s.current.Load() }

// publish is called when now has changed.
func (s *settings) publish() {
	s.current.Store(&bounds{
		idle:   s.now.IdleTimeout,
		input:  resp.Limits{Bulk: s.now.MaxBulk, Query: s.now.QueryBuffer},
		output: s.now.OutputLimits.bounds(),
	})
}
