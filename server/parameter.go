package server

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// parameter is one name of CONFIG.
type parameter struct {
	name string
	get  func(Settings) string
	// set changes the value. Nil means that it is fixed while the server runs.
	set func(*Settings, []byte) error
	// check refuses what Redis would not take for a value, in its words. It may be nil.
	check func([]byte) error
	// refusal is why a parameter that Redis never lets change is not set. Without it, a
	// fixed parameter may be "set" to the value it has already.
	refusal string
}

const (
	immutable = "can't set immutable config"
	protected = "can't set protected config"
)

// parameters returns every name CONFIG knows, spelled as in redis.conf. It holds what
// clients and tools ask for and what is true of this server; Redis' other names are
// unknown here.
func parameters(databases int) []parameter {
	return append([]parameter{
		{name: "requirepass", get: func(s Settings) string { return s.Password }, set: setPassword},
		{
			name: "maxclients",
			get:  func(s Settings) string { return strconv.Itoa(s.MaxClients) },
			set: func(s *Settings, v []byte) error {
				n, err := parseSetting(v, 1, math.MaxUint32)
				s.MaxClients = int(min(n, math.MaxInt))
				return err
			},
		},
		{
			name: "timeout",
			get:  func(s Settings) string { return strconv.Itoa(int(s.IdleTimeout / time.Second)) },
			set: func(s *Settings, v []byte) error {
				n, err := parseSetting(v, 0, math.MaxInt32)
				s.IdleTimeout = time.Duration(n) * time.Second
				return err
			},
		},
		{name: "databases", get: fixed(strconv.Itoa(databases)), refusal: immutable},
		{name: "dir", get: func(s Settings) string { return s.Dir }, refusal: protected},
		{name: "bind", get: func(s Settings) string { return strings.Join(s.Bind, " ") }},
		{
			name:  "port",
			get:   func(s Settings) string { return strconv.Itoa(s.Port) },
			check: integer(0, math.MaxUint16),
		},
		{name: "unixsocket", get: func(s Settings) string { return s.UnixSocket }, refusal: immutable},
		{
			name:  "loglevel",
			get:   func(s Settings) string { return s.LogLevel },
			check: oneOf("debug", "verbose", "notice", "warning"),
		},
		{name: "durability", get: func(s Settings) string { return s.Durability }},
		{name: "appendfsync", get: appendfsync, check: oneOf("everysec", "always", "no")},
	}, inertParameters()...)
}

// inertParameters have one value that is true of every sessiond. A client that "sets"
// them to it is right; nobody is told that another value was taken.
func inertParameters() []parameter {
	return []parameter{
		{name: "appendonly", get: fixed("yes"), check: yesOrNo},
		{name: "save", get: fixed("")},
		{name: "maxmemory", get: fixed("0")},
		{
			name: "maxmemory-policy", get: fixed("noeviction"),
			check: oneOf("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
				"allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"),
		},
		{name: "notify-keyspace-events", get: fixed("")},
		{name: "proto-max-bulk-len", get: fixed(strconv.Itoa(maxBulk))},
		{name: "protected-mode", get: fixed("yes"), check: yesOrNo},
		{name: "replica-read-only", get: fixed("yes"), check: yesOrNo},
		{name: "slave-read-only", get: fixed("yes"), check: yesOrNo},
		{name: "replicaof", get: fixed(""), refusal: immutable},
		{name: "slaveof", get: fixed(""), refusal: immutable},
		{name: "tcp-keepalive", get: fixed("15"), check: integer(0, math.MaxInt32)}, // Go's default
		{name: "cluster-enabled", get: fixed("no"), refusal: immutable},
		{name: "enable-debug-command", get: fixed("no"), refusal: immutable},
		{name: "daemonize", get: fixed("no"), refusal: immutable},
	}
}

// setPassword keeps the rule of the start: who listens beyond loopback has a password.
func setPassword(s *Settings, v []byte) error {
	if len(v) == 0 && s.public() {
		return settingError("a server that listens beyond loopback needs a password")
	}
	s.Password = string(v)
	return nil
}

// public reports whether an address listened on can be reached from another machine.
func (s *Settings) public() bool {
	for _, bind := range s.Bind {
		addr, err := netip.ParseAddr(strings.TrimPrefix(bind, "-"))
		if bind != "localhost" && (err != nil || !addr.IsLoopback()) {
			return true
		}
	}
	return false
}

func fixed(value string) func(Settings) string {
	return func(Settings) string { return value }
}

// appendfsync is the durability mode in Redis' words. Mode session keeps more than
// everysec promises and less than always.
func appendfsync(s Settings) string {
	if s.Durability == "strict" {
		return "always"
	}
	return "everysec"
}

// parseSetting reads an integer between low and high.
func parseSetting(value []byte, low, high int64) (int64, error) {
	n, ok := parseInt(value)
	if !ok {
		return 0, settingError("argument couldn't be parsed into an integer")
	}
	if n < low || n > high {
		return 0, settingError(fmt.Sprintf("argument must be between %d and %d inclusive", low, high))
	}
	return n, nil
}

// settingError is why a value was not taken; CONFIG SET adds the name.
type settingError string

func (e settingError) Error() string { return string(e) }

func integer(low, high int64) func([]byte) error {
	return func(value []byte) error {
		_, err := parseSetting(value, low, high)
		return err
	}
}

func yesOrNo(value []byte) error {
	if equalFold(value, "YES") || equalFold(value, "NO") {
		return nil
	}
	return settingError("argument must be 'yes' or 'no'")
}

func oneOf(words ...string) func([]byte) error {
	return func(value []byte) error {
		for _, word := range words {
			if strings.EqualFold(word, string(value)) {
				return nil
			}
		}
		return settingError("argument(s) must be one of the following: " + strings.Join(words, ", "))
	}
}

// assign changes the value in s, or says why it cannot be changed.
func (p *parameter) assign(s *Settings, value []byte) error {
	if p.set != nil {
		return p.set(s, value)
	}
	if p.check != nil {
		if err := p.check(value); err != nil {
			return err
		}
	}
	if p.refusal == "" && strings.EqualFold(p.get(*s), string(value)) {
		return nil
	}
	return settingError(immutable)
}
