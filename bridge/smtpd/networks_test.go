package smtpd

import (
	"net"
	"testing"
)

func TestNetworksContains(t *testing.T) {
	tcp := func(ip, zone string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 25, Zone: zone} }
	short := &net.TCPAddr{IP: net.ParseIP("192.0.2.1").To4(), Port: 25}
	socket := &net.UnixAddr{Net: "unix"}
	for _, tt := range []struct {
		name    string
		entries []string
		addr    net.Addr
		want    bool
	}{
		{"none", nil, tcp("127.0.0.1", ""), false},
		{"none, unix", nil, socket, false},
		{"address", []string{"192.0.2.1"}, tcp("192.0.2.1", ""), true},
		{"address of four octets", []string{"192.0.2.1"}, short, true},
		{"another address", []string{"192.0.2.1"}, tcp("192.0.2.2", ""), false},
		{"first of a range", []string{"192.0.2.0/25"}, tcp("192.0.2.0", ""), true},
		{"last of a range", []string{"192.0.2.0/25"}, tcp("192.0.2.127", ""), true},
		{"after a range", []string{"192.0.2.0/25"}, tcp("192.0.2.128", ""), false},
		{"IPv6", []string{"2001:db8::1"}, tcp("2001:db8::1", ""), true},
		{"IPv6 range", []string{"2001:db8::/32"}, tcp("2001:db8:ffff::1", ""), true},
		{"after an IPv6 range", []string{"2001:db8::/32"}, tcp("2001:db9::", ""), false},
		{"IPv4 as IPv6", []string{"::ffff:192.0.2.1"}, short, true},
		{"IPv4 range as IPv6", []string{"::ffff:192.0.2.0/120"}, tcp("192.0.2.9", ""), true},
		{"all IPv4 as IPv6", []string{"::ffff:0:0/96"}, short, true},
		{"all IPv4", []string{"0.0.0.0/0"}, short, true},
		{"all IPv4 is no IPv6", []string{"0.0.0.0/0"}, tcp("2001:db8::1", ""), false},
		{"all IPv6 is no IPv4", []string{"::/0"}, short, false},
		{"with the zone of an interface", []string{"fe80::/10"}, tcp("fe80::1", "eth0"), true},
		{"the second entry", []string{"192.0.2.1", "2001:db8::/32"}, tcp("2001:db8::1", ""), true},
		{"unix", []string{"192.0.2.1", "unix"}, socket, true},
		{"unix is no IP", []string{"unix"}, tcp("127.0.0.1", ""), false},
		{"an IP is no unix", []string{"0.0.0.0/0", "::/0"}, socket, false},
		{"no address", []string{"0.0.0.0/0", "::/0", "unix"}, nil, false},
		{"an address without an IP", []string{"0.0.0.0/0", "::/0", "unix"}, &net.TCPAddr{}, false},
		{"another kind of address", []string{"0.0.0.0/0", "::/0", "unix"}, &net.IPAddr{IP: net.IPv4(192, 0, 2, 1)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ns Networks
			for _, entry := range tt.entries {
				n, err := ParseNetwork(entry)
				if err != nil {
					t.Fatal(err)
				}
				ns = append(ns, n)
			}
			if got := ns.Contains(tt.addr); got != tt.want {
				t.Errorf("%v contains %v: got %v, want %v", tt.entries, tt.addr, got, tt.want)
			}
		})
	}
}

func TestNetworkString(t *testing.T) {
	for entry, want := range map[string]string{
		"unix": "unix", "192.0.2.1": "192.0.2.1", "192.0.2.1/32": "192.0.2.1", "192.0.2.0/24": "192.0.2.0/24",
		"2001:DB8::/32": "2001:db8::/32", "2001:db8:0::1": "2001:db8::1", "::ffff:192.0.2.1": "192.0.2.1", "::ffff:192.0.2.0/120": "192.0.2.0/24",
	} {
		n, err := ParseNetwork(entry)
		if err != nil || n.String() != want {
			t.Errorf("ParseNetwork(%q): got %q, %v, want %q", entry, n, err, want)
		}
		if again, err := ParseNetwork(n.String()); again != n || err != nil {
			t.Errorf("ParseNetwork(%q): got %v, %v, want %v", n.String(), again, err, n)
		}
	}
}

func TestParseNetworkErrors(t *testing.T) {
	const want = "; want an IP address or a range, as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32, or unix"
	for _, tt := range []struct{ name, entry, want string }{
		{"empty", "", `"" is not an IP address` + want},
		{"host name", "proxy.example", `"proxy.example" is not an IP address` + want},
		{"with a port", "192.0.2.1:25", `"192.0.2.1:25" is not an IP address` + want},
		{"in brackets", "[2001:db8::1]", `"[2001:db8::1]" is not an IP address` + want},
		{"range too long", "192.0.2.0/33", `"192.0.2.0/33" is not a range of IP addresses` + want},
		{"netmask", "192.0.2.0/255.255.255.0", `"192.0.2.0/255.255.255.0" is not a range of IP addresses` + want},
		{"short", "10/8", `"10/8" is not a range of IP addresses` + want},
		{"path of a socket", "/run/proxy.sock", `"/run/proxy.sock" is not a range of IP addresses` + want},
		{"zone", "fe80::1%eth0", `"fe80::1%eth0" names a zone` + want},
		{"host in a range", "10.1.2.3/8", `"10.1.2.3/8" has bits after its first 8; want the range 10.0.0.0/8 or the address 10.1.2.3`},
		{"more than all IPv4 as IPv6", "::ffff:0:0/90", `"::ffff:0:0/90" has bits after its first 90; want the range ::ffc0:0:0/90 or the address ::ffff:0.0.0.0`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseNetwork(tt.entry); err == nil || err.Error() != tt.want {
				t.Errorf("ParseNetwork(%q):\ngot  %v\nwant %s", tt.entry, err, tt.want)
			}
		})
	}
}
