package smtpd

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Network is an IP address, a range of them, or all peers on unix sockets.
type Network struct {
	prefix netip.Prefix
	unix   bool
}

// ParseNetwork reads an IP address (192.0.2.1, 2001:db8::1), a range in CIDR notation (192.0.2.0/24), or "unix",
// which is every peer on a unix socket. An IPv4 address in IPv6's form (::ffff:192.0.2.1) is that IPv4 address.
func ParseNetwork(s string) (Network, error) {
	const mapped = 96 // bits of ::ffff:0:0/96, where IPv6 keeps the IPv4 addresses (RFC 4291 §2.5.5.2)
	const want = "want an IP address or a range, as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32, or unix"
	if s == "unix" {
		return Network{unix: true}, nil
	}
	if strings.Contains(s, "%") {
		return Network{}, fmt.Errorf("%q names a zone; %s", s, want)
	}
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return Network{}, fmt.Errorf("%q is not an IP address; %s", s, want)
		}
		addr = addr.Unmap()
		return Network{prefix: netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return Network{}, fmt.Errorf("%q is not a range of IP addresses; %s", s, want)
	}
	if p != p.Masked() {
		// Likely a slip: what does it mean, the host or its network?
		return Network{}, fmt.Errorf("%q has bits after its first %d; want the range %s or the address %s", s, p.Bits(), p.Masked(), p.Addr())
	}
	if p.Addr().Is4In6() { // then, masked, it is at least that long
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return Network{prefix: p}, nil
}

// String is the network as ParseNetwork reads it.
func (n Network) String() string {
	switch {
	case n.unix:
		return "unix"
	case n.prefix.IsSingleIP():
		return n.prefix.Addr().String()
	}
	return n.prefix.String()
}

// Networks are peers that are trusted with something. The zero value trusts nobody.
type Networks []Network

// Contains reports whether the peer at addr, the remote address of a connection, is in one of the networks.
func (ns Networks) Contains(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.UnixAddr:
		return slices.ContainsFunc(ns, func(n Network) bool { return n.unix })
	case *net.TCPAddr:
		// An IPv4 peer of an IPv6 socket is an IPv4 peer, and a link-local one has the zone of our interface.
		ip := a.AddrPort().Addr().Unmap().WithZone("")
		return slices.ContainsFunc(ns, func(n Network) bool { return n.prefix.Contains(ip) })
	}
	return false
}
