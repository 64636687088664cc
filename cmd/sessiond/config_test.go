package main

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
)

// parse parses a command line and an environment, both split at spaces.
func parse(line, environment string) (config, error) {
	env := map[string]string{}
	for _, pair := range strings.Fields(environment) {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return parseConfig(strings.Fields(line), func(name string) string { return env[name] })
}

// Ensure that the defaults are the ones the help promises.
func TestParseConfig_Defaults(t *testing.T) {
	t.Parallel()
	c, err := parse("", "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.bind, []string{"127.0.0.1"}) || c.port != 6379 || c.dir != "./sessiond-data" ||
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
		{"--bind= --unixsocket s", "", bind, ""},
		{"--durability strict", "", durability, sessiond.Strict},
		{"--appendfsync always", "", durability, sessiond.Strict},
		{"--appendfsync everysec", "", durability, sessiond.EverySec},
		{"--appendfsync everysec --durability everysec", "", durability, sessiond.EverySec},
		{"", "SESSIOND_APPENDFSYNC=always", durability, sessiond.Strict},
		{"--durability everysec", "SESSIOND_APPENDFSYNC=always", durability, sessiond.EverySec},
		{"--appendfsync always", "SESSIOND_DURABILITY=everysec", durability, sessiond.Strict},
		{"--timeout 90", "", idle, 90 * time.Second},
		{"--loglevel verbose", "", level, slog.LevelInfo - 1},
		{"--loglevel notice", "", level, slog.LevelInfo},
		{"--loglevel WARN", "", level, slog.LevelWarn},
		{"", "SESSIOND_LOGLEVEL=debug", level, slog.LevelDebug},
		{"", "SESSIOND_CACHE_BYTES=1000", func(c config) any { return c.cacheBytes }, int64(1000)},
		{"--max-disk 10gb --cache-bytes 1k", "", func(c config) any { return c.maxDisk + c.cacheBytes }, int64(10<<30 + 1000)},
		{"--proto-max-bulk-len 1mb", "SESSIOND_CLIENT_QUERY_BUFFER_LIMIT=512MB", func(c config) any { return c.maxBulk + c.queryBuffer }, 513 << 20},
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
func level(c config) any      { return c.logLevel }

// Ensure that a wrong flag or variable is named in one line on stderr, that the exit code
// says who is to blame, and that nothing starts.
func TestRun_Usage(t *testing.T) {
	t.Parallel()
	tests := []struct{ line, env, want string }{
		{"--nosuch", "", "unknown flag: --nosuch"},
		{"sessiond.conf", "", `unexpected argument "sessiond.conf": there is no such tool, see sessiond --help`},
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
		{"--client-output-buffer-limit 1000", "", "--client-output-buffer-limit 1000: from 65536 to 2147483647"},
		{"--timeout -1", "", "--timeout -1: not negative, 0 is forever"},
		{"--cache-bytes 0", "", "--cache-bytes 0: at least one"},
		{"--cache-bytes 1tb", "", `--cache-bytes "1tb": not a number of bytes such as 1048576, 512mb or 10gb`},
		{"", "SESSIOND_MAX_DISK=lots", `SESSIOND_MAX_DISK "lots": not a number of bytes such as 1048576, 512mb or 10gb`},
		{"--max-disk -1", "", "--max-disk -1: not negative, 0 is no limit"},
		{"--loglevel loud", "", `--loglevel "loud" is none of debug, verbose, notice, warning`},
		{"--unixsocketperm 800", "", `--unixsocketperm "800": not a permission such as 700 or 770`},
		{"--unixsocketperm 1777", "", `--unixsocketperm "1777": not a permission such as 700 or 770`},
		{"--dir=", "", "--dir: a folder is needed"},
		{"--bind=", "", "--bind: with no address, --unixsocket is needed"},
		{"--bind 0.0.0.0", "", "--bind 0.0.0.0 can be reached from other machines, and no password is set: set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"},
		{"--bind ::", "", "--bind :: can be reached from other machines, and no password is set: set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"},
		{"--bind *", "", "--bind * can be reached from other machines, and no password is set: set SESSIOND_REQUIREPASS (or --requirepass), or bind to 127.0.0.1"},
	}
	for _, tt := range tests {
		env := func(name string) string {
			for _, pair := range strings.Fields(tt.env) {
				if value, ok := strings.CutPrefix(pair, name+"="); ok {
					return value
				}
			}
			return ""
		}
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(tt.line), env, &stdout, &stderr)
		if code != exitUsage || stdout.Len() != 0 || stderr.String() != "sessiond: "+tt.want+"\n" {
			t.Errorf("%q, %q: code %d, stdout %q, stderr %q, want code %d and %q",
				tt.line, tt.env, code, &stdout, &stderr, exitUsage, tt.want)
		}
	}
}

// Ensure that errors that were joined are still one line.
func TestRun_OneLine(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	code := run([]string{"--dir", "main.go", "--port", "0"}, func(string) string { return "" }, &stdout, &stderr)
	if code != exitFailed || strings.Count(stderr.String(), "\n") != 1 || !strings.HasPrefix(stderr.String(), "sessiond: open store main.go: ") {
		t.Errorf("code %d, stderr %q, want code %d and one line", code, &stderr, exitFailed)
	}
}
