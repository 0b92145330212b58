package smtpd

import (
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"

	"lsmtpd/bridge"
)

// header2 is a header of the PROXY protocol, version 2: the command (0 LOCAL, 1 PROXY), the family, and the addresses.
func header2(command, family byte, addresses string) string {
	return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{0x20 | command, family, byte(len(addresses) >> 8), byte(len(addresses))}) + addresses
}

const (
	inet4 = "\xc6\x33\x64\x07" + "\xc6\x33\x64\x08" + "\x10\x01\x00\x19"                                                                                                 // 198.51.100.7:4097 to 198.51.100.8:25
	inet6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08" + "\x10\x01\x00\x19" // 2001:db8::7 to 2001:db8::8
)

// TestProxyHeader gives each header, alone and with commands behind it in the same segment.
func TestProxyHeader(t *testing.T) {
	const own = "192.0.2.1"                         // of the proxy
	tests := []struct{ name, header, want string }{ // want is the client's address, "" where the connection is closed
		{"v1 TCP4", "PROXY TCP4 198.51.100.7 198.51.100.8 4097 25\r\n", "198.51.100.7"},
		{"v1 TCP6", "PROXY TCP6 2001:db8::7 2001:db8::8 4097 25\r\n", "2001:db8::7"},
		{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", own},
		{"v1 UNKNOWN with addresses", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", own},
		{"v1 malformed address", "PROXY TCP4 198.51.100.700 198.51.100.8 4097 25\r\n", ""},
		{"v1 malformed port", "PROXY TCP4 198.51.100.7 198.51.100.8 99999 25\r\n", ""},
		{"v1 bare LF", "PROXY TCP4 198.51.100.7 198.51.100.8 4097 25\n", ""},
		{"v1 too long", "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", ""},
		{"v1 in small letters", "proxy TCP4 198.51.100.7 198.51.100.8 4097 25\r\n", ""},
		{"v2 TCP over IPv4", header2(1, 0x11, inet4), "198.51.100.7"},
		{"v2 TCP over IPv6", header2(1, 0x21, inet6), "2001:db8::7"},
		{"v2 with a TLV", header2(1, 0x11, inet4+"\x04\x00\x03abc"), "198.51.100.7"},
		{"v2 LOCAL", header2(0, 0x00, ""), own},
		{"v2 LOCAL with addresses", header2(0, 0x11, inet4), own},
		{"v2 UNSPEC, which a receiver may refuse", header2(1, 0x00, ""), ""},
		{"v2 UNIX", header2(1, 0x31, strings.Repeat("\x00", 216)), own},
		{"v2 UDP", header2(1, 0x12, inet4), own},
		{"v2 addresses cut short", header2(1, 0x11, inet4[:8]), ""},
		{"v2 unknown command", header2(7, 0x11, inet4), ""},
		{"v2 wrong version", strings.Replace(header2(1, 0x11, inet4), "\x21", "\x31", 1), ""},
		{"absent", "", ""},
	}
	const commands = "EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\n"
	for _, tc := range tests {
		for _, behind := range []string{"", commands} {
			t.Run(tc.name+map[bool]string{true: " with commands", false: ""}[behind != ""], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, func(c *Config) { limitedConfig(c); c.ProxyFrom = proxies(t, own) })
					d := r.dialFrom("smtp", own)
					d.write(tc.header + behind)
					if tc.want == "" {
						d.expect("")
						if got := r.limited(limitProxyHeader); got != 1 || len(r.taken.all()) != 0 {
							t.Errorf("counted %v times, want once; called %q", got, r.taken.all())
						}
						return
					}
					d.expect("220")
					if behind == "" {
						d.write(commands)
					}
					d.expect("250")
					d.expect("250")
					if got := r.taken.peer().Address; got != tc.want {
						t.Errorf("the client has the address %q, want %q", got, tc.want)
					}
				})
			})
		}
	}
}

// A header from whom it is not taken is a command that is not known.
func TestProxyHeaderNotTrusted(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ProxyFrom = proxies(t, "192.0.2.2") })
	d := r.dial("smtp")
	d.expect("220")
	d.do("PROXY TCP4 198.51.100.7 198.51.100.8 4097 25", "500 5.5.1")
	d.do("EHLO client.example.org", "250")
	d.transaction()
	if got := r.taken.peer().Address; got != "192.0.2.1" {
		t.Errorf("the client has the address %q", got)
	}
}

// The header comes before the handshake, and TLS begins with what is behind it.
func TestProxyHeaderAndTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, scheme := range []string{"smtp", "smtps"} {
		t.Run(scheme, func(t *testing.T) {
			r := newRig(t, func(c *Config) {
				c.ProxyFrom = proxies(t, "192.0.2.0/24")
				c.TLS = &tls.Config{Certificates: []tls.Certificate{*ca.certificate("mx.example")}}
			})
			d := r.dial(scheme)
			d.write(header2(1, 0x21, inet6))
			if scheme == "smtps" {
				d.upgrade(ca.client(nil))
				d.greeted(nil)
			} else {
				d.greeted(ca.client(nil))
			}
			d.transaction()
			if p := r.taken.peer(); p.Address != "2001:db8::7" || p.TLS == nil {
				t.Errorf("the Session was told %+v", p)
			}
		})
	}
}

// What is counted is the client that the proxy names, not the proxy.
func TestProxyHeaderAndLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.ProxyFrom, c.MaxConnectionsPerIP = proxies(t, "192.0.2.1"), 2 })
		dial := func(header, want string) *dialogue {
			d := r.dial("smtp")
			d.write(header)
			d.expect(want)
			return d
		}
		first := dial(header2(1, 0x11, inet4), "220")
		dial("PROXY TCP4 198.51.100.7 198.51.100.8 4097 25\r\n", "220")
		dial(header2(1, 0x11, inet4), "421 4.7.0")
		dial(header2(1, 0x21, inet6), "220")
		dial("PROXY UNKNOWN\r\n", "220")
		first.do("QUIT", "221")
		synctest.Wait()
		dial(header2(1, 0x11, inet4), "220")
		if got := r.limited(limitConnectionsPerIP); got != 1 {
			t.Errorf("the limit was reached %v times, want 1", got)
		}
	})
}

// TestXclient gives each attribute, and what is none.
func TestXclient(t *testing.T) {
	start := bridge.Peer{Helo: "h", Address: "192.0.2.1", Protocol: "ESMTP"}
	with := func(change func(*bridge.Peer)) bridge.Peer { p := start; change(&p); return p }
	tests := []struct {
		name, command, reply string
		hello                string // after it
		want                 bridge.Peer
	}{
		{"ADDR", "XCLIENT ADDR=198.51.100.7", "220 mx.example.com ESMTP", "EHLO h", with(func(p *bridge.Peer) { p.Address = "198.51.100.7" })},
		{"ADDR of IPv6", "xclient addr=IPV6:2001:db8::7", "220", "EHLO h", with(func(p *bridge.Peer) { p.Address = "2001:db8::7" })},
		{"ADDR unavailable", "XCLIENT ADDR=[UNAVAILABLE]", "220", "EHLO h", with(func(p *bridge.Peer) { p.Address = "" })},
		{"LOGIN", "XCLIENT LOGIN=joe+40example.org", "220", "EHLO h", with(func(p *bridge.Peer) { p.AuthenticatedAs, p.Protocol = "joe@example.org", "ESMTPA" })},
		{"LOGIN unavailable", "XCLIENT LOGIN=[UNAVAILABLE]", "220", "EHLO h", start},
		{"HELO", "XCLIENT HELO=named.example.org", "220", "", with(func(p *bridge.Peer) { p.Helo = "named.example.org" })},
		{"HELO and PROTO", "XCLIENT HELO=named.example.org PROTO=SMTP", "220", "", with(func(p *bridge.Peer) { p.Helo, p.Protocol = "named.example.org", "SMTP" })},
		{"PROTO", "XCLIENT PROTO=ESMTP", "220", "EHLO h", start},
		{"PROTO says more than a greeting", "XCLIENT PROTO=SMTP", "220", "EHLO h", with(func(p *bridge.Peer) { p.Protocol = "SMTP" })},
		{"all", "XCLIENT NAME=named.example.org ADDR=198.51.100.7 PORT=4097 PROTO=ESMTP HELO=h2 LOGIN=joe DESTADDR=198.51.100.8 DESTPORT=25", "220", "",
			bridge.Peer{Helo: "h2", Address: "198.51.100.7", AuthenticatedAs: "joe", Protocol: "ESMTPA"}},
		{"xtext", "XCLIENT HELO=a+2Bb", "220", "", with(func(p *bridge.Peer) { p.Helo = "a+b" })},
		{"nothing", "XCLIENT", "501 5.5.4", "", start},
		{"no value", "XCLIENT ADDR", "501 5.5.4", "", start},
		{"a bad address", "XCLIENT HELO=other ADDR=198.51.100.700", "501 5.5.4", "", start},
		{"a bad protocol", "XCLIENT PROTO=HTTP", "501 5.5.4", "", start},
		{"an unknown attribute", "XCLIENT ADDR=198.51.100.7 COLOUR=red", "501 5.5.4", "", start},
		{"bad xtext", "XCLIENT HELO=a+2", "501 5.5.4", "", start},
		{"a line end in xtext", "XCLIENT HELO=a+0D+0Ab", "501 5.5.4", "", start},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.XclientFrom = proxies(t, "192.0.2.1") })
				d := r.dial("smtp")
				d.expect("220")
				if got := d.do("EHLO h", "250"); !strings.Contains(got, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN") {
					t.Errorf("EHLO tells %q", got)
				}
				d.do(tc.command, tc.reply)
				if tc.hello != "" {
					d.do("MAIL FROM:<a@example.org>", "503 5.5.1")
					d.do(tc.hello, "250")
				}
				d.transaction()
				if got := r.taken.peer(); got != tc.want {
					t.Errorf("the Session was told %+v, want %+v", got, tc.want)
				}
			})
		})
	}
}

// On a unix socket, those who are trusted are all or none.
func TestUnixPeers(t *testing.T) {
	r := newRig(t, func(c *Config) { c.XclientFrom, c.ProxyFrom = proxies(t, "unix"), proxies(t, "unix") })
	d := r.dialUnix("lmtp")
	d.write("PROXY TCP4 198.51.100.7 198.51.100.8 4097 25\r\n")
	d.expect("220")
	d.do("LHLO h", "250")
	d.do("XCLIENT ADDR=198.51.100.9", "550 5.7.0") // it is for whom the proxy names, who is not trusted
	d.transaction()
	if got := r.taken.peer().Address; got != "198.51.100.7" {
		t.Errorf("the client has the address %q", got)
	}
	d = r.dialUnix("lmtp")
	d.write(header2(0, 0x00, ""))
	d.expect("220")
	d.do("XCLIENT ADDR=198.51.100.9", "220")
	d.do("LHLO h", "250")
	d.transaction()
	if got := r.taken.peer().Address; got != "198.51.100.9" {
		t.Errorf("the client has the address %q", got)
	}
}

// A client that the proxy does not know has its address and not its rights.
func TestProxyVouchesForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.ProxyFrom, c.XclientFrom = proxies(t, "192.0.2.1"), proxies(t, "192.0.2.1") })
		for header, want := range map[string]string{
			"PROXY UNKNOWN\r\n":                           "550 5.7.0",
			header2(1, 0x31, strings.Repeat("\x00", 216)): "550 5.7.0",
			header2(0, 0x00, ""):                          "220",
		} {
			d := r.dialFrom("smtp", "192.0.2.1")
			d.write(header)
			d.expect("220")
			d.do("EHLO h", "250")
			d.do("XCLIENT LOGIN=boss", want)
		}
	})
}

// What is known of a proxy is not known of its client, and the client cannot use what the proxy may.
func TestXclientEndsWithOtherCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) {
			c.XclientFrom = proxies(t, "192.0.2.1")
			c.Users, c.AllowInsecureAuth, c.AuthRequired = oneUser{}, true, true
		})
		d := r.dialFrom("smtp", "192.0.2.1")
		d.expect("220")
		d.do("EHLO proxy", "250")
		d.do("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00user\x00secret")), "235")
		d.do("XCLIENT ADDR=198.51.100.7", "220")
		d.do("XCLIENT HELO=client", "220")
		d.do("MAIL FROM:<a@example.org>", "530 5.7.0")
		d.do("XCLIENT LOGIN=boss", "550 5.7.0")
	})
}

// XCLIENT is for those who are trusted, between mails.
func TestXclientRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.XclientFrom, c.ProxyFrom = proxies(t, "192.0.2.1"), proxies(t, "192.0.2.3") })
	d := r.dial("smtp").greeted(nil)
	d.do("MAIL FROM:<a@example.org>", "250")
	d.do("XCLIENT ADDR=198.51.100.7", "503 5.5.1")
	d.do("RCPT TO:<in@example.com>", "250")
	for from, header := range map[string]string{"192.0.2.2": "", "192.0.2.3": header2(1, 0x11, inet4)} {
		d := r.dialFrom("smtp", from)
		d.write(header)
		d.expect("220")
		if got := d.do("EHLO h", "250"); strings.Contains(got, "XCLIENT") {
			t.Errorf("EHLO tells %q", got)
		}
		d.do("XCLIENT ADDR=198.51.100.7", "550 5.7.0")
		d.transaction()
	}
}
