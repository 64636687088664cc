package rawsocket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// pair returns both ends of a connection of the operating system.
func pair(t testing.TB, network string) (ours, theirs net.Conn) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if theirs, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

func eachNetwork(t *testing.T, test func(t *testing.T, ours, theirs net.Conn)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			ours, theirs := pair(t, network)
			if _, ok := newSocket(ours).(*socket); !ok {
				t.Fatal("a socket of the operating system is not taken for one")
			}
			test(t, ours, theirs)
		})
	}
}

func TestSocket_EverySize(t *testing.T) {
	eachNetwork(t, func(t *testing.T, ours, theirs net.Conn) {
		s := newSocket(ours)
		go func() { // ends with theirs
			_, _ = io.Copy(theirs, theirs)
		}()
		for _, size := range []int{1, 4096, maxQuick - 1, maxQuick, maxQuick + 1, 1 << 20} {
			sent, got := bytes.Repeat([]byte{byte(size), 1, 2, 3, 5, 7, 11}, size)[:size], make([]byte, size)
			written := make(chan error, 1)
			go func() {
				n, err := s.Write(sent)
				if err == nil && n != size {
					err = io.ErrShortWrite
				}
				written <- err
			}()
			if _, err := io.ReadFull(s, got); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if err := <-written; err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if !bytes.Equal(sent, got) {
				t.Fatalf("%d bytes came back changed", size)
			}
		}
	})
}

// A client that reads nothing holds a write up to its deadline, and then gets what was counted.
func TestSocket_WriteDeadline(t *testing.T) {
	eachNetwork(t, func(t *testing.T, ours, theirs net.Conn) {
		s := newSocket(ours)
		piece, sent := make([]byte, maxQuick), 0
		var err error
		for err == nil {
			if err := ours.SetWriteDeadline(ttl.System.Now().Add(50 * time.Millisecond).Time()); err != nil {
				t.Fatal(err)
			}
			var n int
			n, err = s.Write(piece)
			sent += n
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v, want the deadline", err)
		}
		if err := ours.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := io.Copy(io.Discard, theirs)
		if err != nil || got != int64(sent) {
			t.Fatalf("the client got %d bytes (%v), and %d were said to be sent", got, err, sent)
		}
	})
}

func TestSocket_WhatEndsARead(t *testing.T) {
	read := func(s io.Reader) <-chan error {
		ended := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 16))
			ended <- err
		}()
		return ended
	}
	for _, c := range []struct {
		name string
		end  func(ours, theirs net.Conn) error
		want error
	}{
		{"the client closes", func(_, theirs net.Conn) error { return theirs.Close() }, io.EOF},
		{"another goroutine closes", func(ours, _ net.Conn) error { return ours.Close() }, net.ErrClosed},
		{"the deadline is moved to the past", func(ours, _ net.Conn) error { return ours.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachNetwork(t, func(t *testing.T, ours, theirs net.Conn) {
				ended := read(newSocket(ours))
				if err := c.end(ours, theirs); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; !errors.Is(err, c.want) {
					t.Fatalf("got %v, want %v", err, c.want)
				}
			})
		})
	}
}

func TestSocket_WriteToNobody(t *testing.T) {
	eachNetwork(t, func(t *testing.T, ours, theirs net.Conn) {
		if err := theirs.Close(); err != nil {
			t.Fatal(err)
		}
		s := newSocket(ours)
		for range 1000 { // the first may still be taken
			if _, err := s.Write([]byte("+OK\r\n")); err != nil {
				return
			}
		}
		t.Fatal("a thousand replies were sent to a client that is gone")
	})
}

// A program that embeds the server may have put something around its sockets.
func TestSocket_LeavesOthersAlone(t *testing.T) {
	ours, _ := pair(t, "tcp")
	around := struct{ *net.TCPConn }{ours.(*net.TCPConn)}
	if got := newSocket(around); got != io.ReadWriter(around) {
		t.Fatalf("got %T", got)
	}
}
