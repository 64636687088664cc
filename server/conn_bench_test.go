package server

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/enginetest"
	"github.com/sessiond/sessiond/ttl"
)

// replay is a client that sends a pipeline left times and takes all replies.
type replay struct {
	net.Conn
	pipeline string
	left     int
}

func (r *replay) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	r.left--
	return copy(b, r.pipeline), nil
}

func (r *replay) Write(b []byte) (int, error)      { return len(b), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) SetReadDeadline(time.Time) error  { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkConn is what the loop of a connection takes for one command, without a socket: alone,
// and in a pipeline of 64. It must not allocate.
func BenchmarkConn(b *testing.B) {
	echo := encode([]string{"ECHO", "0123456789abcdef"})
	for _, bench := range []struct {
		name     string
		pipeline int
	}{{"alone", 1}, {"pipeline", 64}} {
		b.Run(bench.name, func(b *testing.B) {
			srv := New(Config{Keyspace: storage.NewKeyspace(enginetest.NewModel(), ttl.NewManual(1))})
			c := newConn(srv, 1, &replay{pipeline: strings.Repeat(echo, bench.pipeline), left: b.N/bench.pipeline + 1})
			b.ReportAllocs()
			b.ResetTimer()
			c.serve()
		})
	}
}
