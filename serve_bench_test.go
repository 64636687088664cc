package sessiond

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// BenchmarkServe is the way of a command from the wire to the store and back, pipelined so
// that the system's part of it is small. It must not allocate for each command.
func BenchmarkServe(b *testing.B) {
	value := strings.Repeat("x", 512)
	for _, command := range []string{"GET", "EXPIRE", "SET"} {
		for _, durability := range []Durability{EverySec} {
			b.Run(fmt.Sprint(command, "/", durability), func(b *testing.B) {
				store, err := Open(b.TempDir(), Options{Durability: durability, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				defer store.Close()
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				go func() { _ = store.Serve(ln) }()
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				const pipeline = 64
				set := strings.Repeat(resp("SET", "sess:1", value, "EX", "86400"), pipeline)
				request := map[string]string{
					"GET":    strings.Repeat(resp("GET", "sess:1"), pipeline),
					"EXPIRE": strings.Repeat(resp("EXPIRE", "sess:1", "86400"), pipeline), "SET": set,
				}[command]
				reply := map[string]int{"GET": len(resp(value)) - 4, "EXPIRE": 4, "SET": 5}[command] * pipeline
				r := bufio.NewReaderSize(conn, 1<<20)
				exchange := func(request string, reply int) {
					if _, err := io.WriteString(conn, request); err != nil {
						b.Fatal(err)
					}
					if _, err := r.Discard(reply); err != nil {
						b.Fatal(err)
					}
				}
				exchange(set, 5*pipeline)
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += pipeline {
					exchange(request, reply)
				}
			})
		}
	}
}

// resp is a command as clients send it.
func resp(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}
