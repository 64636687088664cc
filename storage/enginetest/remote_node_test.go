package enginetest

import (
	"errors"
	"net"
	"net/rpc"
	"sync"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// Node keeps a State for all processes.
type Node struct {
	mu    sync.Mutex
	state State
}

// Load returns the state.
func (n *Node) Load(_ int, s *State) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	*s = n.state
	return nil
}

// Store replaces the state if it still has the version that s was made of.
func (n *Node) Store(s State, fresh *bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if *fresh = s.Version == n.state.Version; *fresh {
		s.Version++
		n.state = s
	}
	return nil
}

// startNode serves a node on a port of its own, and returns what connects to it.
func startNode(t testing.TB) (connect func(t testing.TB) *remote) {
	t.Helper()
	server := rpc.NewServer()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err, server.Register(&Node{})); err != nil {
		t.Fatal(err)
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			go server.ServeConn(conn) // until the client hangs up
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-accepting })
	return func(t testing.TB) *remote {
		client, err := rpc.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return &remote{call: client.Call}
	}
}

// Ensure that an engine that runs functions again and holds no lock keeps the contract.
func TestRemote(t *testing.T) {
	t.Parallel()
	factory := Factory{Open: func(t testing.TB) storage.Engine { return startNode(t)(t) }}
	t.Run("Contract", func(t *testing.T) { Run(t, factory) })
	t.Run("Model", func(t *testing.T) { RunModel(t, factory, 0, 300) })
}

// Ensure that two processes with one store do not lose each other's writes.
func TestRemote_Two(t *testing.T) {
	t.Parallel()
	connect := startNode(t)
	processes := []*remote{connect(t), connect(t)}
	k, attempts := key(0, "counter"), [2]int{}
	together(2, func(i int) {
		for range 50 {
			_, err := processes[i].Update(t.Context(), scope([]storage.Key{k}), func(tx storage.Txn) error {
				attempts[i]++
				return addTo(tx, k, 1)
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		}
	})
	s := &subject{t: t, engine: processes[0]}
	s.holds(row{0, "counter", "100", ttl.Never})
	t.Logf("100 updates took %d attempts", attempts[0]+attempts[1])
}
