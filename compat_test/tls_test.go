package compat_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	redis9 "github.com/redis/go-redis/v9"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// handshakeTime is how long sessiond lets a handshake take.
const handshakeTime = 10 * time.Second

// secured is a sessiond that listens with TLS.
type secured struct {
	*proc.Process
	t     *testing.T
	ca    *authority
	cert  pair
	plain string // address, "" if there is none
	addr  string // address of the TLS port
}

// startTLS runs sessiond with a certificate of a new CA. Args are further flags, in which
// $CA stands for the CA's own certificate; without --port there is no plain one, and without
// --bind it is 127.0.0.1 that it listens on.
func startTLS(t *testing.T, args ...string) *secured {
	t.Helper()
	proc.OnlySessiond(t)
	s := &secured{t: t, ca: newAuthority(t, "CA")}
	s.cert = s.ca.server("server")
	for i, arg := range args {
		if arg == "$CA" {
			args[i] = s.ca.file
		}
	}
	if !slices.Contains(args, "--bind") {
		args = append(args, "--bind", "127.0.0.1")
	}
	s.Process = proc.Sessiond(t, append([]string{
		"--port", "0", "--tls-port", proc.FreePort(t), "--dir", t.TempDir(),
		"--tls-cert-file", s.cert.cert, "--tls-key-file", s.cert.key,
	}, args...)...)
	s.launch()
	return s
}

var addresses = regexp.MustCompile(`listening on (?:([^ ;,]+), )?([^ ;,]+) \(TLS\); `)

// launch starts the process, killed before or not, and reads its addresses.
func (s *secured) launch() {
	s.t.Helper()
	before := s.Stdout.Lines()
	s.Start()
	proc.Eventually(s.t, func() error {
		switch {
		case s.Ended():
			s.t.Fatalf("exit code %d before it listened:\n%s", s.ExitCode(), s.Log())
		case s.Stdout.Lines() == before:
			return fmt.Errorf("it does not say where it listens:\n%s", s.Log())
		}
		return nil
	})
	m := addresses.FindStringSubmatch(s.Stdout.String())
	if m == nil {
		s.t.Fatalf("stdout %q does not name a TLS address", s.Stdout)
	}
	s.plain, s.addr = m[1], m[2]
}

// dial opens an encrypted connection.
func (s *secured) dial(config *tls.Config) (*tls.Conn, error) {
	conn, err := tls.Dial("tcp", s.addr, config)
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn, conn.SetDeadline(time.Now().Add(2 * proc.Patience))
}

// ask sends one command and reads its reply. With TLS 1.3 a client hears only then that
// its certificate was refused.
func ask(conn net.Conn, args ...string) (string, error) {
	if _, err := io.WriteString(conn, proc.Command(args...)); err != nil {
		return "", err
	}
	return proc.ReadReply(bufio.NewReader(conn))
}

// once asks on a connection of its own.
func (s *secured) once(config *tls.Config, args ...string) (string, error) {
	conn, err := s.dial(config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return ask(conn, args...)
}

func (s *secured) want(config *tls.Config, want string, args ...string) {
	s.t.Helper()
	if got, err := s.once(config, args...); err != nil || got != want {
		s.t.Errorf("%q = %q, %v, want %q", args, got, err, want)
	}
}

// Ensure that a plain port and TLS serve the same sessions, that the ready line names
// both, and that CONFIG GET answers as it does in Redis.
func TestTLS_BesidePlain(t *testing.T) {
	t.Parallel()
	port := proc.FreePort(t)
	s := startTLS(t, "--port", port)
	if s.plain != "127.0.0.1:"+port {
		t.Fatalf("stdout %q does not name the plain port", s.Stdout)
	}
	if got := once(t, s.plain, "SET", "k", "v"); got != "+OK\r\n" {
		t.Errorf("SET = %q", got)
	}
	s.want(s.ca.config(), proc.Bulk("v"), "GET", "k")
	_, tlsPort, err := net.SplitHostPort(s.addr)
	must(t, err)
	for name, value := range map[string]string{
		"port": port, "bind": "127.0.0.1", "tls-port": tlsPort, "tls-cert-file": s.cert.cert,
		"tls-key-file": s.cert.key, "tls-ca-cert-file": "", "tls-ca-cert-dir": "", "tls-auth-clients": "no",
	} {
		s.want(s.ca.config(), "*2\r\n"+proc.Bulk(name)+proc.Bulk(value), "CONFIG", "GET", name)
	}
	s.Signal(syscall.SIGTERM)
	wantExit(t, s.Process, 0)
}

// Ensure that --port 0 beside a TLS port leaves TLS alone, on a port chosen by the system
// where the address says 0, and that old versions of TLS are refused there.
func TestTLS_Only(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--bind", "127.0.0.1:0")
	if s.plain != "" || strings.Contains(s.Stdout.String(), ",") {
		t.Errorf("stdout %q names more than the TLS port", s.Stdout)
	}
	s.want(s.ca.config(), "*2\r\n"+proc.Bulk("port")+proc.Bulk("0"), "CONFIG", "GET", "port")
	old := s.ca.config()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if got, err := s.once(old, "PING"); err == nil {
		t.Errorf("TLS 1.1: PING = %q, want an end", got)
	}
	two := s.ca.config()
	two.MaxVersion = tls.VersionTLS12
	s.want(two, "+PONG\r\n", "PING")
}

// Ensure that whoever must show a certificate is let in with a good one only, whatever the
// version of TLS, and that an address others can reach then needs no password.
func TestTLS_ClientCertificates(t *testing.T) {
	t.Parallel()
	required := startTLS(t, "--bind", "0.0.0.0", "--tls-ca-cert-file", "$CA")
	optional := startTLS(t, "--tls-ca-cert-file", "$CA", "--tls-auth-clients", "optional")
	off := startTLS(t, "--tls-ca-cert-file", "$CA", "--tls-auth-clients", "no")
	for mode, s := range map[string]*secured{"yes": required, "optional": optional, "no": off} {
		_, port, err := net.SplitHostPort(s.addr)
		must(t, err)
		s.addr = "127.0.0.1:" + port
		later := time.Now().Add(time.Hour)
		for _, tt := range []struct {
			name string
			show []pair
			ok   bool
		}{
			{"good", []pair{s.ca.client("good", later)}, true},
			{"none", nil, s != required},
			{"stranger's", []pair{newAuthority(t, "CA").client("stranger", later)}, s == off},
			{"expired", []pair{s.ca.client("expired", time.Now().Add(-time.Hour))}, s == off},
			{"a server's", []pair{s.ca.server("another")}, s == off},
		} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				config := s.ca.config()
				config.MaxVersion = version
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					// It is shown even if the server says that it will not be taken.
					return &append(s.ca.config(tt.show...).Certificates, tls.Certificate{})[0], nil
				}
				got, err := s.once(config, "PING")
				if ok := err == nil && got == "+PONG\r\n"; ok != tt.ok {
					t.Errorf("%s, %s certificate, %s: PING = %q, %v", mode, tt.name, tls.VersionName(version), got, err)
				}
			}
		}
	}
	required.want(required.ca.config(required.ca.client("admin", time.Now().Add(time.Hour))), "+OK\r\n", "CONFIG", "SET", "requirepass", "")
}

// Ensure that redis-cli works over TLS, shows a certificate where one is needed, and is
// refused without.
func TestTLS_RedisCLI(t *testing.T) {
	t.Parallel()
	open := startTLS(t)
	mutual := startTLS(t, "--tls-ca-cert-file", "$CA", "--requirepass", "secret")
	client := mutual.ca.client("client", time.Now().Add(time.Hour))
	for _, tt := range []struct {
		s    *secured
		args []string
		want string // a pattern
	}{
		{open, []string{"--cacert", open.ca.file, "PING"}, `^PONG\n$`},
		{open, []string{"--insecure", "PING"}, `^PONG\n$`},
		{open, []string{"--cacert", open.ca.file, "SET", "k", "v"}, `^OK\n$`},
		{open, []string{"--cacert", open.ca.file, "-3", "GET", "k"}, `^v\n$`},
		{open, []string{"--cacert", mutual.ca.file, "PING"}, `certificate verify failed`},
		{mutual, []string{"--cacert", mutual.ca.file, "--cert", client.cert, "--key", client.key, "-a", "secret", "PING"}, `^PONG\n$`},
		{mutual, []string{"--cacert", mutual.ca.file, "--cert", client.cert, "--key", client.key, "--user", "default", "--pass", "secret", "PING"}, `^PONG\n$`},
		{mutual, []string{"--cacert", mutual.ca.file, "--cert", client.cert, "--key", client.key, "PING"}, `^NOAUTH`},
		{mutual, []string{"--cacert", mutual.ca.file, "-a", "secret", "PING"}, `(?i)certificate required|closed|reset`},
	} {
		_, port, err := net.SplitHostPort(tt.s.addr)
		must(t, err)
		args := append([]string{"-h", "127.0.0.1", "-p", port, "--tls", "--no-auth-warning"}, tt.args...)
		if got, _ := tool(t, "redis-cli", "", args...); !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("redis-cli %q printed %q, want %q", args, got, tt.want)
		}
	}
}

// Ensure that go-redis and redigo store, read and pipeline over mutual TLS with a
// password, large values included.
func TestTLS_GoClients(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--tls-ca-cert-file", "$CA", "--requirepass", "secret")
	config := s.ca.config(s.ca.client("client", time.Now().Add(time.Hour)))
	large := strings.Repeat("0123456789abcdef", 128<<10) // 2 MiB
	for name, c := range map[string]goClient{
		"go-redis": goRedis9{redis9.NewClient(&redis9.Options{
			Addr: s.addr, Username: "default", Password: "secret", TLSConfig: config, MaxRetries: -1,
		})},
		"redigo": redigoPool{&redis.Pool{Dial: func() (redis.Conn, error) {
			return redis.Dial("tcp", s.addr, redis.DialPassword("secret"), redis.DialUseTLS(true), redis.DialTLSConfig(config))
		}}},
	} {
		defer c.Close()
		must(t, c.Set(name, "v", time.Minute))
		wantGet(t, c, name, "v", true)
		must(t, c.Set(name, large, 0))
		wantGet(t, c, name, large, true)
		if got, err := c.Pipeline([]string{"a", "b"}, []string{"1", large}); err != nil || got[0] != "1" || got[1] != large {
			t.Errorf("%s: pipeline: %v", name, err)
		}
	}
	bare := redis9.NewClient(&redis9.Options{Addr: s.addr, Password: "secret", TLSConfig: s.ca.config(), MaxRetries: -1})
	defer bare.Close()
	if err := bare.Ping(t.Context()).Err(); err == nil {
		t.Error("go-redis without a certificate was let in")
	}
}

// shown returns the name in the certificate that new connections are shown.
func (s *secured) shown() string {
	s.t.Helper()
	conn, err := s.dial(s.ca.config())
	must(s.t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// Ensure that SIGHUP takes up new files, or keeps the old certificate if the new files are
// no good, that connections live through both, and that a client with a session ticket of
// before gets in.
func TestTLS_Rotation(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	config := s.ca.config()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	conn, err := s.dial(config)
	must(t, err)
	stays := func(when string) {
		t.Helper()
		if got, err := ask(conn, "PING"); err != nil || got != "+PONG\r\n" {
			t.Fatalf("%s: PING on the old connection = %q, %v", when, got, err)
		}
	}
	stays("before")
	hangup := func(log string) {
		t.Helper()
		s.Signal(syscall.SIGHUP)
		proc.Eventually(t, func() error {
			if !strings.Contains(s.Stderr.String(), log) {
				return fmt.Errorf("the log does not say %q:\n%s", log, s.Log())
			}
			return nil
		})
	}

	s.cert.replace(t, s.ca.server("second"))
	if got := s.shown(); got != "server" {
		t.Errorf("before SIGHUP clients see %q, want the first certificate", got)
	}
	hangup("certificates were read again")
	if got := s.shown(); got != "second" {
		t.Errorf("after SIGHUP clients see %q, want the second certificate", got)
	}
	stays("after a rotation")

	s.cert.replace(t, pair{cert: s.ca.server("third").cert, key: s.ca.server("fourth").key})
	hangup("private key does not match public key")
	if got := s.shown(); got != "second" {
		t.Errorf("after a broken rotation clients see %q, want the second certificate", got)
	}
	stays("after a broken rotation")

	again, err := s.dial(config)
	must(t, err)
	if got, err := ask(again, "PING"); err != nil || got != "+PONG\r\n" {
		t.Errorf("PING of a client with an old ticket = %q, %v", got, err)
	}
}

// Ensure that without TLS SIGHUP ends nothing, as in Redis.
func TestTLS_HangupWithout(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	s := proc.Start(t)
	s.Signal(syscall.SIGHUP)
	proc.Eventually(t, func() error {
		if !strings.Contains(s.Log(), "no certificates to read again") {
			return errors.New(s.Log())
		}
		return nil
	})
	if got := s.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("PING = %q", got)
	}
}

// Ensure that a client which cannot or will not shake hands is cut after a while, with no
// password to wait for, and that others are served meanwhile.
func TestTLS_Intruders(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--port", proc.FreePort(t), "--loglevel", "verbose")
	hello := clientHello(t)
	var intruders []net.Conn
	intrude := func(addr, bytes string) {
		conn, err := net.Dial("tcp", addr)
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		must(t, conn.SetDeadline(time.Now().Add(handshakeTime+proc.Patience)))
		_, _ = io.WriteString(conn, bytes) // the server may cut it at once
		intruders = append(intruders, conn)
	}
	began := time.Now()
	for range 100 {
		intrude(s.addr, "")                                  // nothing
		intrude(s.addr, hello[:len(hello)/2])                // half a hello
		intrude(s.addr, hello)                               // a hello, and then nothing
		intrude(s.addr, proc.Command("SET", "k", "v"))       // plain text
		intrude(s.addr, strings.Repeat("\x17\x03\x03", 999)) // garbage
		intrude(s.addr, "\x16\x03\x01\xff\xff"+hello)        // a record that is too long
		intrude(s.plain, hello)                              // on the wrong port
	}
	for _, conn := range intruders[:14] {
		go func() { // a byte now and then gains no time; ends with the connection
			for range time.Tick(time.Second) {
				if _, err := conn.Write([]byte{0}); err != nil {
					return
				}
			}
		}()
	}
	for range 20 {
		s.want(s.ca.config(), "+PONG\r\n", "PING")
		if got := once(t, s.plain, "PING"); got != "+PONG\r\n" {
			t.Errorf("PING = %q", got)
		}
	}
	if took := time.Since(began); took > handshakeTime {
		t.Errorf("with intruders about, twenty clients took %v", took)
	}
	for i, conn := range intruders {
		var late net.Error
		if _, err := io.Copy(io.Discard, conn); errors.As(err, &late) && late.Timeout() {
			t.Fatalf("intruder %d was not cut after %v", i, time.Since(began))
		}
	}
	s.want(s.ca.config(), "+PONG\r\n", "PING")
	s.want(s.ca.config(), ":0\r\n", "EXISTS", "k")
}

// clientHello returns the first bytes of a TLS client.
func clientHello(t *testing.T) string {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() { // ends with the pipe
		_ = tls.Client(client, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context())
	}()
	b := make([]byte, 16<<10)
	n, err := server.Read(b)
	must(t, err)
	return string(b[:n])
}

// Ensure that kill -9 loses no session that was acknowledged over TLS, and that a restart
// serves on the same port.
func TestTLS_KillRestart(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--tls-ca-cert-file", "$CA")
	config := s.ca.config(s.ca.client("client", time.Now().Add(time.Hour)))
	addr := s.addr
	for range 3 {
		s.want(config, "+OK\r\n", "SET", "ada", "logged in", "EX", "1000")
		s.Kill()
		s.launch()
		if s.addr != addr {
			t.Fatalf("listens on %s after the restart, before on %s", s.addr, addr)
		}
		s.want(config, proc.Bulk("logged in"), "GET", "ada")
	}
}

// Ensure that a TLS port which is taken is told apart from the plain one.
func TestTLS_BusyPort(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	_, port, err := net.SplitHostPort(s.addr)
	must(t, err)
	wantRefusal(t, proc.Sessiond(t, "--port", "0", "--tls-port", port, "--dir", newFolder(t),
		"--tls-cert-file", s.cert.cert, "--tls-key-file", s.cert.key), `:`+port+`\b.*choose another --tls-port`)
}
