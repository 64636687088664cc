package resp

import (
	"strings"
	"testing"

	"github.com/tidwall/redcon"
)

const oneGet = "*2\r\n$3\r\nGET\r\n$33\r\nsess:0123456789abcdef0123456789ab\r\n"

// endless is a client that repeats the same pipeline for ever.
type endless struct {
	data string
	off  int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.off:])
	e.off = (e.off + n) % len(e.data)
	return n, nil
}

// BenchmarkReader is the cost of cutting one pipelined GET out of the stream. It must not
// allocate.
func BenchmarkReader(b *testing.B) { benchReader(b, strings.Repeat(oneGet, 16)) }

// BenchmarkReader_ManyArguments is the cost of one command of 200,000 arguments.
func BenchmarkReader_ManyArguments(b *testing.B) {
	benchReader(b, encode(strings.Fields("MGET"+strings.Repeat(" key", 200_000))))
}

// benchReader cuts the commands out of a stream that repeats data.
func benchReader(b *testing.B, data string) {
	f := newReader(&endless{data: data})
	f.loggedIn = true
	b.ReportAllocs()
	for b.Loop() {
		for {
			if _, err := f.Next(); err == nil {
				break
			}
			if err := f.Fill(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkRedconParse is what redcon's parser adds for a command that was already cut
// out: the price of parsing twice.
func BenchmarkRedconParse(b *testing.B) {
	raw := []byte(oneGet)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := redcon.Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
