package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
)

// limitedConfig sets the limits as the cases below have them.
func limitedConfig(c *Config) {
	c.CommandTimeout, c.HandshakeTimeout = 5*time.Minute, time.Minute
	c.DataTimeout, c.MinRate = 3*time.Minute, 100
	c.WriteTimeout, c.ReplyTimeout = time.Minute, 9*time.Minute
	c.DrainTimeout, c.DrainBytes = 30*time.Second, 1<<20
}

// drip sends one of the octets of text after the other, each after a pause, until the server is gone.
func (d *dialogue) drip(text string, pause time.Duration) {
	before, done := d.written, make(chan struct{})
	d.written = done
	go func() {
		defer close(done)
		<-before
		for _, octet := range []byte(text) {
			time.Sleep(pause) // of the bubble
			if _, err := d.conn.Write([]byte{octet}); err != nil {
				return
			}
		}
	}()
}

// stopAfter fails where f does not take about as long as it should.
func stopAfter(t *testing.T, want time.Duration, f func()) {
	t.Helper()
	begun := time.Now()
	f()
	if took := time.Since(begun); took < want || took > want+2*time.Second {
		t.Errorf("it took %v, want %v", took, want)
	}
}

func toDATA(d *dialogue) {
	d.transaction()
	d.do("DATA", "354")
}

func toBDAT(d *dialogue) {
	d.transaction()
	d.write("BDAT 100000 LAST\r\n")
}

// Every phase in which a client can be slow has an end, in the bubble's time.
func TestTimeouts(t *testing.T) {
	minute := time.Minute
	tests := []struct {
		name  string
		limit string
		takes time.Duration
		to    func(*dialogue) // leads to the phase; nil: nothing
		drip  string          // what comes slowly
		pause time.Duration   // between its octets
		want  string          // the reply
	}{
		{"no command", limitCommandTimeout, 5 * minute, nil, "", 0, "421 4.4.2"},
		{"no command in a transaction", limitCommandTimeout, 5 * minute, (*dialogue).transaction, "", 0, "421 4.4.2"},
		{"a command line an octet a second", limitCommandTimeout, 5 * minute, nil, strings.Repeat("N", 400), time.Second, "421 4.4.2"},
		{"a line that is too long", limitCommandTimeout, 5 * minute, func(d *dialogue) { d.write(strings.Repeat("N", 20000)) }, strings.Repeat("N", 400), time.Second, "421 4.4.2"},
		{"no response to AUTH", limitCommandTimeout, 5 * minute, func(d *dialogue) { d.do("AUTH LOGIN", "334") }, "", 0, "421 4.4.2"},
		{"a response to AUTH an octet a second", limitCommandTimeout, 5 * minute, func(d *dialogue) { d.do("AUTH PLAIN", "334") }, strings.Repeat("N", 400), time.Second, "421 4.4.2"},
		{"no next chunk", limitCommandTimeout, 5 * minute, func(d *dialogue) { d.transaction(); d.write("BDAT 2\r\nab"); d.expect("250") }, "", 0, "421 4.4.2"},
		{"DATA, nothing", limitDataTimeout, 3 * minute, toDATA, "", 0, "421 4.4.2"},
		{"DATA, an octet a second", limitMinRate, minute, toDATA, strings.Repeat("N", 400), time.Second, "421 4.4.2"},
		{"DATA, 99 octets a second", limitMinRate, minute, toDATA, strings.Repeat("N", 10000), time.Second / 99, "421 4.4.2"},
		{"DATA, fast for 50 s, then nothing", limitDataTimeout, 3*minute + 50*time.Second, toDATA, strings.Repeat("N", 10000), time.Second / 200, "421 4.4.2"},
		{"DATA, an octet in 2 minutes", limitMinRate, 4 * minute, toDATA, "NNN", 2 * minute, "421 4.4.2"},
		{"DATA, an octet in 4 minutes", limitDataTimeout, 3 * minute, toDATA, "NNN", 4 * minute, "421 4.4.2"},
		{"BDAT, nothing", limitDataTimeout, 3 * minute, toBDAT, "", 0, "421 4.4.2"},
		{"BDAT, an octet a second", limitMinRate, minute, toBDAT, strings.Repeat("N", 400), time.Second, "421 4.4.2"},
		{"a refused BDAT, nothing", limitDrainTimeout, 30 * time.Second, func(d *dialogue) { d.write("BDAT 100000 LAST\r\n") }, "", 0, "503 5.5.1"},
	}
	for i := range 2 * len(tests) {
		tc, secure := tests[i/2], i%2 == 1
		t.Run(fmt.Sprintf("%s, TLS %v", tc.name, secure), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t, "ca")
				r := newRig(t, func(c *Config) {
					limitedConfig(c)
					c.TLS = &tls.Config{Certificates: []tls.Certificate{*ca.certificate("mx.example")}}
					c.Users, c.AllowInsecureAuth = oneUser{}, true
				})
				d := r.dial("smtp")
				if secure {
					d.greeted(ca.client(nil))
				} else {
					d.greeted(nil)
				}
				if tc.to != nil {
					tc.to(d)
				}
				d.drip(tc.drip, tc.pause)
				stopAfter(t, tc.takes, func() { d.expect(tc.want) })
				if tc.want[:3] != "421" {
					d.expect("421 4.7.0")
				}
				d.expect("")
				if got := r.limited(tc.limit); got != 1 {
					t.Errorf("lsmtpd_smtp_limit_reached_total{limit=%q} = %v, want 1", tc.limit, got)
				}
				if got := r.taken.last(); len(got) != 0 {
					t.Errorf("taken %q", got)
				}
			})
		})
	}
}

// Without a minimum rate, the time in which nothing comes is what counts; and a rate just above the minimum is enough.
func TestSlowButTaken(t *testing.T) {
	t.Run("data_timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(c *Config) { limitedConfig(c); c.MinRate = 0 })
			d := r.dial("smtp").greeted(nil)
			toDATA(d)
			d.drip(strings.Repeat("N", 100), 170*time.Second)
			stopAfter(t, 100*170*time.Second+3*time.Minute, func() { d.expect("421 4.4.2") })
			if got := r.limited(limitDataTimeout); got != 1 {
				t.Errorf("the limit was reached %v times, want 1", got)
			}
		})
	})
	t.Run("min_rate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, limitedConfig)
			d := r.dial("smtp").greeted(nil)
			toDATA(d)
			d.drip(strings.Repeat("N", 30000)+"\r\n.\r\n", time.Second/102)
			d.expect("250 2.0.0 queued")
			if got := r.limited(limitMinRate); got != 0 {
				t.Errorf("the limit was reached %v times", got)
			}
		})
	})
	t.Run("a slow store is not the client's fault", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, limitedConfig)
			r.taken.deliver = func(_ context.Context, body io.Reader) (string, []error) {
				var octet [1]byte
				for {
					switch _, err := body.Read(octet[:]); err {
					case nil:
						time.Sleep(time.Minute) // of the bubble
					case io.EOF:
						return "slow", []error{nil}
					default:
						return "", []error{err}
					}
				}
			}
			d := r.dial("smtp").greeted(nil)
			toDATA(d)
			for range 20 {
				d.write("N")
			}
			d.write("\r\n.\r\n")
			d.expect("250 2.0.0 queued as slow")
		})
	})
}

// A client that shakes no hands, or sends no PROXY header, is closed.
func TestHandshakeTimeout(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, tc := range []struct {
		name, scheme, drip string
		proxied            bool
		limit              string
	}{
		{"smtps, nothing", "smtps", "", false, limitHandshake},
		{"smtps, an octet a second", "smtps", "\x16\x03\x01\x02\x00" + strings.Repeat("\x00", 300), false, limitHandshake},
		{"STARTTLS, nothing", "smtp", "", false, limitHandshake},
		{"STARTTLS, an octet a second", "smtp", "\x16\x03\x01\x02\x00" + strings.Repeat("\x00", 300), false, limitHandshake},
		{"PROXY, nothing", "smtp", "", true, limitProxyHeader},
		{"PROXY, the signature of version 2 an octet in 6 seconds", "smtp", "\r\n\r\n\x00\r\nQUIT\n", true, limitProxyHeader},
		{"PROXY and smtps, nothing", "smtps", "", true, limitProxyHeader},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) {
					limitedConfig(c)
					c.TLS = &tls.Config{Certificates: []tls.Certificate{*ca.certificate("mx.example")}}
					if tc.proxied {
						c.ProxyFrom = proxies(t, "192.0.2.1")
					}
				})
				d := r.dial(tc.scheme)
				if tc.scheme == "smtp" && !tc.proxied {
					d.greeted(nil).do("STARTTLS", "220")
				}
				pause := time.Second
				if tc.proxied {
					pause *= 6
				}
				d.drip(tc.drip, pause)
				stopAfter(t, time.Minute, func() { d.expect("") })
				if got := r.limited(tc.limit); got != 1 {
					t.Errorf("lsmtpd_smtp_limit_reached_total{limit=%q} = %v, want 1", tc.limit, got)
				}
			})
		})
	}
}

func proxies(t *testing.T, list ...string) (ns Networks) {
	t.Helper()
	for _, s := range list {
		n, err := ParseNetwork(s)
		if err != nil {
			t.Fatal(err)
		}
		ns = append(ns, n)
	}
	return ns
}

// A client that sends commands and never reads what they bring is closed, and costs no more than the replies to a window.
func TestWriteTimeout(t *testing.T) {
	for _, command := range []string{"NOOP\r\n", "EHLO client.example.org\r\n", "HELP\r\n", "\r\n"} {
		t.Run(strings.TrimSpace(command), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, limitedConfig)
				d := r.dial("smtp").greeted(nil)
				d.write(strings.Repeat(command, 100_000))
				stopAfter(t, time.Minute, func() { <-d.written })
				if got := r.limited(limitWriteTimeout); got != 1 {
					t.Errorf("the limit was reached %v times, want 1", got)
				}
			})
		})
	}
}

// A client that takes its replies an octet a second is closed like one that takes none.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, limitedConfig)
		d := r.dial("smtp").greeted(nil)
		d.write(strings.Repeat("HELP\r\n", 100))
		stopAfter(t, time.Minute, func() {
			var octet [1]byte
			for err := error(nil); err == nil; _, err = d.conn.Read(octet[:]) {
				time.Sleep(time.Second) // of the bubble
			}
		})
		if got := r.limited(limitWriteTimeout); got != 1 {
			t.Errorf("the limit was reached %v times, want 1", got)
		}
	})
}

// The Session is told when the client may give up.
func TestReplyTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, limitedConfig)
		r.taken.deliver = func(ctx context.Context, body io.Reader) (string, []error) {
			if _, err := io.Copy(io.Discard, body); err != nil {
				return "", []error{err}
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), errReplyTimeout) {
				t.Errorf("the context ended with %v", context.Cause(ctx))
			}
			return "", []error{&smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "later"}}
		}
		d := r.dial("smtp").greeted(nil)
		toDATA(d)
		d.write("body\r\n.\r\n")
		stopAfter(t, 9*time.Minute, func() { d.expect("451 4.4.2 later") })
		d.do("NOOP", "250")
		if got := r.limited(limitReplyTimeout); got != 1 {
			t.Errorf("the limit was reached %v times, want 1", got)
		}
	})
}

// What still comes of a refused message is read up to two limits; past either the reply comes at once, and the
// end of the connection.
func TestDrain(t *testing.T) {
	refuse := func(context.Context, io.Reader) (string, []error) {
		return "", []error{&smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 3, 4}, Message: "too large"}}
	}
	for _, tc := range []struct {
		name, before, limit string
		octets              int
		pause               time.Duration
		goesOn              bool
	}{
		{name: "DATA within them", before: "DATA", octets: 1 << 19, goesOn: true},
		{name: "DATA too large", before: "DATA", octets: 1<<20 + 1<<17, limit: limitDrainBytes},
		{name: "DATA too slow", before: "DATA", octets: 1 << 17, pause: time.Second, limit: limitDrainTimeout},
		{name: "BDAT within them", before: "BDAT 524293 LAST", octets: 1 << 19, goesOn: true},
		{name: "BDAT too large", before: "BDAT 1179653 LAST", octets: 1<<20 + 1<<17, limit: limitDrainBytes},
		{name: "BDAT too slow", before: "BDAT 131077 LAST", octets: 1 << 17, pause: time.Second, limit: limitDrainTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, limitedConfig)
				r.taken.deliver = refuse
				d := r.dial("smtp").greeted(nil)
				d.transaction()
				d.write(tc.before + "\r\n")
				if tc.before == "DATA" {
					d.expect("354")
				}
				for left := tc.octets; left > 0; left -= 1024 {
					d.write(strings.Repeat("x", 1024))
					if tc.pause > 0 {
						d.drip("x", tc.pause)
					}
				}
				if tc.goesOn {
					d.write("\r\n.\r\n")
				}
				d.expect("552 5.3.4")
				if tc.goesOn {
					d.do("NOOP", "250")
					return
				}
				d.expect("421 4.7.0")
				d.expect("")
				if got := r.limited(tc.limit); got != 1 {
					t.Errorf("lsmtpd_smtp_limit_reached_total{limit=%q} = %v, want 1", tc.limit, got)
				}
			})
		})
	}
}

// A panic ends its session, and no other.
func TestPanic(t *testing.T) {
	commands := []string{"EHLO client.example.org", "MAIL FROM:<a@example.org>", "RCPT TO:<in@example.com>", "DATA", "body\r\n."}
	for _, method := range []string{"Mail", "Rcpt", "Deliver", "Reset"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				other := r.dial("smtp").greeted(nil)
				r.taken.called = func(m string) {
					if m == method {
						panic("a defect in " + m)
					}
				}
				d := r.dial("smtp")
				d.expect("220")
				var got string
				for _, c := range commands {
					d.write(c + "\r\n")
					got = d.answer()
					if got[0] != '2' && got[0] != '3' {
						break
					}
				}
				if method == "Reset" && strings.HasPrefix(got, "250") {
					got = d.answer()
				}
				if !strings.HasPrefix(got, "421 4.3.0") {
					t.Errorf("reply %q, want 421 4.3.0", got)
				}
				d.expect("")
				other.do("NOOP", "250")
				if got := r.metric("lsmtpd_smtp_panics_total", ""); got != 1 {
					t.Errorf("%v panics are counted, want 1", got)
				}
			})
		})
	}
}

// oneUser is an Authenticator that knows the user "user" with the password "secret", and cannot tell about "nobody".
type oneUser struct{}

func (oneUser) Check(_ context.Context, user, password string) error {
	switch {
	case user == "nobody":
		return fmt.Errorf("no verdict on %s", user)
	case user == "user" && password == "secret":
		return nil
	}
	return ErrCredentials
}
