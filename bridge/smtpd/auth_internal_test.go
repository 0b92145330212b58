package smtpd

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// exchange is a command or a response, and how the reply to it begins.
type exchange struct{ say, want string }

// TestAuth takes each mechanism through its ways (RFC 4954, RFC 4616, draft-murchison-sasl-login).
func TestAuth(t *testing.T) {
	const accepted, refused, unreadable, cancelled = "235 2.7.0", "535 5.7.8", "501 5.5.2", "501 5.0.0"
	good, bad := b64("\x00user\x00secret"), b64("\x00user\x00wrong")
	tests := []struct {
		name   string
		lines  []exchange
		user   string // afterwards
		result string // of the metric, "" for none
	}{
		{"PLAIN", []exchange{{"AUTH PLAIN " + good, accepted}}, "user", "accepted"},
		{"PLAIN in small letters", []exchange{{"auth plain " + good, accepted}}, "user", "accepted"},
		{"PLAIN without an initial response", []exchange{{"AUTH PLAIN", "334 "}, {good, accepted}}, "user", "accepted"},
		{"PLAIN with the user's own identity", []exchange{{"AUTH PLAIN " + b64("user\x00user\x00secret"), accepted}}, "user", "accepted"},
		{"PLAIN for another", []exchange{{"AUTH PLAIN " + b64("other\x00user\x00secret"), refused}}, "", "refused"},
		{"PLAIN with a wrong password", []exchange{{"AUTH PLAIN " + bad, refused}, {"AUTH PLAIN " + good, accepted}}, "user", "accepted"},
		{"PLAIN with an empty response", []exchange{{"AUTH PLAIN =", unreadable}}, "", ""},
		{"PLAIN with an empty line", []exchange{{"AUTH PLAIN", "334 "}, {"", unreadable}}, "", ""},
		{"PLAIN, not base64", []exchange{{"AUTH PLAIN ?", unreadable}, {"AUTH PLAIN", "334 "}, {"???", unreadable}, {"NOOP", "250"}}, "", ""},
		{"PLAIN without a NUL", []exchange{{"AUTH PLAIN " + b64("user secret"), unreadable}}, "", ""},
		{"PLAIN cancelled", []exchange{{"AUTH PLAIN", "334 "}, {"*", cancelled}, {"NOOP", "250"}}, "", ""},
		{"PLAIN without a verdict", []exchange{{"AUTH PLAIN " + b64("\x00nobody\x00secret"), "454 4.7.0"}, {"NOOP", "250"}}, "", "failed"},
		{"PLAIN as long as may be", []exchange{{"AUTH PLAIN " + b64("\x00user\x00"+strings.Repeat("x", 9000)), refused}}, "", "refused"},
		{"a response that is too long", []exchange{{"AUTH PLAIN", "334 "}, {strings.Repeat("x", maxCommandLine+1), "500 5.5.2"}, {"NOOP", "250"}}, "", ""},
		{"LOGIN", []exchange{{"AUTH LOGIN", "334 VXNlcm5hbWU6"}, {b64("user"), "334 UGFzc3dvcmQ6"}, {b64("secret"), accepted}}, "user", "accepted"},
		{"LOGIN with an initial response", []exchange{{"AUTH LOGIN " + b64("user"), "334 UGFzc3dvcmQ6"}, {b64("secret"), accepted}}, "user", "accepted"},
		{"LOGIN with a wrong password", []exchange{{"AUTH LOGIN", "334 "}, {b64("user"), "334 "}, {b64("wrong"), refused}}, "", "refused"},
		{"LOGIN with nothing", []exchange{{"AUTH LOGIN", "334 "}, {"", "334 "}, {"", refused}}, "", "refused"},
		{"LOGIN, not base64", []exchange{{"AUTH LOGIN", "334 "}, {"user", "334 "}, {"se cret", unreadable}}, "", ""},
		{"LOGIN cancelled", []exchange{{"AUTH LOGIN", "334 "}, {b64("user"), "334 "}, {"*", cancelled}, {"NOOP", "250"}}, "", ""},
		{"another mechanism", []exchange{{"AUTH CRAM-MD5", "504 5.5.4"}}, "", ""},
		{"no mechanism", []exchange{{"AUTH", "50"}}, "", ""},
		{"twice", []exchange{{"AUTH PLAIN " + good, accepted}, {"AUTH PLAIN " + good, "503 5.5.1"}}, "user", "accepted"},
		{"in a transaction", []exchange{{"MAIL FROM:<a@example.org>", "250"}, {"AUTH PLAIN " + good, "503 5.5.1"}, {"RCPT TO:<in@example.com>", "250"}}, "", ""},
		{"after HELO", []exchange{{"HELO client.example.org", "250"}, {"AUTH PLAIN " + good, "503 5.5.1"}}, "", ""},
		{"EHLO does not end it", []exchange{{"AUTH PLAIN " + good, accepted}, {"EHLO again.example.org", "250"}, {"AUTH PLAIN " + good, "503 5.5.1"}}, "user", "accepted"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.Users, c.AllowInsecureAuth = oneUser{}, true })
				d := r.dial("smtp").greeted(nil)
				for _, l := range tc.lines {
					d.do(l.say, l.want)
				}
				if tc.result != "" && r.metric("lsmtpd_smtp_auth_total", tc.result) != 1 {
					t.Errorf("no AUTH is counted as %s", tc.result)
				}
				d.do("RSET", "250")
				d.do("MAIL FROM:<a@example.org>", "250")
				if got := r.taken.peer().AuthenticatedAs; got != tc.user {
					t.Errorf("authenticated as %q, want %q", got, tc.user)
				}
			})
		})
	}
}

// Where AUTH is not offered, it is not taken.
func TestAuthNotOffered(t *testing.T) {
	ca := newAuthority(t, "ca")
	pair := &tls.Config{Certificates: []tls.Certificate{*ca.certificate("mx.example")}}
	good := "AUTH PLAIN " + b64("\x00user\x00secret")
	r := newRig(t, func(c *Config) { c.Users, c.TLS = oneUser{}, pair })
	d := r.dial("smtp")
	d.expect("220")
	if got := d.do("EHLO client.example.org", "250"); strings.Contains(got, "AUTH") || !strings.Contains(got, "STARTTLS") {
		t.Errorf("in clear, EHLO tells %q", got)
	}
	d.do(good, "538 5.7.11")
	d.do("STARTTLS", "220")
	d.upgrade(ca.client(nil))
	d.do(good, "503 5.5.1")
	if got := d.do("EHLO client.example.org", "250"); !strings.Contains(got, "AUTH PLAIN LOGIN") || strings.Contains(got, "STARTTLS") {
		t.Errorf("under TLS, EHLO tells %q", got)
	}
	d.do(good, "235")
	newRig(t, nil).dial("smtp").greeted(nil).do(good, "502 5.5.1")
}

// What must come before mail is said with 530, and a unix socket is excepted.
func TestRequired(t *testing.T) {
	ca := newAuthority(t, "ca")
	pair := &tls.Config{Certificates: []tls.Certificate{*ca.certificate("mx.example")}}
	r := newRig(t, func(c *Config) {
		c.TLS, c.TLSRequired, c.Users, c.AuthRequired = pair, true, oneUser{}, true
	})
	d := r.dial("smtp").greeted(nil)
	d.do("MAIL FROM:<a@example.org>", "530 5.7.0 must issue a STARTTLS command first")
	d.do("RCPT TO:<in@example.com>", "503 5.5.1")
	for _, c := range []string{"NOOP", "RSET", "HELP", "VRFY a"} {
		d.do(c, "2")
	}
	d.do("STARTTLS", "220")
	d.upgrade(ca.client(nil))
	d.do("EHLO client.example.org", "250")
	d.do("MAIL FROM:<a@example.org>", "530 5.7.0 authentication required")
	d.do("AUTH PLAIN "+b64("\x00user\x00secret"), "235")
	d.transaction()
	d.do("DATA", "354")
	d.do("body\r\n.", "250")
	d.do("QUIT", "221")

	local := r.dialUnix("lmtp")
	local.expect("220")
	local.do("LHLO client.example.org", "250")
	local.transaction()
	if got := r.taken.peer(); got.Address != "" || got.Protocol != "LMTP" {
		t.Errorf("on a unix socket, the Session was told %+v", got)
	}

	none := newRig(t, nil).dial("smtp").greeted(nil)
	none.do("STARTTLS", "502 5.5.1")
}

// The name of the protocol tells how the mail came (RFC 3848).
func TestProtocolNames(t *testing.T) {
	ca := newAuthority(t, "ca")
	pair := &tls.Config{Certificates: []tls.Certificate{*ca.certificate("mx.example")}}
	for _, tc := range []struct {
		want, scheme, hello string
		starttls, auth      bool
	}{
		{"SMTP", "smtp", "HELO", false, false},
		{"ESMTP", "smtp", "EHLO", false, false},
		{"ESMTPA", "smtp", "EHLO", false, true},
		{"ESMTPS", "smtp", "EHLO", true, false},
		{"ESMTPSA", "smtp", "EHLO", true, true},
		{"ESMTPS", "smtps", "EHLO", false, false},
		{"ESMTPSA", "smtps", "EHLO", false, true},
		{"LMTP", "lmtp", "LHLO", false, false},
		{"LMTPA", "lmtp", "LHLO", false, true},
		{"LMTPS", "lmtp", "LHLO", true, false},
		{"LMTPSA", "lmtp", "LHLO", true, true},
	} {
		t.Run(tc.scheme+" "+tc.want, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.TLS, c.Users, c.AllowInsecureAuth = pair, oneUser{}, true })
			d := r.dial(tc.scheme)
			if tc.scheme == "smtps" {
				d.upgrade(ca.client(nil))
			}
			d.expect("220 mx.example.com " + map[string]string{"smtp": "ESMTP", "smtps": "ESMTP", "lmtp": "LMTP"}[tc.scheme] + " lsmtpd")
			d.do(tc.hello+" client.example.org", "250")
			if tc.starttls {
				d.do("STARTTLS", "220")
				d.upgrade(ca.client(nil))
				d.do(tc.hello+" client.example.org", "250")
			}
			if tc.auth {
				d.do("AUTH PLAIN "+b64("\x00user\x00secret"), "235")
			}
			d.transaction()
			p := r.taken.peer()
			secure := tc.starttls || tc.scheme == "smtps"
			if p.Protocol != tc.want || p.Helo != "client.example.org" || p.Address != "192.0.2.1" || (p.TLS != nil) != secure {
				t.Errorf("the Session was told %+v, want the protocol %s", p, tc.want)
			}
		})
	}
}

// A verified certificate of a client is as good as AUTH; one that nobody vouches for is none.
func TestCertificateInTheStead(t *testing.T) {
	ca := newAuthority(t, "ca")
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	pair := &tls.Config{Certificates: []tls.Certificate{*ca.certificate("mx.example")}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
	r := newRig(t, func(c *Config) { c.TLS, c.Users, c.AuthRequired = pair, oneUser{}, true })

	named := r.dial("smtp").greeted(ca.client(ca.certificate("a device")))
	named.transaction()
	if got := r.taken.peer(); got.AuthenticatedAs != "a device" || got.Protocol != "ESMTPS" {
		t.Errorf("the Session was told %+v", got)
	}
	r.dial("smtp").greeted(ca.client(nil)).do("MAIL FROM:<a@example.org>", "530 5.7.0 authentication required")
}
