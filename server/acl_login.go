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
	// freeLogins is how many failed logins of an address are answered without a delay.
	freeLogins = 5
	// firstPenalty is the delay of the next answer. Each further failure doubles the delay, up to
	// maxPenalty.
	firstPenalty = 10 * time.Millisecond
	maxPenalty   = 2 * time.Second
	// penaltyMemory is how long an address is remembered after its last failure.
	penaltyMemory = 10 * time.Minute
	// penalized is how many addresses are remembered. A new one replaces the oldest.
	penalized = 4096
	// loginLogEvery is how many failures of an address cause one line in the log.
	loginLogEvery = 100
)

// failedLogins slows down clients that guess passwords, by network address. A right password is
// never delayed, nor are clients of a Unix socket, which have no address. It is safe for concurrent
// use.
type failedLogins struct {
	mu     sync.Mutex
	byAddr map[netip.Prefix]*list.Element
	order  list.List // of *failures, the latest first
}

// failures counts the failed logins of one address. An IPv6 address stands for its /64 network,
// because one host usually has a whole network.
type failures struct {
	addr  netip.Prefix
	count int
	last  ttl.Instant
}

// add counts a failed login and returns how long the answer has to wait.
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

// networkOf returns the network that failures of an address are counted for. ok is false for a Unix
// socket.
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

// count adds a failure of addr and returns the number of its failures.
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

// penaltyFor returns the delay of the answer to failure number count.
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

// servePenalty delays the answer to a failed login. It runs after the transaction has ended, when
// the connection holds no lock. A stop of the server ends the wait.
func (c *conn) servePenalty() {
	if c.penalty == 0 {
		return
	}
	wait := min(c.penalty, maxPenalty)
	c.penalty = 0
	_ = ttl.System.Sleep(c.srv.stopped, wait) // a stop of the server ends it early, which is fine
}
