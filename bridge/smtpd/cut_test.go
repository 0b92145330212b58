package smtpd_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"lsmtpd/bridge"
	"lsmtpd/bridge/smtpd"
)

// cutHeader and cutBody are a mail whose only part goes to the store of a newCutBed.
const (
	cutHeader = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	cutBody   = "an attachment, not large, but larger than the threshold\r\n..stuffed\r\n"
	cutData   = cutHeader + cutBody + ".\r\n"
)

// cutScripts are what a client says after RCPT, and when all of it has come, a mail has.
var cutScripts = map[string]string{
	"DATA":               "DATA\r\n" + cutData,
	"BDAT":               fmt.Sprintf("BDAT %d LAST\r\n%s", len(cutHeader+cutBody), cutHeader+cutBody),
	"BDAT in two chunks": fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", len(cutHeader)+9, cutHeader+cutBody[:9], len(cutBody)-9, cutBody[9:]),
	"BDAT 0 LAST":        fmt.Sprintf("BDAT %d\r\n%sBDAT 0 LAST\r\n", len(cutHeader+cutBody), cutHeader+cutBody),
}

// A cutting is a way to end a connection.
type cutting struct {
	name  string
	tls   bool
	half  bool // the client can still read
	gone  bool // the server may know that nobody reads
	apply func(net.Conn) error
}

// tcpOf is the connection below TLS, if any.
func tcpOf(c net.Conn) *net.TCPConn {
	if above, ok := c.(*tls.Conn); ok {
		c = above.NetConn()
	}
	return c.(*net.TCPConn)
}

func reset(c net.Conn) error {
	if err := tcpOf(c).SetLinger(0); err != nil {
		return err
	}
	return tcpOf(c).Close()
}

var cuttings = []cutting{
	{name: "half a close", half: true, apply: func(c net.Conn) error { return tcpOf(c).CloseWrite() }},
	// A reply that comes after it, as that to a first chunk, is answered by a reset.
	{name: "close", gone: true, apply: func(c net.Conn) error { return tcpOf(c).Close() }},
	{name: "reset", gone: true, apply: reset},
	{name: "close_notify", tls: true, half: true, apply: func(c net.Conn) error { return c.(*tls.Conn).CloseWrite() }},
	{name: "half a TCP close under TLS", tls: true, half: true, apply: func(c net.Conn) error { return tcpOf(c).CloseWrite() }},
	{name: "reset under TLS", tls: true, gone: true, apply: reset},
}

func newCutBed(t *testing.T, change func(*smtpd.Config)) (b *bed, clientTLS *tls.Config) {
	t.Helper()
	server, clientTLS := tlsPair(t)
	return newBedFor(t, func(c *smtpd.Config, bc *bridge.Config) {
		c.TLS, c.MaxConnections, c.MaxConnectionsPerIP, bc.OffloadThreshold = server, 0, 0, 16
		if change != nil {
			change(c)
		}
	}), clientTLS
}

// upTo leads the dialogue up to the message for rcpt.
func (c *client) upTo(cfg *tls.Config, rcpt string) {
	c.expect("220")
	if cfg != nil {
		c.write("EHLO client.example.org\r\nSTARTTLS\r\n")
		c.expect("250")
		c.expect("220")
		c.handshake(cfg)
	}
	c.write("EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<" + rcpt + ">\r\n")
	c.expect("250")
	c.expect("250")
	c.expect("250")
}

// metric is the value of a gauge, or of a counter.
func (b *bed) metric(name string) float64 {
	families, err := b.metrics.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	b.t.Fatalf("no metric %s", name)
	return 0
}

// idle waits until no session is open.
func (b *bed) idle() {
	b.t.Helper()
	eventually(b.t, "no session is open", func() bool { return b.metric("lsmtpd_smtp_connections_open") == 0 })
}

// A connection that ends after any octet of a message leaves neither a message nor an object, and hears nothing of it,
// unless the message was whole.
func TestCutAtEveryOctet(t *testing.T) {
	for name, script := range cutScripts {
		for _, how := range cuttings {
			if how.tls && name != "DATA" && name != "BDAT in two chunks" {
				continue // a handshake for each octet takes its time
			}
			t.Run(name+" "+how.name, func(t *testing.T) {
				t.Parallel()
				b, clientTLS := newCutBed(t, nil)
				if !how.tls {
					clientTLS = nil
				}
				lengths := make(chan int)
				var clients sync.WaitGroup
				for range 4 {
					clients.Go(func() {
						for n := range lengths {
							b.cutAfter(script, n, how, clientTLS)
						}
					})
				}
				for n := range len(script) + 1 {
					lengths <- n
				}
				close(lengths)
				clients.Wait()
				b.idle()
				b.checkCut(len(script), how)
			})
		}
	}
}

// cutAfter sends the first n octets of the script, and ends the connection.
func (b *bed) cutAfter(script string, n int, how cutting, cfg *tls.Config) {
	nc, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Error(err)
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(long))
	c := newClient(b.t, nc)
	c.upTo(cfg, fmt.Sprintf("cut-%d@example.com", n))
	sent, answered := script[:n], ""
	if command := "DATA\r\n"; n%2 == 1 && strings.HasPrefix(sent, command) {
		c.write(command) // as clients do; the others send it with the message
		answered = c.reply() + "\n"
		sent = sent[len(command):]
	}
	c.write(sent)
	if err := how.apply(c.Conn); err != nil {
		b.t.Errorf("%d octets: %v", n, err)
	}
	if !how.half {
		return
	}
	rest, err := io.ReadAll(c.r)
	if err != nil && err != io.ErrUnexpectedEOF { // without a close_notify, as a client that was cut off may be left
		b.t.Errorf("%d octets: the connection ended with %v", n, err)
	}
	answered = strings.ReplaceAll(answered+string(rest), "\r", "")
	if want := cutReplies(script, n); !matches(answered, want) {
		b.t.Errorf("%d octets: answered %q, want %q", n, answered, want)
	}
}

// cutReplies are how the lines begin that answer the first n octets of a script.
func cutReplies(script string, n int) (list []string) {
	if command := "DATA\r\n"; strings.HasPrefix(script[:n], command) {
		list = append(list, "354 ")
	}
	if second := strings.LastIndex(script, "BDAT "); second > 0 && n >= second {
		list = append(list, "250 2.0.0 continue")
	}
	if n == len(script) {
		list = append(list, "250 2.0.0 queued as ")
	}
	return list
}

// matches reports whether the lines of text begin as they should.
func matches(text string, want []string) bool {
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:len(lines)-1]
	if len(lines) != len(want) || !strings.HasSuffix("\n"+text, "\n") {
		return false
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w) {
			return false
		}
	}
	return true
}

// checkCut checks that nothing is there but the whole message, if anything.
func (b *bed) checkCut(whole int, how cutting) {
	list, files := b.published(), b.files()
	for _, m := range list {
		if got, want := m.Envelope.RcptTo[0].Email, fmt.Sprintf("cut-%d@example.com", whole); got != want {
			b.t.Errorf("the message to %s was published, and only that to %s was whole", got, want)
		}
	}
	if len(list) != 1 && !(how.gone && len(list) == 0) {
		b.t.Errorf("%d messages were published, want the whole one", len(list))
	}
	if len(files) != len(list) {
		b.t.Errorf("%d messages, and the store holds %v", len(list), files)
	}
	if got := b.metric("lsmtpd_transactions_in_flight"); got != 0 {
		b.t.Errorf("%v transactions are in flight", got)
	}
}

// A client that cannot be reached any more before anything was sent to the broker is as one that never sent its message.
func TestResetBeforeTheTransfer(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			t.Parallel()
			b, cfg := newCutBed(t, nil)
			if !secure {
				cfg = nil
			}
			b.broker.Script(address).GivesNoCredit()
			c := b.dial()
			c.upTo(cfg, "in@example.com")
			c.do("DATA", "354")
			c.write(cutData)
			eventually(t, "the object is there", func() bool { return len(b.files()) == 1 })
			if err := reset(c.Conn); err != nil {
				t.Fatal(err)
			}
			b.idle()
			b.broker.Script(address).GivesCredit()
			b.stop()
			<-b.ended
			if list, files := b.published(), b.files(); len(list) != 0 || len(files) != 0 {
				t.Errorf("%d messages, and the store holds %v", len(list), files)
			}
			if got := b.metric("lsmtpd_smtp_replies_lost_total"); got != 0 {
				t.Errorf("%v replies are counted as lost, but nothing was promised", got)
			}
		})
	}
}

// What the broker may have is carried on to its end, and the reply nobody has heard is counted.
func TestResetAfterTheTransfer(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			t.Parallel()
			b, cfg := newCutBed(t, nil)
			if !secure {
				cfg = nil
			}
			held := b.broker.Script(address).Delivery(1).IsAccepted().After(3 * watched)
			c := b.dial()
			c.upTo(cfg, "in@example.com")
			c.do("DATA", "354")
			c.write(cutData)
			<-held.Arrived()
			if err := reset(c.Conn); err != nil {
				t.Fatal(err)
			}
			b.idle()
			if list, files := b.published(), b.files(); len(list) != 1 || len(files) != 1 {
				t.Errorf("%d messages, and the store holds %v, want one of each", len(list), files)
			}
			if got := b.metric("lsmtpd_smtp_replies_lost_total"); got != 1 {
				t.Errorf("%v replies are counted as lost, want 1", got)
			}
		})
	}
}

// watched is how often the engine looks whether a client is gone.
const watched = 250 * time.Millisecond

// A client that has nothing more to say still hears what became of its message, however long that takes.
func TestHalfCloseAfterTheEnd(t *testing.T) {
	for _, how := range cuttings {
		if !how.half {
			continue
		}
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			b, cfg := newCutBed(t, nil)
			if !how.tls {
				cfg = nil
			}
			b.broker.Script(address).Delivery(1).IsAccepted().After(3 * watched)
			c := b.dial()
			c.upTo(cfg, "in@example.com")
			c.do("DATA", "354")
			c.write(cutData)
			if err := how.apply(c.Conn); err != nil {
				t.Fatal(err)
			}
			c.expect("250 2.0.0 queued as ")
			c.expect("")
			if list, files := b.published(), b.files(); len(list) != 1 || len(files) != 1 {
				t.Errorf("%d messages, and the store holds %v, want one of each", len(list), files)
			}
			b.idle()
			if got := b.metric("lsmtpd_smtp_replies_lost_total"); got != 0 {
				t.Errorf("%v replies are counted as lost", got)
			}
		})
	}
}
