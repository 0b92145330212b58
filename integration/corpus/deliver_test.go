//go:build integration

package corpus

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/minio/minio-go/v7"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// delivery is a message that was sent and published.
type delivery struct {
	name      string
	way       string // "BDAT" or "DATA"
	octets    []byte // as sent
	published *schema.Message
	body      []byte // of the AMQP message, from which published was read
	reply     string // to the end of the message
}

// deliveries are those of all messages of all corpora, made once for all tests. The messages go by BDAT as they are,
// and by DATA with the line ends that DATA asks for.
type deliveries struct {
	bdat, data []*delivery // data has those of bdat that DATA can carry
	complete   bool        // all corpora are there
	objects    *minio.Client
}

// made is the one attempt to make them.
var made struct {
	by  *testing.T // the test that made it
	all *deliveries
}

// connections is how many carry the messages, side by side.
const connections = 4

// delivered returns the deliveries.
func delivered(t *testing.T) *deliveries {
	t.Helper()
	if made.by == nil {
		made.by = t
		made.all = deliver(t)
	}
	if made.all == nil && made.by.Skipped() {
		t.Skipf("SKIP: the messages could not be delivered, see %s", made.by.Name())
	}
	if made.all == nil {
		t.Fatalf("the messages could not be delivered, see %s", made.by.Name())
	}
	return made.all
}

func deliver(t *testing.T) *deliveries {
	messages, complete := testbed.Corpora(t)
	d := &deliveries{complete: complete}
	for _, m := range messages {
		d.bdat = append(d.bdat, &delivery{name: m.Name, way: "BDAT", octets: m.Octets})
		if octets, ok := withCRLF(m.Octets); ok {
			d.data = append(d.data, &delivery{name: m.Name, way: "DATA", octets: octets})
		}
	}
	broker, store := testbed.Artemis(t), testbed.MinIO(t)
	queue := broker.Queue(t)
	client, err := store.Client()
	if err != nil {
		t.Fatal(err)
	}
	d.objects = client
	begin := time.Now()
	sendAll(t, d.all(), testbed.Settings{
		"broker.url": broker.URL, "broker.address": broker.Address(queue), "message.raw": "store",
		"store.url": store.StoreURL(fmt.Sprintf("corpus/%016x", rand.Uint64())), "store.access_key": store.AccessKey, "store.secret_key": store.SecretKey,
	})
	t.Logf("%d messages sent after %v", len(d.all()), time.Since(begin).Round(time.Millisecond))
	d.read(t, broker.Drain(t, queue))
	return d
}

// read finds what was published of each message, by its recipient.
func (d *deliveries) read(t *testing.T, received []*amqp.Message) {
	t.Helper()
	bodies := map[string][]byte{}
	messages := map[string]*schema.Message{}
	for _, raw := range received {
		m, err := schema.Decode(raw.GetData())
		if err != nil {
			t.Fatalf("%v in a published message:\n%.2000s", err, raw.GetData())
		}
		to := m.Envelope.RcptTo[0].Email
		messages[to], bodies[to] = m, raw.GetData()
	}
	for i, sent := range d.all() {
		sent.published, sent.body = messages[recipient(i)], bodies[recipient(i)]
		if sent.published == nil {
			t.Fatalf("%s by %s was not published; the reply to it was %q", sent.name, sent.way, sent.reply)
		}
	}
	if len(received) != len(d.all()) {
		t.Fatalf("%d messages were published, want %d", len(received), len(d.all()))
	}
}

// all returns the deliveries in the order of their recipients.
func (d *deliveries) all() []*delivery { return append(d.bdat[:len(d.bdat):len(d.bdat)], d.data...) }

// withCRLF returns a message as DATA carries it: each of its lines ends in CR LF. A message with another CR cannot be
// carried so.
func withCRLF(octets []byte) (message []byte, ok bool) {
	lf := bytes.ReplaceAll(octets, []byte("\r\n"), []byte("\n"))
	if bytes.IndexByte(lf, '\r') >= 0 {
		return nil, false
	}
	if len(lf) > 0 && !bytes.HasSuffix(lf, []byte("\n")) {
		lf = append(lf, '\n')
	}
	return bytes.ReplaceAll(lf, []byte("\n"), []byte("\r\n")), true
}

func recipient(i int) string { return fmt.Sprintf("message-%d@example.com", i) }

// sendAll sends messages to a running lsmtpd, each of which has to be accepted.
func sendAll(t *testing.T, all []*delivery, settings testbed.Settings) {
	t.Helper()
	address, admin := loopback(t), loopback(t)
	settings = settings.With(testbed.Settings{"smtp.listen": address, "admin.listen": admin})
	daemon := testbed.Run(t, testbed.Command{Path: testbed.Build(t), Args: []string{"serve"}, Env: settings.Env()})
	daemon.WaitFor(t, "/readyz to answer 200", patience, func() bool {
		response, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	next := make(chan int, len(all))
	for i := range all {
		next <- i
	}
	close(next)
	var sending sync.WaitGroup
	for range connections {
		sending.Go(func() {
			if err := sendSome(address, all, next); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	if err := daemon.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if code := daemon.ExitCode(t, patience); code != 0 {
		t.Errorf("the exit code after SIGTERM is %d, want 0", code)
	}
	if t.Failed() {
		t.FailNow()
	}
}

func loopback(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testbed.FreePort(t))
}

// sendSome sends the messages whose numbers it receives over one connection.
func sendSome(address string, all []*delivery, next <-chan int) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := connection{conn, textproto.NewConn(conn)}
	if _, err := c.expect("220"); err != nil {
		return err
	}
	if _, err := c.command("250", "EHLO client.example"); err != nil {
		return err
	}
	for i := range next {
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if err := c.send(all[i], recipient(i)); err != nil {
			return fmt.Errorf("%s by %s: %w", all[i].name, all[i].way, err)
		}
	}
	_, err = c.command("221", "QUIT")
	return err
}

// connection speaks SMTP.
type connection struct {
	io.Writer
	text *textproto.Conn
}

// expect reads a reply, which has to begin with code.
func (c connection) expect(code string) (reply string, err error) {
	n, text, err := c.text.ReadResponse(0)
	if reply = strconv.Itoa(n) + " " + text; err == nil && !strings.HasPrefix(reply, code) {
		err = fmt.Errorf("the reply is %q, want %s", reply, code)
	}
	return reply, err
}

func (c connection) command(code, command string) (reply string, err error) {
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		return "", err
	}
	return c.expect(code)
}

// send delivers a message.
func (c connection) send(d *delivery, to string) error {
	parameter := "BODY=8BITMIME"
	if d.way == "BDAT" {
		parameter = "BODY=BINARYMIME"
	}
	if _, err := c.command("250", "MAIL FROM:<sender@example.org> "+parameter); err != nil {
		return err
	}
	if _, err := c.command("250", "RCPT TO:<"+to+">"); err != nil {
		return err
	}
	last := fmt.Appendf(nil, "BDAT %d LAST\r\n", len(d.octets))
	message := append(last, d.octets...)
	if d.way == "DATA" {
		if _, err := c.command("354", "DATA"); err != nil {
			return err
		}
		message = append(stuffed(d.octets), ".\r\n"...)
	}
	if _, err := c.Write(message); err != nil {
		return err
	}
	reply, err := c.expect("250 2.0.0 queued as ")
	d.reply = reply
	return err
}

// stuffed is a message with a dot before every line that begins with one (RFC 5321 §4.5.2).
func stuffed(message []byte) []byte {
	s := bytes.ReplaceAll(message, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(s, []byte(".")) {
		s = append([]byte("."), s...)
	}
	return s
}
