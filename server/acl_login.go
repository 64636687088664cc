package server

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

const (
	// freeLogins is how many failed logins of an address are answered at once.
	freeLogins = 5
	// firstPenalty is how long the answer to the next one waits. It doubles from one to
	// the next, up to maxPenalty.
	firstPenalty = 10 * time.Millisecond
	maxPenalty   = 2 * time.Second
	// penaltyMemory is how long after the last failure an address is forgotten.
	penaltyMemory = 10 * time.Minute
	// penalized is how many addresses are remembered; the oldest make room.
	penalized = 4096
	// loginLogEvery is how many failures of an address make one line of the log.
	loginLogEvery = 100
)

// failedLogins slows down who guesses passwords, by network address. Right passwords are
// never slowed down, and neither is a Unix socket, whose clients have no address. It is
// safe for concurrent use.
type failedLogins struct {
	mu     sync.Mutex
	byAddr map[netip.Prefix]*list.Element
	order  list.List // of *failures, the latest first
}

// failures are those of one address: for IPv6 a network, of which a host has a whole one.
type failures struct {
	addr  netip.Prefix
	count int
	last  ttl.Instant
}

// add counts a failed login and returns how long its answer has to wait.
func (f *failedLogins) add(c *conn, user string) time.Duration {
	addr := c.net.RemoteAddr()
	network, ok := networkOf(addr)
	if !ok {
		return 0
	}
	count := f.count(network, c.srv.keyspace.Now())
	if count%loginLogEvery == 1 {
		c.srv.log.Warn("login refused: wrong password, or no such user",
			"addr", addr.String(), "user", user[:min(len(user), 64)], "failures", count)
	}
	return penaltyFor(count)
}

// networkOf returns whom an address is counted as. A Unix socket has none.
func networkOf(addr net.Addr) (netip.Prefix, bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	network, err := ip.Prefix(bits)
	return network, err == nil
}

// count adds a failure of addr and returns how many it has now.
func (f *failedLogins) count(addr netip.Prefix, now ttl.Instant) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byAddr == nil {
		f.byAddr = map[netip.Prefix]*list.Element{}
	}
	e := f.byAddr[addr]
	if e == nil {
		if f.order.Len() == penalized {
			oldest := f.order.Remove(f.order.Back()).(*failures)
			delete(f.byAddr, oldest.addr)
		}
		e = f.order.PushFront(&failures{addr: addr})
		f.byAddr[addr] = e
	}
	f.order.MoveToFront(e)
	known := e.Value.(*failures)
	if now >= known.last.Add(penaltyMemory) {
		known.count = 0
	}
	known.count++
	known.last = now
	return known.count
}

// penaltyFor returns how long the answer to the count-th failure waits.
func penaltyFor(count int) time.Duration {
	late := count - freeLogins - 1
	switch {
	case late < 0:
		return 0
	case late >= 10:
		return maxPenalty
	}
	return min(firstPenalty<<late, maxPenalty)
}

// servePenalty lets a failed login wait for its answer, after its transaction has ended
// and with no lock held. A stop of the server ends the wait.
func (c *conn) servePenalty() {
	if c.penalty == 0 {
		return
	}
	wait := min(c.penalty, maxPenalty)
	c.penalty = 0
	_ = ttl.System.Sleep(c.srv.stopped, wait) // cut short by a stop, which needs no answer
}
