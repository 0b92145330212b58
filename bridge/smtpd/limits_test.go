package smtpd_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"lsmtpd/bridge"
	"lsmtpd/bridge/route"
	"lsmtpd/bridge/smtpd"
)

// limited is how often a limit was reached.
func (b *bed) limited(name string) float64 {
	b.t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "lsmtpd_smtp_limit_reached_total" && m.GetLabel()[0].GetValue() == name {
				return m.GetCounter().GetValue()
			}
		}
	}
	b.t.Fatalf("no counter of the limit %s", name)
	return 0
}

// Each line of a dialogue: what the client says, and how the reply begins. A reply of "" is the end of the connection.
type line struct{ say, want string }

var (
	beginning = []line{{"", "220"}, {"EHLO client.example.org", "250"}}
	onAndOn   = []line{{"MAIL FROM:<a@example.org>", "250"}, {"RCPT TO:<in@example.com>", "250"}, {"DATA", "354"}, {"body\r\n.", "250"}}
)

// play goes through a dialogue.
func (c *client) play(lines ...line) {
	c.t.Helper()
	for _, l := range lines {
		if l.say != "" {
			c.write(l.say + "\r\n")
		}
		if got := c.reply(); !strings.HasPrefix(got, l.want) || l.want == "" && got != "" {
			c.t.Fatalf("%.80q was answered with %q, want %q", l.say, got, l.want)
		}
	}
}

func repeated(n int, lines ...line) (list []line) {
	for range n {
		list = append(list, lines...)
	}
	return list
}

func joined(lists ...[]line) (list []line) {
	for _, l := range lists {
		list = append(list, l...)
	}
	return list
}

// Each limit has its reply, its effect and its counter. Those on time are in TestTimeouts and after.
func TestLimits(t *testing.T) {
	noop, unknown, end := line{"NOOP", "250"}, line{"XYZZY", "500 5.5.1"}, line{"", ""}
	tests := []struct {
		limit    string
		change   func(*smtpd.Config, *bridge.Config)
		dialogue []line
		reached  float64 // 0 for once
	}{
		{"max_recipients", func(_ *smtpd.Config, b *bridge.Config) { b.MaxRecipients = 2 }, []line{
			onAndOn[0], onAndOn[1], onAndOn[1], {"RCPT TO:<third@example.com>", "452 4.5.3"}, onAndOn[2], onAndOn[3]}, 0},
		{"max_message_bytes", func(_ *smtpd.Config, b *bridge.Config) { b.MaxMessageBytes = 1000 }, []line{
			{"MAIL FROM:<a@example.org> SIZE=1001", "552 5.3.4"}, {"MAIL FROM:<a@example.org> SIZE=1000", "250"}, onAndOn[1], onAndOn[2],
			{strings.Repeat("x", 1001) + "\r\n.", "552 5.3.4"}, noop}, 2},
		{"max_transactions", func(c *smtpd.Config, _ *bridge.Config) { c.MaxTransactions = 2 }, joined(
			onAndOn, onAndOn, []line{{"MAIL FROM:<a@example.org>", "421 4.7.0"}, end}), 0},
		{"max_commands", func(c *smtpd.Config, _ *bridge.Config) { c.MaxCommands = 5 }, joined(
			repeated(3, noop), onAndOn, repeated(4, noop), onAndOn, repeated(5, noop), []line{{"NOOP", "250"}, {"", "421 4.7.0"}, end}), 0},
		{"max_errors", func(c *smtpd.Config, _ *bridge.Config) { c.MaxErrors = 3 }, joined(
			repeated(3, unknown), onAndOn, repeated(3, unknown), []line{unknown, {"", "421 4.7.0"}, end}), 0},
		{"auth.max_attempts", func(c *smtpd.Config, _ *bridge.Config) {
			c.Users, c.AllowInsecureAuth, c.MaxAuthAttempts = guessed{}, true, 3
		}, []line{
			{"AUTH PLAIN AHVzZXIAd3Jvbmc=", "535 5.7.8"}, {"AUTH LOGIN dXNlcg==", "334"}, {"d3Jvbmc=", "535 5.7.8"}, {"AUTH LOGIN", "334"},
			{"dXNlcg==", "334"}, {"d3Jvbmc=", "421 4.7.0"}, end}, 0},
		{"allow", func(c *smtpd.Config, _ *bridge.Config) { c.Allow = allowing(t, "in@example.com") }, []line{
			onAndOn[0], {"RCPT TO:<other@example.com>", "550 5.1.1"}, {"RCPT TO:<postmaster>", "250"}, {"RCPT TO:<PostMaster@mx.example.com>", "250"},
			onAndOn[1], onAndOn[2], onAndOn[3]}, 0},
		{"bare_newlines", nil, []line{onAndOn[0], onAndOn[1], onAndOn[2], {"a\nb\r\n.", "550 5.6.0"}, noop}, 0},
		{"command_line", nil, []line{{"NOOP " + strings.Repeat("x", 12288-5), "250"}, {"NOOP " + strings.Repeat("x", 12288-4), "500 5.5.2"}, noop,
			{strings.Repeat("x", 1<<20), "421 4.7.0"}, end}, 0},
		{"http", nil, []line{{"GET / HTTP/1.1", "421 4.7.0"}, end}, 0},
	}
	for _, tc := range tests {
		t.Run(tc.limit, func(t *testing.T) {
			t.Parallel()
			b := newBedFor(t, func(c *smtpd.Config, bc *bridge.Config) {
				if tc.change != nil {
					tc.change(c, bc)
				}
			})
			c := b.dial()
			c.play(beginning...)
			c.play(tc.dialogue...)
			if got := b.limited(tc.limit); got != max(tc.reached, 1) {
				t.Errorf("lsmtpd_smtp_limit_reached_total{limit=%q} = %v, want %v", tc.limit, got, max(tc.reached, 1))
			}
		})
	}
}

// allowing is a list of recipients.
func allowing(t *testing.T, list ...string) *smtpd.Recipients {
	t.Helper()
	var rs []route.Pattern
	for _, s := range list {
		r, err := route.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return smtpd.NewRecipients(rs)
}

// Connections over a limit are told so, and count for nothing once they are closed.
func TestConnectionLimitsCounted(t *testing.T) {
	for _, limit := range []string{"max_connections", "max_connections_per_ip"} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, func(c *smtpd.Config) {
				c.MaxConnections, c.MaxConnectionsPerIP = 0, 2
				if limit == "max_connections" {
					c.MaxConnections, c.MaxConnectionsPerIP = 2, 0
				}
			})
			first, second := b.dial(), b.dial()
			first.play(beginning...)
			second.play(beginning...)
			for range 3 {
				b.dial().play(line{"", "421 4.7.0"}, line{"", ""})
			}
			if got := b.limited(limit); got != 3 {
				t.Errorf("the limit was reached %v times, want 3", got)
			}
			first.do("QUIT", "221")
			eventually(t, "there is room again", func() bool { return strings.HasPrefix(b.dial().reply(), "220") })
		})
	}
}

// The limits that clients are told of are those that hold (RFC 1870, RFC 9422).
func TestLimitsAnnounced(t *testing.T) {
	b := newBed(t, func(c *smtpd.Config) { c.MaxTransactions = 7 })
	c := b.dial()
	c.expect("220")
	c.write("EHLO client.example.org\r\n")
	var got []string
	for {
		text, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(text[4:]))
		if text[3] == ' ' {
			break
		}
	}
	want := fmt.Sprint([]string{"mx.example.com", "PIPELINING", "8BITMIME", "SIZE 1048576", "CHUNKING", "BINARYMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "LIMITS MAILMAX=7 RCPTMAX=100"})
	if fmt.Sprint(got) != want {
		t.Errorf("EHLO tells %v, want %v", got, want)
	}
}

// from dials with an address of our own, so that a client is another one.
func (b *bed) from(ip string) *client {
	b.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: long}
	nc, err := d.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { nc.Close() })
	return newClient(b.t, nc)
}
