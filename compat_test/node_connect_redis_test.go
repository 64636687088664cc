package compat_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// Every major of connect-redis on the clients people ran it on.
var connectRedis = []struct {
	major   int
	clients []string
}{
	{1, []string{"redis-0"}},
	{2, []string{"redis-0", "redis-2"}},
	{3, []string{"redis-2", "redis-3", "ioredis-4"}},
	{4, []string{"redis-2", "redis-3", "ioredis-4"}},
	{5, []string{"redis-3", "ioredis-4"}},
	{6, []string{"redis-3", "redis-4-legacy", "ioredis-4", "ioredis-5"}},
	{7, []string{"redis-4", "ioredis-5"}},
	{8, []string{"redis-4", "redis-5", "ioredis-5", "ioredis-6"}},
	{9, []string{"redis-5", "redis-5-resp3", "redis-6"}},
	{10, []string{"redis-5", "redis-6", "redis-6-resp2"}},
}

const (
	secretUser     = "shop"
	secretPassword = "correct horse"
)

// Ensure that express-session works with every connect-redis on every client, up to a
// kill -9 of the server under a running application. Where a login is needed, the user is
// one of ACL, with the rights a session store needs.
func TestConnectRedis(t *testing.T) {
	t.Parallel()
	requireNode(t)
	installNode(t, "node")
	secret := startSecret(t)
	for _, store := range connectRedis {
		for _, client := range store.clients {
			t.Run(fmt.Sprintf("v%d_%s", store.major, strings.Replace(client, "redis-", "redis", 1)), func(t *testing.T) {
				t.Parallel()
				server := startKept(t)
				runNode(t, server, nodeRun{
					Major:      store.major,
					Client:     client,
					Suite:      "store",
					Port:       server.Port,
					SecretPort: secret.Port,
					User:       secretUser,
					Password:   secretPassword,
				})
			})
		}
	}
}

// Ensure that the options with which connect-redis 1, 2 and 3 make their own client work:
// client, host, port, socket, ttl, disableTTL, db, pass, prefix, url.
func TestConnectRedisOptions(t *testing.T) {
	t.Parallel()
	requireNode(t)
	installNode(t, "node")
	secret := startSecret(t)
	for _, store := range connectRedis[:3] {
		t.Run(fmt.Sprintf("v%d", store.major), func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(shortTempDir(t), "sock")
			server := proc.Start(t, "--unixsocket", socket)
			runNode(t, server, nodeRun{
				Major:      store.major,
				Client:     store.clients[0],
				Suite:      "options",
				Port:       server.Port,
				Path:       socket,
				SecretPort: secret.Port,
				User:       secretUser,
				Password:   secretPassword,
			})
		})
	}
}

// startSecret starts a server with a password and a user, who have the same password.
func startSecret(t testing.TB) *proc.Server {
	t.Helper()
	server := proc.Start(t)
	for _, command := range [][]string{
		{"ACL", "SETUSER", secretUser, "on", ">" + secretPassword, "~*", "+@all", "-@admin", "-@dangerous", "+info"},
		{"CONFIG", "SET", "requirepass", secretPassword},
	} {
		if reply := server.Do(command...); reply != "+OK\r\n" {
			t.Fatalf("%q = %q", command[0], reply)
		}
	}
	return server
}

// startKept starts a server that keeps its data over a kill -9. The stand-in has to be
// told so.
func startKept(t testing.TB, args ...string) *proc.Server {
	t.Helper()
	if os.Getenv("SESSIOND_TEST_SERVER") == "redis" {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	return proc.Start(t, args...)
}

// shortTempDir is t.TempDir for unix sockets, whose path has room for about 100 bytes.
func shortTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove socket folder: %v", err)
		}
	})
	return dir
}
