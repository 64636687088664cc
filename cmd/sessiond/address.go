package main

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// address is an address of --bind, in the form of redis.conf:
//
//	127.0.0.1  ::1  [::1]   an address
//	localhost               the address of a name, that of IPv4 if it has one
//	*  0.0.0.0              all of IPv4
//	::*  ::                 all of IPv6
//	-::1                    one that this machine may lack
//
// Unlike in redis.conf it may have a port of its own, as in 127.0.0.1:6380 and [::1]:6380.
type address struct {
	text     string // as typed
	ip       netip.Addr
	optional bool // left out if the machine lacks it
	ownPort  bool // port replaces --port and --tls-port
	port     uint16
}

// resolveAddress looks up a name. As in Redis an unknown name is an error, even if the address is
// optional.
func resolveAddress(text string) (address, error) {
	a := address{text: text}
	host, optional := strings.CutPrefix(text, "-")
	a.optional = optional
	if _, err := netip.ParseAddr(host); err != nil { // ::1 is no host with a port
		if name, port, err := net.SplitHostPort(host); err == nil {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				return a, usagef("--bind %s: the port is not a whole number from 0 to 65535", text)
			}
			host, a.ownPort, a.port = name, true, uint16(n)
		}
	}
	switch host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"); host {
	case "":
		return a, usagef("--bind %s: there is no address in it; * is all of IPv4, ::* all of IPv6", text)
	case "*":
		a.ip = netip.IPv4Unspecified()
		return a, nil
	case "::*":
		a.ip = netip.IPv6Unspecified()
		return a, nil
	}
	found, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return a, usagef("--bind %s: %w", text, err)
	}
	ip, _ := netip.AddrFromSlice(found.IP) // it has 4 or 16 bytes
	a.ip = ip.Unmap().WithZone(found.Zone)
	return a, nil
}

// at returns where to listen, with the port of a flag unless the address has its own.
func (a address) at(port uint16) *net.TCPAddr {
	if a.ownPort {
		port = a.port
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.ip, port))
}

// network keeps 0.0.0.0 from meaning IPv6 as well, and :: from meaning IPv4.
func (a address) network() string {
	if a.ip.Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// overlaps reports whether two addresses would use the same port.
func (a address) overlaps(b address, port uint16) bool {
	at := a.at(port).Port
	return at != 0 && at == b.at(port).Port && a.ip.Is4() == b.ip.Is4() &&
		(a.ip == b.ip || a.ip.IsUnspecified() || b.ip.IsUnspecified())
}
