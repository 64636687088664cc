package server

import (
	"bytes"
	"cmp"
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
	// apply tells others of a value that was set. It may be nil.
	apply func(*Server, []byte)
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
		{
			name: "requirepass", get: func(s Settings) string { return s.Password }, set: setPassword,
			apply: func(s *Server, v []byte) { s.acl.setDefaultPassword(v) },
		},
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
		byteParameter("proto-max-bulk-len", 1<<20, 512<<20, func(s *Settings) *int { return &s.MaxBulk }),
		byteParameter("client-query-buffer-limit", 1<<20, math.MaxInt32, func(s *Settings) *int { return &s.QueryBuffer }),
		{name: "client-output-buffer-limit", get: outputLimits, set: setOutputLimits},
		{name: "databases", get: fixed(strconv.Itoa(databases)), refusal: immutable},
		{name: "dir", get: func(s Settings) string { return s.Dir }, refusal: protected},
		{name: "bind", get: func(s Settings) string { return strings.Join(s.Bind, " ") }},
		{
			name:  "port",
			get:   func(s Settings) string { return strconv.Itoa(s.Port) },
			check: integer(0, math.MaxUint16),
		},
		{name: "aclfile", get: func(s Settings) string { return s.ACLFile }, refusal: immutable},
		{name: "unixsocket", get: func(s Settings) string { return s.UnixSocket }, refusal: immutable},
		{
			name:  "loglevel",
			get:   func(s Settings) string { return s.LogLevel },
			check: oneOf("debug", "verbose", "notice", "warning"),
		},
		{name: "durability", get: func(s Settings) string { return s.Durability }},
		{name: "appendfsync", get: appendfsync, check: oneOf("everysec", "always", "no")},
	}, append(tlsParameters(), inertParameters()...)...)
}

// tlsParameters are fixed while the server runs. Redis lets them change.
func tlsParameters() []parameter {
	return []parameter{
		{
			name:  "tls-port",
			get:   func(s Settings) string { return strconv.Itoa(s.TLS.Port) },
			check: integer(0, math.MaxUint16),
		},
		{name: "tls-cert-file", get: func(s Settings) string { return s.TLS.CertFile }},
		{name: "tls-key-file", get: func(s Settings) string { return s.TLS.KeyFile }},
		{name: "tls-ca-cert-file", get: func(s Settings) string { return s.TLS.CACertFile }},
		{name: "tls-ca-cert-dir", get: func(s Settings) string { return s.TLS.CACertDir }},
		{
			name:  "tls-auth-clients",
			get:   func(s Settings) string { return cmp.Or(s.TLS.AuthClients, "yes") },
			check: oneOf("no", "yes", "optional"),
		},
	}
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
		{name: "protected-mode", get: fixed("yes"), check: yesOrNo},
		{name: "replica-read-only", get: fixed("yes"), check: yesOrNo},
		{name: "slave-read-only", get: fixed("yes"), check: yesOrNo},
		{name: "replicaof", get: fixed(""), refusal: immutable},
		{name: "slaveof", get: fixed(""), refusal: immutable},
		{name: "tcp-keepalive", get: fixed("15"), check: integer(0, math.MaxInt32)}, // Go's default
		{name: "cluster-enabled", get: fixed("no"), refusal: immutable},
		{name: "enable-debug-command", get: fixed("no"), refusal: immutable},
		{name: "daemonize", get: fixed("no"), refusal: immutable},
		{name: "acllog-max-len", get: fixed(strconv.Itoa(aclLogSize)), check: integer(0, math.MaxInt32)},
		{name: "acl-pubsub-default", get: fixed("resetchannels"), check: oneOf("allchannels", "resetchannels")},
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

// parseBytes reads an amount of memory as redis.conf spells it: 1024, 64k, 64kb, 1mb, 1g.
func parseBytes(v []byte) (int64, error) {
	digits := bytes.TrimRight(v, "bBkKmMgG")
	n, ok := parseInt(digits)
	factor, known := map[string]int64{
		"": 1, "b": 1, "k": 1e3, "kb": 1 << 10, "m": 1e6, "mb": 1 << 20, "g": 1e9, "gb": 1 << 30,
	}[strings.ToLower(string(v[len(digits):]))]
	if !ok || !known || n < 0 || n > math.MaxInt64/factor {
		return 0, settingError("argument must be a memory value")
	}
	return n * factor, nil
}

// outputLimits and setOutputLimits are client-output-buffer-limit: classes of clients, each
// with a hard limit, a soft one and the seconds it may be exceeded. Replies are sent as
// they are made, so ordinary clients have a hard limit only.
func outputLimits(s Settings) string { return fmt.Sprintf("normal %d 0 0", s.OutputBuffer) }

func setOutputLimits(s *Settings, v []byte) error {
	words := strings.Fields(string(v))
	if len(words) != 4 || words[0] != "normal" || words[2] != "0" || words[3] != "0" {
		return settingError("argument must be: normal <bytes> 0 0")
	}
	n, err := parseBytes([]byte(words[1]))
	if err != nil || n < pipelineBuffer || n > math.MaxInt32 {
		return settingError(fmt.Sprintf("the hard limit must be between %d and %d inclusive", pipelineBuffer, math.MaxInt32))
	}
	s.OutputBuffer = int(n)
	return nil
}

// setPassword keeps the rule of the start: who listens beyond loopback has a password, or
// lets nobody in without a certificate.
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

// hiddenPassword is what CONFIG GET requirepass answers when there is one. Redis answers
// the password, which it keeps for this alone; here nothing but its hash is kept.
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
