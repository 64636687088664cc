package compat_test

import (
	"encoding/json"
	"net"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// nodeTLS is the argument of node/tls.mjs.
type nodeTLS struct {
	Client   string `json:"client"`
	Port     string `json:"port"`
	CA       string `json:"ca"`
	Cert     string `json:"cert,omitempty"`
	Key      string `json:"key,omitempty"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
}

// Ensure that node-redis and ioredis work over TLS and mutual TLS, log in by name, and are
// refused with the wrong certificate or none.
func TestNodeTLS(t *testing.T) {
	t.Parallel()
	proc.OnlySessiond(t)
	node := requireNode(t)
	installNode(t, "node")
	open := startTLS(t)
	mutual := startTLS(t, "--tls-ca-cert-file", "$CA", "--requirepass", "secret")
	good := mutual.ca.client("client", time.Now().Add(time.Hour))
	wrong := open.ca.client("stranger", time.Now().Add(time.Hour))
	for _, client := range []string{"redis-4", "redis-5", "redis-6", "ioredis-4", "ioredis-5", "ioredis-6"} {
		for _, tt := range []struct {
			name string
			s    *secured
			run  nodeTLS
			want string // a pattern of the error
		}{
			{"one-sided", open, nodeTLS{CA: open.ca.file}, `^$`},
			{"wrong server", open, nodeTLS{CA: mutual.ca.file}, `certificate|signature`},
			{"mutual", mutual, nodeTLS{CA: mutual.ca.file, Cert: good.cert, Key: good.key, User: "default", Password: "secret"}, `^$`},
			{"mutual, no password", mutual, nodeTLS{CA: mutual.ca.file, Cert: good.cert, Key: good.key}, `NOAUTH`},
			{"no certificate", mutual, nodeTLS{CA: mutual.ca.file, Password: "secret"}, `.`},
			{"stranger", mutual, nodeTLS{CA: mutual.ca.file, Cert: wrong.cert, Key: wrong.key, Password: "secret"}, `.`},
		} {
			t.Run(client+"/"+tt.name, func(t *testing.T) {
				tt.run.Client = client
				var err error
				_, tt.run.Port, err = net.SplitHostPort(tt.s.addr)
				must(t, err)
				if got := runNodeTLS(t, node, tt.run); !regexp.MustCompile(tt.want).MatchString(got) {
					t.Errorf("error %q, want %q", got, tt.want)
				}
			})
		}
	}
}

// runNodeTLS returns the error that node/tls.mjs prints.
func runNodeTLS(t *testing.T, node string, run nodeTLS) string {
	t.Helper()
	arg, err := json.Marshal(run)
	must(t, err)
	ctx, cancel := patient()
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "tls.mjs", string(arg))
	cmd.Dir = "node"
	out, err := cmd.CombinedOutput()
	var line struct {
		Error *string `json:"error"`
	}
	if err == nil {
		err = json.Unmarshal(out, &line)
	}
	if err != nil || line.Error == nil {
		t.Fatalf("tls.mjs %s: %v\n%s", arg, err, out)
	}
	return *line.Error
}
