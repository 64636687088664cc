package server

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sessiond/sessiond/server/acl"
	"github.com/sessiond/sessiond/server/resp"
)

// parameter is one name of CONFIG.
type parameter struct {
	name string
	get  func(Settings) string
	// set changes the value. Nil means that it is fixed while the server runs.
	set func(*Settings, []byte) error
	// fits returns an error if this server cannot change from the present settings to the next
	// ones. It may be nil.
	fits func(s *Server, now, next Settings) error
	// apply puts a value that was set into force. It may be nil.
	apply func(c *call, value []byte)
	// check refuses a value that Redis would refuse, with Redis' error. It may be nil.
	check func([]byte) error
	// refusal is Redis' error for a parameter that cannot be changed in Redis, either. Without a
	// refusal, a fixed parameter may be "set" to the value that it has already.
	refusal string
	// why is added to the error if the parameter is fixed here and can be changed in Redis.
	why string
}

const (
	immutable = "can't set immutable config"
	protected = "can't set protected config"
)

// Reasons that several parameters share.
const (
	atStart    = "it is chosen at the start"
	onDisk     = "sessions are on disk and none is evicted, memory is bounded at the start"
	noReplicas = "there are no replicas"
)

// parameters returns every parameter of CONFIG, spelled as in redis.conf: those that clients and tools
// ask for and those that are true of this server. Redis' other parameters are unknown here.
func parameters(databases int) []parameter {
	return append([]parameter{
		{
			name: "requirepass", get: func(s Settings) string { return s.Password }, set: setPassword,
			apply: func(c *call, v []byte) { c.srv.acl.SetDefaultPassword(v) },
		},
		{
			name: "maxclients",
			get:  func(s Settings) string { return strconv.Itoa(s.MaxClients) },
			set: func(s *Settings, v []byte) error {
				n, err := parseSetting(v, 1, math.MaxUint32)
				s.MaxClients = int(min(n, math.MaxInt))
				return err
			},
			fits: func(s *Server, _, next Settings) error {
				if next.MaxClients > s.sockets {
					return settingError(fmt.Sprintf("The operating system is not able to handle the specified number of clients, try with %d", s.sockets))
				}
				return nil
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
			apply: func(c *call, _ []byte) { c.srv.each((*conn).wake) },
		},
		keepAliveParameter(),
		byteParameter("proto-max-bulk-len", 1<<20, 512<<20, func(s *Settings) *int { return &s.MaxBulk }),
		byteParameter("client-query-buffer-limit", 1<<20, math.MaxInt32, func(s *Settings) *int { return &s.QueryBuffer }),
		{
			name: "client-output-buffer-limit",
			get:  func(s Settings) string { return s.OutputLimits.String() },
			set:  setOutputLimits,
		},
		{name: "databases", get: fixed(strconv.Itoa(databases)), refusal: immutable},
		{name: "dir", get: func(s Settings) string { return s.Dir }, refusal: protected},
		{name: "bind", get: func(s Settings) string { return strings.Join(s.Bind, " ") }, why: atStart},
		{
			name:  "port",
			get:   func(s Settings) string { return strconv.Itoa(s.Port) },
			check: integer(0, math.MaxUint16), why: atStart,
		},
		{name: "aclfile", get: func(s Settings) string { return s.ACLFile }, refusal: immutable},
		{name: "unixsocket", get: func(s Settings) string { return s.UnixSocket }, refusal: immutable},
		{
			name: "loglevel",
			get:  func(s Settings) string { return s.LogLevel },
			set:  setLogLevel, fits: logLevelFits, apply: applyLogLevel,
		},
		{
			name: "durability", get: func(s Settings) string { return s.Durability },
			set: setDurability, apply: applyDurability,
		},
		{
			name: "appendfsync", get: appendfsync,
			set: setAppendfsync, apply: applyDurability,
		},
	}, append(tlsParameters(), inertParameters()...)...)
}

// tlsParameters are fixed while the server runs. In Redis they can be changed.
func tlsParameters() []parameter {
	return []parameter{
		{
			name:  "tls-port",
			get:   func(s Settings) string { return strconv.Itoa(s.TLS.Port) },
			check: integer(0, math.MaxUint16), why: atStart,
		},
		{name: "tls-cert-file", get: func(s Settings) string { return s.TLS.CertFile }, why: atStart},
		{name: "tls-key-file", get: func(s Settings) string { return s.TLS.KeyFile }, why: atStart},
		{name: "tls-ca-cert-file", get: func(s Settings) string { return s.TLS.CACertFile }, why: atStart},
		{name: "tls-ca-cert-dir", get: func(s Settings) string { return s.TLS.CACertDir }, why: atStart},
		{
			name:  "tls-auth-clients",
			get:   func(s Settings) string { return cmp.Or(s.TLS.AuthClients, "yes") },
			check: oneOf("no", "yes", "optional"), why: atStart,
		},
	}
}

// inertParameters have one value, which is true of every sessiond. A client may "set" them to that
// value; any other value is an error, because it would have no effect.
func inertParameters() []parameter {
	return []parameter{
		{name: "appendonly", get: fixed("yes"), check: yesOrNo, why: "every change is written to disk"},
		{name: "save", get: fixed(""), why: "every change is written to disk, there are no snapshots"},
		{name: "maxmemory", get: fixed("0"), why: onDisk},
		{
			name: "maxmemory-policy", get: fixed("noeviction"),
			check: oneOf("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
				"allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"),
			why: onDisk,
		},
		{name: "notify-keyspace-events", get: fixed(""), why: "there are no keyspace events"},
		{name: "protected-mode", get: fixed("yes"), check: yesOrNo, why: "beyond loopback nobody is served without a password"},
		{name: "replica-read-only", get: fixed("yes"), check: yesOrNo, why: noReplicas},
		{name: "slave-read-only", get: fixed("yes"), check: yesOrNo, why: noReplicas},
		{name: "replicaof", get: fixed(""), refusal: immutable},
		{name: "slaveof", get: fixed(""), refusal: immutable},
		{name: "cluster-enabled", get: fixed("no"), refusal: immutable},
		{name: "enable-debug-command", get: fixed("no"), refusal: immutable},
		{name: "daemonize", get: fixed("no"), refusal: immutable},
		{name: "acllog-max-len", get: fixed(strconv.Itoa(acl.LogSize)), check: integer(0, math.MaxInt32), why: "the log has one size"},
		{name: "acl-pubsub-default", get: fixed("resetchannels"), check: oneOf("allchannels", "resetchannels"), why: "a new user may use no channel"},
	}
}

// byteParameter is a number of bytes between low and high.
func byteParameter(name string, low, high int64, field func(*Settings) *int) parameter {
	return parameter{
		name: name,
		get:  func(s Settings) string { return strconv.Itoa(*field(&s)) },
		set: func(s *Settings, v []byte) error {
			n, err := parseBytes(v)
			if err != nil {
				return err
			}
			if n < low || n > high {
				return settingError(fmt.Sprintf("argument must be between %d and %d inclusive", low, high))
			}
			*field(s) = int(n)
			return nil
		},
	}
}

// parseBytes reads an amount of memory for CONFIG SET.
func parseBytes(v []byte) (int64, error) {
	n, ok := parseMemory(string(v))
	if !ok || n > math.MaxInt64 {
		return 0, settingError("argument must be a memory value")
	}
	return int64(n), nil
}

// parseMemory reads an amount of memory as redis.conf spells it: 1024, 64k, 64kb, 1mb, 1g. ok
// is false if it does not fit into 64 bits, which Redis does not check.
func parseMemory(text string) (n uint64, ok bool) {
	digits := strings.TrimRight(text, "bBkKmMgG")
	factor, known := map[string]uint64{
		"": 1, "b": 1, "k": 1e3, "kb": 1 << 10, "m": 1e6, "mb": 1 << 20, "g": 1e9, "gb": 1 << 30,
	}[strings.ToLower(text[len(digits):])]
	n, err := strconv.ParseUint(digits, 10, 64) // no sign
	if !known || err != nil || n > math.MaxUint64/factor {
		return 0, false
	}
	return n * factor, true
}

// setPassword applies the same rule as the start of the program: a server that listens beyond
// loopback needs a password, unless every client needs a certificate.
func setPassword(s *Settings, v []byte) error {
	if len(v) == 0 && s.public() {
		return settingError("a server that listens beyond loopback needs a password")
	}
	if string(v) == hiddenPassword {
		return settingError("that is what CONFIG GET shows in place of the password")
	}
	s.Password = hidePassword(string(v))
	return nil
}

// hiddenPassword is the reply to CONFIG GET requirepass if there is a password. Redis returns the
// password itself; here only its hash is kept.
const hiddenPassword = "(hidden)"

func hidePassword(password string) string {
	if password == "" {
		return ""
	}
	return hiddenPassword
}

// public reports whether another machine can connect without a certificate.
func (s *Settings) public() bool {
	if s.Port == 0 && s.TLS.Port != 0 && s.TLS.AuthClients == "yes" {
		return false
	}
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

// parseSetting reads an integer between low and high.
func parseSetting(value []byte, low, high int64) (int64, error) {
	n, ok := resp.ParseInt(value)
	if !ok {
		return 0, settingError("argument couldn't be parsed into an integer")
	}
	if n < low || n > high {
		return 0, settingError(fmt.Sprintf("argument must be between %d and %d inclusive", low, high))
	}
	return n, nil
}

// settingError says why a value was refused. CONFIG SET adds the name of the parameter.
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

// assign changes the value in s, or returns the reason why it cannot be changed.
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
	if p.why != "" {
		return settingError(immutable + ": " + p.why)
	}
	return settingError(immutable)
}
