package main

import (
	"fmt"
	"strings"
	"testing"
)

// Ensure that a directive of redis.conf that asks for what is so already is accepted in every
// spelling of a command line, with one line on what sessiond does, and that one which asks for
// something else that nobody loses by is accepted with a warning.
func TestParseConfig_Directives(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		env  string
		want string // level and directive of each line
	}{
		{nil, "", ""},
		{[]string{"--save", ""}, "", "INFO save"},
		{[]string{"--save="}, "", "INFO save"},
		{[]string{"--save", "--port", "7000"}, "", "INFO save"},
		{[]string{"--save", "900", "1", "300", "10", "--appendonly", "yes"}, "", "INFO save, INFO appendonly"},
		{[]string{"--save", "900 1", "--save", "300 10"}, "", "INFO save"},
		{[]string{"--appendonly=yes", "--daemonize=no"}, "", "INFO appendonly, INFO daemonize"},
		{[]string{"--appendonly", "NO"}, "", "WARN appendonly"},
		{[]string{"--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"}, "", "WARN maxmemory, WARN maxmemory-policy"},
		{[]string{"--maxmemory", "0", "--maxmemory-policy", "noeviction"}, "", "INFO maxmemory, INFO maxmemory-policy"},
		{[]string{"--protected-mode", "no", "--tcp-backlog", "60"}, "", "WARN protected-mode, INFO tcp-backlog"},
		{[]string{"--replicaof", "no", "one"}, "", "INFO replicaof"},
		{[]string{"--slowlog-max-len", "128"}, "", "WARN slowlog-max-len"},
		{nil, "SESSIOND_SAVE=60 SESSIOND_PROTECTED_MODE=no SESSIOND_DAEMONIZE=", "INFO save, WARN protected-mode"},
		{[]string{"--appendonly", "yes"}, "SESSIOND_APPENDONLY=no", "INFO appendonly"},
	}
	for _, tt := range tests {
		c, err := parseConfig(tt.args, environment(strings.Fields(tt.env)).get)
		if err != nil {
			t.Errorf("%q, %q: %v", tt.args, tt.env, err)
			continue
		}
		var lines []string
		for _, n := range c.startMessages {
			lines = append(lines, fmt.Sprintf("%v %s", n.level, n.attrs[1]))
		}
		if got := strings.Join(lines, ", "); got != tt.want {
			t.Errorf("%q, %q: %s, want %s", tt.args, tt.env, got, tt.want)
		}
	}
}

// Ensure that several words are one value only for the flags that take a line of redis.conf.
func TestParseConfig_Words(t *testing.T) {
	t.Parallel()
	c, err := parseConfig([]string{
		"--user", "default", "off", "-@all", "--requirepass", "--save", "--user", "ann on nopass",
		"--rename-command", "FLUSHALL", "", "--wait",
	}, environment(nil).get)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%q %q %q %v %d", c.users, c.password, c.renames, c.wait, len(c.startMessages))
	if want := `["default off -@all" "ann on nopass"] "--save" ["FLUSHALL \"\""] true 0`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Ensure that no directive has two meanings, and that each says what sessiond does.
func TestDirectives(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, d := range directives() {
		for _, name := range strings.Fields(d.names) {
			if seen[name] || d.does == "" {
				t.Errorf("%s is there twice, or does not say what sessiond does", name)
			}
			seen[name] = true
		}
	}
}

// Ensure that an unknown variable with our prefix is logged with the one that was most likely meant, and
// that those of Kubernetes are not.
func TestEnvironment_Unknown(t *testing.T) {
	t.Parallel()
	env := environment{
		"SESSIOND_REQUIREPAS=secret", "SESSIOND_MAX_CLIENTS=7", "SESSIOND_IMAGE=x", "OTHER_PORT=1",
		"SESSIOND_PORT=tcp://10.0.0.1:6379", "SESSIOND_SAVE=", "SESSIOND_SERVICE_HOST=10.0.0.1", "SESSIOND_SERVICE_PORT=6379",
		"SESSIOND_SERVICE_PORT_REDIS=6379", "SESSIOND_PORT_6379_TCP=tcp://10.0.0.1:6379", "SESSIOND_PORT_6379_TCP_ADDR=10.0.0.1",
		"SESSIOND_TLS_PORT_6380_TCP_PROTO=tcp", "SESSIOND_TLS_SERVICE_HOST=10.0.0.1",
	}
	var got []string
	for _, n := range env.unknown() {
		got = append(got, fmt.Sprint(append([]any{n.level}, n.attrs...)...))
	}
	want := []string{
		"WARNvariableSESSIOND_REQUIREPASdid you meanSESSIOND_REQUIREPASS",
		"WARNvariableSESSIOND_MAX_CLIENTSdid you meanSESSIOND_MAXCLIENTS",
		"WARNvariableSESSIOND_IMAGE",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Ensure that a word is near when a letter or two are wrong, and not when it is another word.
func TestNearest(t *testing.T) {
	t.Parallel()
	words := []string{"backup", "check", "repair", "restore", "help", "version", "maxmemory", "maxmemory-policy"}
	for typed, want := range map[string]string{
		"backup": "backup", "bakup": "backup", "bcakup": "backup", "BACKUP": "backup", "backups": "backup", "chek": "check",
		"rest": "restore", "re": "", "ver": "version", "max": "", "maxmemroy": "maxmemory", "x": "", "": "", "redis": "",
	} {
		if got := nearest(typed, words); got != want {
			t.Errorf("nearest to %q: %q, want %q", typed, got, want)
		}
	}
}
