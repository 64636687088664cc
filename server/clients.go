package server

import (
	"fmt"
	"net"
	"slices"

	"github.com/sessiond/sessiond/ttl"
)

// clients returns the connections with these ids, in that order, or all of them by age if ids is
// nil. It leaves out connections that were cut.
func (s *Server) clients(ids []int64) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*conn
	if ids == nil {
		for _, c := range s.conns {
			found = append(found, c)
		}
		slices.SortFunc(found, func(a, b *conn) int { return int(a.id - b.id) })
	}
	for _, id := range ids {
		if c := s.conns[id]; c != nil {
			found = append(found, c)
		}
	}
	return slices.DeleteFunc(found, func(c *conn) bool { return c.isCut.Load() })
}

// describe returns the line of CLIENT LIST. It has the fields of Redis 7.0, followed by the two that
// 7.2 added. Buffers that are not measured are 0; the file descriptor, which Go hides, is -1.
func (c *conn) describe(now ttl.Instant) string {
	c.mu.Lock()
	s := c.info
	c.mu.Unlock()
	last := "NULL"
	if cmd := c.lastCommand.Load(); cmd != nil {
		last = cmd.fullName()
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=-1 name=%s age=%d idle=%d flags=%s db=%d "+
		"sub=0 psub=0 ssub=0 multi=%d qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 "+
		"obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=%s user=%s redir=-1 resp=%d "+
		"lib-name=%s lib-ver=%s\n",
		c.id, c.remoteAddr(), c.localAddr(), s.name, secondsSince(now, c.opened),
		secondsSince(now, ttl.Instant(c.lastUsed.Load())), s.flags(c.isUnix()), s.db, s.queued, last, s.user.Name(), s.proto,
		s.libName, s.libVersion)
}

// secondsSince returns the whole seconds from earlier to now, or 0 if the clock went back.
func secondsSince(now, earlier ttl.Instant) int64 { return max(0, int64(now-earlier)/1000) }

// flags are Redis' letters for the state of a client.
func (s *clientInfo) flags(unix bool) string {
	var b []byte
	if s.queued >= 0 {
		b = append(b, 'x')
	}
	if s.held {
		b = append(b, 'b')
	}
	if unix {
		b = append(b, 'U')
	}
	if s.noEvict {
		b = append(b, 'e')
	}
	if s.noTouch {
		b = append(b, 'T')
	}
	if len(b) == 0 {
		return "N"
	}
	return string(b)
}

func (c *conn) isUnix() bool { return c.net.LocalAddr().Network() == "unix" }

// remoteAddr returns the client's address. A client of a Unix socket has none; it gets the path of
// the socket, as in Redis.
func (c *conn) remoteAddr() string {
	if c.isUnix() {
		return c.localAddr()
	}
	return c.net.RemoteAddr().String()
}

func (c *conn) localAddr() string { return addrText(c.net.LocalAddr()) }

func addrText(a net.Addr) string {
	if a.Network() == "unix" {
		return a.String() + ":0"
	}
	return a.String()
}
