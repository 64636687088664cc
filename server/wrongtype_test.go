package server

import (
	"testing"

	"github.com/sessiond/sessiond/storage"
)

// Ensure that a command for strings refuses another type of value as Redis does, and that commands
// for any type do not.
func TestWrongType(t *testing.T) {
	t.Parallel()
	srv, dial := startNetwork(t, "tcp", Config{})
	k := storage.Key{Name: []byte("k")}
	_, err := srv.keyspace.Update(t.Context(), storage.Scope{Keys: []storage.Key{k}}, func(tx *storage.Tx) error {
		return tx.Put(k, storage.Record{Kind: 100, Value: []byte("v")})
	})
	if err != nil {
		t.Fatal(err)
	}
	nc, r := dial()
	for _, line := range []string{
		"GET k", "GETSET k w", "SET k w GET", "GETDEL k", "GETEX k", "STRLEN k", "GETRANGE k 0 -1", "SETRANGE k 0 w",
		"APPEND k w", "INCR k", "INCRBYFLOAT k 1",
	} {
		say(t, nc, line+"\r\n")
		expectLine(t, r, "-WRONGTYPE Operation against a key holding the wrong kind of value")
	}
	for _, pair := range [][2]string{{"EXISTS k", ":1"}, {"EXPIRE k 100", ":1"}, {"SETNX k w", ":0"}, {"SET k w", "+OK"}} {
		say(t, nc, pair[0]+"\r\n")
		expectLine(t, r, pair[1])
	}
}
