package compat_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// configLines are CONFIG SET and GET of what can change while a server runs, arguments with
// bars between: right and wrong values, several at once, and what never changes.
const configLines = `
SET|appendfsync|always
GET|appendfsync
SET|appendfsync|EverySec
GET|appendfsync
SET|appendfsync|sometimes
SET|loglevel|warning
GET|loglevel
SET|loglevel|VERBOSE
GET|loglevel
SET|loglevel|loud
SET|maxclients|500
GET|maxclients
SET|maxclients|0
SET|maxclients|x
SET|maxclients|4294967296
SET|timeout|100
GET|timeout
SET|timeout|-1
GET|tcp-keepalive
SET|tcp-keepalive|60
GET|tcp-keepalive
SET|tcp-keepalive|0
GET|tcp-keepalive
SET|tcp-keepalive|-1
SET|tcp-keepalive|2147483648
SET|tcp-keepalive|5m
SET|tcp-keepalive|007
SET|tcp-keepalive|
SET|tcp-keepalive|30|timeout|x
SET|tcp-keepalive|2147483647
GET|TCP-KeepAlive
SET|timeout|1.5
SET|timeout|200|maxclients|0
SET|timeout|200|appendfsync|always|loglevel|loud
SET|timeout|200|databases|3
SET|timeout|200|Timeout|300
SET|timeout|200|foo|bar
SET|timeout|200|maxclients
GET|timeout
SET|timeout|0|maxclients|600|loglevel|notice|appendfsync|always
GET|timeout
GET|maxclients
SET|client-output-buffer-limit|foo
SET|client-output-buffer-limit|normal  1mb 0 0
SET|client-output-buffer-limit|normal 1mb 0 0 normal
SET|client-output-buffer-limit|master 0 0 0
SET|client-output-buffer-limit|normal 1mb 0 0 foo 1 2 3
SET|client-output-buffer-limit|normal a 0 0
SET|client-output-buffer-limit|normal 0 0 -1
SET|client-output-buffer-limit|normal 1mb 0 0
SET|client-output-buffer-limit|
GET|client-output-buffer-limit
SET|client-output-buffer-limit|normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60
SET|client-output-buffer-limit|normal 1kb 1k 1 SLAVE 1m 1MB 007 Pubsub 1G 1gb +60
GET|Client-Output-Buffer-Limit
SET|client-output-buffer-limit|normal 1 2 3 replica 4 5 6 slave 7 8 9 normal 18446744073709551615 0b 2147483647
GET|client-output-*
SET|client-output-buffer-limit|normal 1 2 2147483648
SET|client-output-buffer-limit|normal 1 2 3 pubsub 1 2 -1
SET|client-output-buffer-limit|normal 1 2 3 master 1 2 x
SET|client-output-buffer-limit|normal 1 2 x master 1 2 3
SET|client-output-buffer-limit|normal +1 2 3
SET|client-output-buffer-limit|normal -0 2 3
SET|client-output-buffer-limit|normal 1tb 2 3
SET|client-output-buffer-limit|normal 1.5mb 2 3
SET|client-output-buffer-limit|normal 1 2 0x3
SET|client-output-buffer-limit| normal 1 2 3
SET|client-output-buffer-limit|normal 1 2 3 
SET|client-output-buffer-limit|   
SET|client-output-buffer-limit|normal 4 5 6|timeout|-1
GET|client-output-buffer-limit
SET|client-output-buffer-limit|normal 0 0 0
SET|proto-max-bulk-len|002mb
GET|proto-max-bulk-len
SET|databases|3
SET|dir|/
SET|unixsocket|x
SET|aclfile|x
SET|daemonize|yes
SET|port|70000
SET|requirepass|secret
`

// Ensure that CONFIG SET answers as Redis does, byte for byte, and that a password that was set
// leaves in who is in and keeps out who comes without.
func TestConfig_SetAsRedis(t *testing.T) {
	t.Parallel()
	oracle, subject := proc.StartRedis(t), proc.Start(t)
	o, s := oracle.Dial(), subject.Dial()
	for line := range strings.SplitSeq(strings.TrimSpace(configLines), "\n") {
		args := append([]string{"CONFIG"}, strings.Split(line, "|")...)
		if want, got := o.Do(args...), s.Do(args...); got != want {
			t.Errorf("%q = %q, Redis %q", args, got, want)
		}
	}
	for _, args := range [][]string{{"PING"}, {"AUTH", "wrong"}, {"AUTH", "secret"}, {"PING"}} {
		if want, got := o.Do(args...), s.Do(args...); got != want {
			t.Errorf("%q of the client that set the password = %q, Redis %q", args, got, want)
		}
	}
	if want, got := oracle.Do("PING"), subject.Do("PING"); got != want {
		t.Errorf("PING of a new client = %q, Redis %q", got, want)
	}
}

// Ensure that flags which both servers have mean the same to both.
func TestConfig_FlagsAsRedis(t *testing.T) {
	t.Parallel()
	flags := []string{
		"--tcp-keepalive", "7", "--client-output-buffer-limit", "normal", "1gb", "64kb", "9",
		"--client-output-buffer-limit", "pubsub 1m 2k 3 SLAVE 0 0 0",
	}
	o, s := proc.StartRedis(t, flags...).Dial(), proc.Start(t, flags...).Dial()
	for _, name := range []string{"tcp-keepalive", "client-output-buffer-limit"} {
		if want, got := o.Do("CONFIG", "GET", name), s.Do("CONFIG", "GET", name); got != want {
			t.Errorf("CONFIG GET %s = %q, Redis %q", name, got, want)
		}
	}
}

// outputWords are words of client-output-buffer-limit: right and wrong ones, but none that Redis
// takes for another number than it says.
var outputWords = [4][]string{
	{"normal", "replica", "slave", "pubsub", "Normal", "master", "none"},
	{"0", "1", "64mb", "1KB", "7g", "0b", "01m", "-1", "1kk", "x"},
	{"0", "2", "16mb", "1k", "3GB", "+1", "1.0"},
	{"0", "1", "60", "2147483647", "2147483648", "+3", "03", "-0", "-1", "1s"},
}

// Ensure that whatever Redis takes for limits of replies sessiond takes, too, refuses what Redis
// refuses with the same words, and keeps the same.
func TestConfig_OutputLimits_Random(t *testing.T) {
	t.Parallel()
	seed := number(t, "SESSIOND_DIFF_SEED", time.Now().Unix())
	t.Logf("SESSIOND_DIFF_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	o, s := proc.StartRedis(t).Dial(), proc.Start(t).Dial()
	s.Do("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0") // the one default that differs
	for range 2000 {
		var words []string
		for range rng.IntN(4) {
			for _, of := range outputWords {
				n := len(of)
				if rng.IntN(4) > 0 {
					n = 3 // those are right
				}
				words = append(words, of[rng.IntN(n)])
			}
		}
		if rng.IntN(10) == 0 && len(words) > 0 {
			words = words[1:]
		}
		value := strings.Join(words, " ")
		for _, args := range [][]string{
			{"CONFIG", "SET", "client-output-buffer-limit", value}, {"CONFIG", "GET", "client-output-buffer-limit"},
		} {
			if want, got := o.Do(args...), s.Do(args...); got != want {
				t.Fatalf("%q behind %q = %q, Redis %q", args, value, got, want)
			}
		}
	}
}

// Ensure that the limits of replies close the clients that Redis closes: one over the hard limit at
// once, one that stays over the soft limit after its second and not before, and none that reads.
func TestConfig_OutputLimits_Close(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, ...string) *proc.Server{"redis": proc.StartRedis, "sessiond": proc.Start} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			admin := server.Dial()
			limit := func(value string) {
				t.Helper()
				if got := admin.Do("CONFIG", "SET", "client-output-buffer-limit", value); got != "+OK\r\n" {
					t.Fatalf("CONFIG SET client-output-buffer-limit %q = %q", value, got)
				}
			}
			request := proc.Command(append([]string{"MGET"}, strings.Fields(strings.Repeat("k ", 64))...)...)
			// closed has a client ask for 64 MiB, without reading, and waits until it is closed.
			closed := func() (took time.Duration) {
				t.Helper()
				client := server.Dial()
				id := strings.Trim(client.Do("CLIENT", "ID"), ":\r\n")
				begin := time.Now()
				client.Send(request)
				proc.Eventually(t, func() error {
					if list := admin.Do("CLIENT", "LIST", "ID", id); list != "$0\r\n\r\n" {
						return fmt.Errorf("there is still %q", list)
					}
					return nil
				})
				took = time.Since(begin)
				if reply, err := client.TryReply(); err == nil {
					t.Errorf("a client that was closed has a reply of %d bytes", len(reply))
				}
				return took
			}
			admin.Do("SET", "k", strings.Repeat("x", 1<<20))
			limit("normal 0 8mb 60 pubsub 1 1 1")
			reader := server.Dial()
			reader.Send(request)
			if reply, err := reader.TryReply(); len(reply) < 64<<20 {
				t.Errorf("a client that reads has %d bytes: %v", len(reply), err)
			}
			limit("normal 0 8mb 1")
			if took := closed(); took < 500*time.Millisecond { // Redis' clock is coarse
				t.Errorf("a client over the soft limit was closed after %v, want a second", took)
			}
			limit("normal 32mb 8mb 3600")
			closed()
		})
	}
}

// Ensure that a client which connects after CONFIG SET tcp-keepalive is probed when it has been
// silent for that long, one that was there before as before, and nobody with 0, as in Redis.
func TestConfig_KeepAlive(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells when a connection is probed")
	}
	oracle, subject := proc.StartRedis(t), proc.Start(t)
	for _, server := range []*proc.Server{oracle, subject} {
		clients := map[string]string{}
		connect := func(want string) {
			t.Helper()
			client := server.Dial()
			list := client.Do("CLIENT", "LIST", "ID", strings.Trim(client.Do("CLIENT", "ID"), ":\r\n"))
			_, addr, _ := strings.Cut(list, " addr=127.0.0.1:")
			port, _, _ := strings.Cut(addr, " ")
			clients[port] = want
		}
		connect("5m0s")
		for seconds, want := range map[string]string{"100": "1m40s", "5000": "1h23m20s", "0": "0s"} {
			if got := server.Do("CONFIG", "SET", "tcp-keepalive", seconds); got != "+OK\r\n" {
				t.Fatalf("CONFIG SET tcp-keepalive %s = %q", seconds, got)
			}
			connect(want)
		}
		for port, want := range clients {
			proc.Eventually(t, func() error {
				if got := probedAfter(t, server.Port, port); got != want {
					return fmt.Errorf("a client is probed after %s, want %s", got, want)
				}
				return nil
			})
		}
	}
}

// probedAfter returns when the connection from a port to another on loopback is probed, to ten
// seconds. Connections without a timer are never: 0s.
func probedAfter(t *testing.T, at, from string) string {
	t.Helper()
	hex := func(port string) string {
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("0100007F:%04X", n)
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(table), "\n") {
		words := strings.Fields(line)
		if len(words) < 6 || words[1] != hex(at) || words[2] != hex(from) {
			continue
		}
		kind, left, _ := strings.Cut(words[5], ":")
		ticks, err := strconv.ParseInt(left, 16, 64) // hundredths of a second
		if err != nil {
			t.Fatal(err)
		}
		switch kind {
		case "00":
			return "0s"
		case "01":
			return "the answer" // what was sent is not acknowledged yet
		}
		return (time.Duration(ticks) * 10 * time.Millisecond).Round(10 * time.Second).String()
	}
	t.Fatalf("no connection from %s to %s in\n%s", from, at, table)
	return ""
}
