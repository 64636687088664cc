package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
)

// parse parses a command line and an environment, both split at spaces.
func parse(line, variables string) (config, error) {
	return parseConfig(strings.Fields(line), environment(strings.Fields(variables)).get)
}

// Ensure that the defaults are the ones the help promises.
func TestParseConfig_Defaults(t *testing.T) {
	t.Parallel()
	c, err := parse("", "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.bind, []string{"127.0.0.1", "-::1"}) || c.port != 6379 || !filepath.IsAbs(c.dir) || filepath.Base(c.dir) != "sessiond-data" ||
		c.durability != sessiond.Session || c.databases != 16 || c.maxClients != 10000 || c.idle != 0 ||
		c.password != "" || c.unixSocket != "" || c.unixSocketPerm != 0o700 || c.logLevel != slog.LevelInfo {
		t.Errorf("defaults: %#v", c)
	}
}

// Ensure that flags and variables mean what they say, and that a flag wins.
func TestParseConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line, env string
		got       func(config) any
		want      any
	}{
		{"--port 1", "", port, uint16(1)},
		{"", "SESSIOND_PORT=2", port, uint16(2)},
		{"--port 1", "SESSIOND_PORT=2", port, uint16(1)},
		{"--port 1", "SESSIOND_PORT=nonsense", port, uint16(1)},
		{"", "SESSIOND_PORT=", port, uint16(6379)},
		{"", "SESSIOND_PORT=tcp://10.0.0.1:6379", port, uint16(6379)},
		{"--bind 127.0.0.1,::1", "", bind, "127.0.0.1 ::1"},
		{"--bind 127.0.0.1 --bind ::1", "", bind, "127.0.0.1 ::1"},
		{"", "SESSIOND_BIND=127.0.0.1,::1", bind, "127.0.0.1 ::1"},
		{"--bind 127.0.0.1 -::1 --port 1", "", bind, "127.0.0.1 -::1"},
		{"--bind=127.0.0.1 -::1 localhost", "", bind, "127.0.0.1 -::1 localhost"},
		{"--port 1 --bind -::1", "", bind, "-::1"},
		{"--bind= --unixsocket s", "", bind, ""},
		{"--durability strict", "", durability, sessiond.Strict},
		{"--appendfsync always", "", durability, sessiond.Strict},
		{"--appendfsync everysec", "", durability, sessiond.EverySec},
		{"--appendfsync everysec --durability everysec", "", durability, sessiond.EverySec},
		{"", "SESSIOND_APPENDFSYNC=always", durability, sessiond.Strict},
		{"--durability everysec", "SESSIOND_APPENDFSYNC=always", durability, sessiond.EverySec},
		{"--appendfsync always", "SESSIOND_DURABILITY=everysec", durability, sessiond.Strict},
		{"--timeout 90", "", idle, 90 * time.Second},
		{"", "", keepAlive, 300 * time.Second},
		{"--tcp-keepalive 60", "", keepAlive, time.Minute},
		{"", "SESSIOND_TCP_KEEPALIVE=0", keepAlive, time.Duration(-1)},
		{"--loglevel verbose", "", level, slog.LevelInfo - 1},
		{"--loglevel notice", "", level, slog.LevelInfo},
		{"--loglevel WARN", "", level, slog.LevelWarn},
		{"", "SESSIOND_LOGLEVEL=debug", level, slog.LevelDebug},
		{"", "SESSIOND_CACHE_BYTES=1000", func(c config) any { return c.cacheBytes }, int64(1000)},
		{"--max-disk 10gb --cache-bytes 1k", "", func(c config) any { return c.maxDisk + c.cacheBytes }, int64(10<<30 + 1000)},
		{"--log-size 64mb", "SESSIOND_LOG_SIZE=32mb", logSize, int64(64 << 20)},
		{"", "SESSIOND_LOG_SIZE=8gb", logSize, int64(8 << 30)},
		{"--proto-max-bulk-len 1mb", "SESSIOND_CLIENT_QUERY_BUFFER_LIMIT=512MB", func(c config) any { return c.maxBulk + c.queryBuffer }, 513 << 20},
		{"", "", outputs, "normal 268435456 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"},
		{"--client-output-buffer-limit 1mb", "", outputs, "normal 1048576 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"},
		{"", "SESSIOND_CLIENT_OUTPUT_BUFFER_LIMIT=1mb", outputs, "normal 1048576 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"},
		{"--client-output-buffer-limit normal 1gb 64mb 60 --port 1", "", outputs, "normal 1073741824 67108864 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60"},
		{"--client-output-buffer-limit=slave 0 0 0 pubsub 1 2 3", "", outputs, "normal 268435456 0 0 slave 0 0 0 pubsub 1 2 3"},
		{"--client-output-buffer-limit normal 0 0 0 --client-output-buffer-limit replica 1 1 1", "", outputs, "normal 0 0 0 slave 1 1 1 pubsub 33554432 8388608 60"},
		{"--client-output-buffer-limit replica 1 1 1 --client-output-buffer-limit 1mb", "SESSIOND_CLIENT_OUTPUT_BUFFER_LIMIT=nonsense", outputs, "normal 1048576 0 0 slave 1 1 1 pubsub 33554432 8388608 60"},
		{"--unixsocketperm 0770", "", func(c config) any { return int(c.unixSocketPerm) }, 0o770},
		{"", "SESSIOND_HELP=true SESSIOND_VERSION=true", func(c config) any { return c.help || c.version }, false},
	}
	for _, tt := range tests {
		c, err := parse(tt.line, tt.env)
		if err != nil {
			t.Errorf("%q, %q: %v", tt.line, tt.env, err)
		} else if got := tt.got(c); got != tt.want {
			t.Errorf("%q, %q: %v, want %v", tt.line, tt.env, got, tt.want)
		}
	}
}

func port(c config) any       { return c.port }
func bind(c config) any       { return strings.Join(c.bind, " ") }
func durability(c config) any { return c.durability }
func idle(c config) any       { return c.idle }
func keepAlive(c config) any  { return c.keepAlive }
func level(c config) any      { return c.logLevel }
func logSize(c config) any    { return c.logSize }
func outputs(c config) any    { return c.outputLimits.String() }

// Ensure that the limits of replies can be given by a variable in every form, a line for each
// class, and that an error names the variable.
func TestParseConfig_OutputLimitsByVariable(t *testing.T) {
	t.Parallel()
	const name = "SESSIOND_CLIENT_OUTPUT_BUFFER_LIMIT"
	parse := func(value string) (config, error) {
		return parseConfig(nil, environment{name + "=" + value}.get)
	}
	for _, value := range []string{"normal 1gb 64mb 60 pubsub 1 2 3", "normal 1gb 64mb 60\npubsub 1 2 3\n"} {
		c, err := parse(value)
		if want := "normal 1073741824 67108864 60 slave 268435456 67108864 60 pubsub 1 2 3"; err != nil || outputs(c) != want {
			t.Errorf("%q: %v, %v, want %s", value, outputs(c), err, want)
		}
	}
	_, err := parse("normal 1gb 64mb")
	want := name + ` "normal 1gb 64mb": 3 words: a class needs four, such as "normal 256mb 64mb 60"`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// Ensure that a wrong flag or variable is named in one line on stderr, that the exit code
// says who is to blame, and that nothing starts.
func TestRun_Usage(t *testing.T) {
	t.Parallel()
	tests := []struct{ line, env, want string }{
		{"--nosuch", "", "unknown flag: --nosuch"},
		{"--requirepas s", "", "unknown flag: --requirepas: did you mean --requirepass?"},
		{"--max-clients=7", "", "unknown flag: --max-clients: did you mean --maxclients?"},
		{"--apendonly yes", "", "unknown flag: --apendonly: did you mean --appendonly?"},
		{"--durabil strict", "", "unknown flag: --durabil: did you mean --durability?"},
		{"-port 7000", "", "unknown shorthand flag: 'p' in -port: did you mean --port?"},
		{"-prot=7000", "", "unknown shorthand flag: 'p' in -prot=7000: did you mean --port?"},
		{"backup --too b", "", "unknown flag: --too: did you mean --to?"},
		{"bakup", "", `unexpected argument "bakup": there is no such tool, did you mean backup?`},
		{"chekc --dir data", "", `unexpected argument "chekc": there is no such tool, did you mean check?`},
		{"hlep", "", `unexpected argument "hlep": there is no such tool, did you mean help?`},
		{"help restroe", "", `unexpected argument "restroe": there is no such tool, did you mean restore?`},
		{"nosuch", "", `unexpected argument "nosuch": there is no such tool, see sessiond --help`},
		{"--dir data backup", "", `unexpected argument "backup": a tool comes first, before all flags: sessiond backup [flags]`},
		{"/etc/redis/redis.conf", "", noFile("/etc/redis/redis.conf")},
		{"--port 7000 sessiond.conf", "", noFile("sessiond.conf")},
		{"-", "", noFile("-")},
		{"--daemonize yes", "", "--daemonize: sessiond stays in the foreground: leave it out, and let systemd, docker or the shell's & keep it running"},
		{"", "SESSIOND_DAEMONIZE=yes", "SESSIOND_DAEMONIZE: sessiond stays in the foreground: leave it out, and let systemd, docker or the shell's & keep it running"},
		{"--cluster-enabled yes", "", "--cluster-enabled: there is no cluster: leave it out, and let clients connect as to a single Redis"},
		{"--replicaof 10.0.0.1 6379 --port 7000", "", "--replicaof: there are no replicas: leave it out; sessiond backup makes copies"},
		{"--tls-key-file-pass secret", "", "--tls-key-file-pass: the key is read without a passphrase: leave it out, and take the passphrase off with openssl pkey"},
		{"--logfile /var/log/redis.log", "", "--logfile: the log goes to standard error: leave it out, and add 2>>FILE to the command line"},
		{"--sentinel", "", "--sentinel: there is no sentinel: leave it out, and let clients connect as to a single Redis"},
		{"--port", "", "flag needs an argument: --port"},
		{"--port http", "", `--port "http": not a whole number from 0 to 65535`},
		{"--port 65536", "", `--port "65536": not a whole number from 0 to 65535`},
		{"--port -1", "", `--port "-1": not a whole number from 0 to 65535`},
		{"", "SESSIOND_PORT=http", `SESSIOND_PORT "http": not a whole number from 0 to 65535`},
		{"", "SESSIOND_TIMEOUT=1m", `SESSIOND_TIMEOUT "1m": not a whole number`},
		{"--durability maybe", "", `--durability "maybe" is none of session, strict, everysec`},
		{"--appendfsync no", "", `--appendfsync no: sessiond has no mode that leaves the disk to the operating system; "everysec" comes closest`},
		{"--appendfsync maybe", "", `--appendfsync "maybe" is none of always, everysec`},
		{"--appendfsync always --durability session", "", "--appendfsync always means --durability strict, but --durability is session: give one of them"},
		{"", "SESSIOND_APPENDFSYNC=always SESSIOND_DURABILITY=session", "--appendfsync always means --durability strict, but --durability is session: give one of them"},
		{"--databases 0", "", "--databases 0: not from 1 to 16384"},
		{"--databases 16385", "", "--databases 16385: not from 1 to 16384"},
		{"--maxclients 0", "", "--maxclients 0: at least one"},
		{"--proto-max-bulk-len 1000", "", "--proto-max-bulk-len 1000: from 1048576 to 536870912"},
		{"--client-query-buffer-limit 1000", "", "--client-query-buffer-limit 1000: from 1048576 to 2147483647"},
		{"--client-output-buffer-limit 1000", "", `--client-output-buffer-limit "1000": from 65536 to 2147483647`},
		{"", "SESSIOND_CLIENT_OUTPUT_BUFFER_LIMIT=1tb", `SESSIOND_CLIENT_OUTPUT_BUFFER_LIMIT "1tb": not a number of bytes such as 512mb, nor a class with its limits such as "normal 256mb 64mb 60"`},
		{"--client-output-buffer-limit normal 1gb 64mb", "", `--client-output-buffer-limit "normal 1gb 64mb": 3 words: a class needs four, such as "normal 256mb 64mb 60"`},
		{"--client-output-buffer-limit normal 1gb 64mb 1m --port 1", "", `--client-output-buffer-limit "normal 1gb 64mb 1m": class normal: the soft limit's seconds "1m" are not a whole number from 0 to 2147483647`},
		{"--client-output-buffer-limit master 0 0 0", "", `--client-output-buffer-limit "master 0 0 0": "master" is none of the classes normal, replica (or slave), pubsub`},
		{"--timeout -1", "", "--timeout -1: not negative, 0 is forever"},
		{"--tcp-keepalive -1", "", "--tcp-keepalive -1: from 0, which is never, to 2147483647"},
		{"--tcp-keepalive 2147483648", "", "--tcp-keepalive 2147483648: from 0, which is never, to 2147483647"},
		{"--tcp-keepalive 5m", "", `--tcp-keepalive "5m": not a whole number`},
		{"--cache-bytes 0", "", "--cache-bytes 0: at least one"},
		{"--cache-bytes 1tb", "", `--cache-bytes "1tb": not a number of bytes such as 1048576, 512mb or 10gb`},
		{"", "SESSIOND_MAX_DISK=lots", `SESSIOND_MAX_DISK "lots": not a number of bytes such as 1048576, 512mb or 10gb`},
		{"--log-size 64kb", "", "--log-size 65536: from 1048576 to 8589934592, 0 is as it fits --cache-bytes"},
		{"", "SESSIOND_LOG_SIZE=16gb", "--log-size 17179869184: from 1048576 to 8589934592, 0 is as it fits --cache-bytes"},
		{"--log-size -1", "", "--log-size -1: from 1048576 to 8589934592, 0 is as it fits --cache-bytes"},
		{"--max-disk -1", "", "--max-disk -1: not negative, 0 is no limit"},
		{"--loglevel loud", "", `--loglevel "loud" is none of debug, verbose, notice, warning`},
		{"--unixsocketperm 800", "", `--unixsocketperm "800": not a permission such as 700 or 770`},
		{"--unixsocketperm 1777", "", `--unixsocketperm "1777": not a permission such as 700 or 770`},
		{"--unixsocketperm 0", "", "--unixsocketperm 0 lets nobody connect, which takes the permission to write: 700 or 770 for instance"},
		{"--unixsocketperm 555", "", "--unixsocketperm 555 lets nobody connect, which takes the permission to write: 700 or 770 for instance"},
		{"--dir=", "", "--dir: a folder is needed"},
		{"--bind=", "", "--bind: with no address, --unixsocket is needed"},
		{"--port 0", "", "--port 0 is no TCP port: give --unixsocket or --tls-port, or for a free port --bind 127.0.0.1:0 in place of --port 0"},
		{"", "SESSIOND_PORT=0", "--port 0 is no TCP port: give --unixsocket or --tls-port, or for a free port --bind 127.0.0.1:0 in place of --port 0"},
		{"--port 0 --tls-port 0", "", "--port 0 is no TCP port: give --unixsocket or --tls-port, or for a free port --bind 127.0.0.1:0 in place of --port 0"},
		{"--port 0 --unixsocket s --bind 127.0.0.1:0", "", "--bind 127.0.0.1:0: it has a port, but --port 0 is no TCP port: leave out one of the two"},
		{"--bind 0.0.0.0", "", "--bind 0.0.0.0 can be reached from other machines, and no password is set: set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"},
		{"--bind ::", "", "--bind :: can be reached from other machines, and no password is set: set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"},
		{"--bind -::*", "", "--bind -::* can be reached from other machines, and no password is set: set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"},
		{"--bind [::]:0", "", "--bind [::]:0 can be reached from other machines, and no password is set: set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"},
		{"--bind 127.0.0.1 ::1 -203.0.113.1", "", "--bind -203.0.113.1 can be reached from other machines, and no password is set: set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"},
		{"--bind -", "", "--bind -: there is no address in it; * is all of IPv4, ::* all of IPv6"},
		{"--bind :6380", "", "--bind :6380: there is no address in it; * is all of IPv4, ::* all of IPv6"},
		{"--bind 127.0.0.1:http", "", "--bind 127.0.0.1:http: the port is not a whole number from 0 to 65535"},
		{"--bind [::1]:65536", "", "--bind [::1]:65536: the port is not a whole number from 0 to 65535"},
		{"--bind 127.0.0.1 127.0.0.1", "", "--bind: 127.0.0.1 and 127.0.0.1 overlap, leave one of them out"},
		{"--bind 127.0.0.1 * --requirepass s", "", "--bind: 127.0.0.1 and * overlap, leave one of them out"},
		{"--bind ::1 -[::1]:6379", "", "--bind: ::1 and -[::1]:6379 overlap, leave one of them out"},
		{"--bind *", "", "--bind * can be reached from other machines, and no password is set: set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(tt.line), strings.Fields(tt.env), &stdout, &stderr)
		if code != exitUsage || stdout.Len() != 0 || stderr.String() != "sessiond: "+tt.want+"\n" {
			t.Errorf("%q, %q: code %d, stdout %q, stderr %q, want code %d and %q",
				tt.line, tt.env, code, &stdout, &stderr, exitUsage, tt.want)
		}
	}
}

func noFile(path string) string {
	return `unexpected argument "` + path + `": sessiond reads no configuration file; give its directives as flags ` +
		`(--port 6379) or variables (SESSIOND_PORT=6379), see sessiond --help`
}

// Ensure that errors that were joined are still one line.
func TestRun_OneLine(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	code := run([]string{"--dir", "main.go", "--bind", "127.0.0.1:0"}, nil, &stdout, &stderr)
	if code != exitFailed || strings.Count(stderr.String(), "\n") != 1 || !regexp.MustCompile(`^sessiond: open store /.*/main\.go: `).MatchString(stderr.String()) {
		t.Errorf("code %d, stderr %q, want code %d and one line", code, &stderr, exitFailed)
	}
}
