package devbroker

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/absmach/fluxmq/amqp1/frames"
)

func TestLogin(t *testing.T) {
	withUser := Config{Username: "lsmtpd", Password: "s3cret"}
	const wrong = "SASL PLAIN auth failed with code 0x1"
	for _, tc := range []struct {
		name string
		cfg  Config
		sasl amqp.SASLType
		want string // in the error; empty: accepted
		user string
	}{
		{"right password", withUser, amqp.SASLTypePlain("lsmtpd", "s3cret"), "", "lsmtpd"},
		{"wrong password", withUser, amqp.SASLTypePlain("lsmtpd", "secret"), wrong, ""},
		{"wrong user", withUser, amqp.SASLTypePlain("root", "s3cret"), wrong, ""},
		{"anonymous where a user is needed", withUser, amqp.SASLTypeAnonymous(), "no supported auth mechanism ([PLAIN])", ""},
		{"no SASL where a user is needed", withUser, nil, "unexpected protocol header", ""},
		{"anonymous", Config{}, amqp.SASLTypeAnonymous(), "", ""},
		{"no SASL", Config{}, nil, "", ""},
		{"any password", Config{}, amqp.SASLTypePlain("who", "ever"), "", "who"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := Start(t, tc.cfg)
			conn, err := amqp.Dial(testContext(t), url, &amqp.ConnOptions{SASLType: tc.sasl})
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("dial: got %v, want an error with %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatalf("dial: %v", err)
			}
			defer conn.Close()
			mustAccept(t, newSender(t, newSession(t, conn, nil), "in", nil), numbered(1))
			if a := b.Attachments(); len(a) != 1 || a[0].User != tc.user {
				t.Errorf("attachments: got %+v, want one by %q", a, tc.user)
			}
		})
	}
}

// certificate returns a self-signed certificate for 127.0.0.1 and a pool that trusts it.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	serverCert, serverPool := certificate(t, "node")
	clientCert, clientPool := certificate(t, "client-1")
	b, url := Start(t, Config{
		Username: "lsmtpd", Password: "s3cret",
		TLS: &tls.Config{Certificates: []tls.Certificate{serverCert}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clientPool},
	})
	if !strings.HasPrefix(url, "amqps://127.0.0.1:") {
		t.Errorf("url: got %s, want amqps", url)
	}
	plain := dial(t, url, &amqp.ConnOptions{TLSConfig: &tls.Config{RootCAs: serverPool}, SASLType: amqp.SASLTypePlain("lsmtpd", "s3cret")})
	mustAccept(t, newSender(t, newSession(t, plain, nil), "in", nil), amqp.NewMessage(make([]byte, 1<<20)))
	external := dial(t, url, &amqp.ConnOptions{
		TLSConfig: &tls.Config{RootCAs: serverPool, Certificates: []tls.Certificate{clientCert}}, SASLType: amqp.SASLTypeExternal("")})
	r := newReceiver(t, newSession(t, external, nil), "in", nil)
	if m := mustReceive(t, r); len(m.GetData()) != 1<<20 {
		t.Errorf("got %d octets, want 1 MiB", len(m.GetData()))
	}
	if a := b.Attachments(); len(a) != 2 || a[0].User != "lsmtpd" || a[1].User != "client-1" {
		t.Errorf("attachments: got %+v, want lsmtpd and client-1", a)
	}
	_, err := amqp.Dial(testContext(t), url, &amqp.ConnOptions{TLSConfig: &tls.Config{RootCAs: serverPool}, SASLType: amqp.SASLTypeExternal("")})
	if err == nil || !strings.Contains(err.Error(), "no supported auth mechanism") {
		t.Errorf("EXTERNAL without a certificate: got %v", err)
	}

	b.Script("in").Delivery(Every).ResetsConnection() // below TLS
	_, err = send(t, newSender(t, newSession(t, plain, nil), "in", nil), numbered(1))
	wantRemote(t, "reset", err, "connection", "")
}

func TestWhatAttachesSay(t *testing.T) {
	b, url := Start(t, Config{Properties: map[string]any{"product": "apache-activemq-artemis", "version": "2.40.0"}, ContainerID: "node-1"})
	conn := dial(t, url, &amqp.ConnOptions{ContainerID: "client-1", HostName: "vhost:x"})
	if p := conn.Properties(); p["product"] != "apache-activemq-artemis" || p["version"] != "2.40.0" {
		t.Errorf("properties: got %v", p)
	}
	session := newSession(t, conn, nil)
	newSender(t, session, "in", &amqp.SenderOptions{Name: "l1", TargetCapabilities: []string{"queue"}})
	newReceiver(t, session, "out", &amqp.ReceiverOptions{Name: "l2", SourceCapabilities: []string{"topic", "x"}})
	want := []Attachment{
		{Address: "in", Sender: true, Capabilities: []string{"queue"}, LinkName: "l1", Container: "client-1", Hostname: "vhost:x"},
		{Address: "out", Capabilities: []string{"topic", "x"}, LinkName: "l2", Container: "client-1", Hostname: "vhost:x"},
	}
	if got := b.Attachments(); !slices.EqualFunc(got, want, func(a, b Attachment) bool {
		return slices.Equal(a.Capabilities, b.Capabilities) && a.Address == b.Address && a.Sender == b.Sender &&
			a.LinkName == b.LinkName && a.Container == b.Container && a.Hostname == b.Hostname && a.User == b.User
	}) {
		t.Errorf("attachments: got %+v, want %+v", got, want)
	}
}

// What is not AMQP gets the header that would be right, and is closed (§2.2).
func TestWrongProtocolHeader(t *testing.T) {
	for _, tc := range []struct{ name, sent string }{
		{"HTTP", "GET / HTTP/1.1\r\n\r\n"},
		{"AMQP 0-9-1", "AMQP\x00\x00\x09\x01"},
		{"TLS over AMQP", "AMQP\x02\x01\x00\x00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, url := Start(t, Config{})
			c := newRawClient(t, url)
			io.WriteString(c.nc, tc.sent[:frames.ProtoHeaderSize])
			if got, err := io.ReadAll(c.nc); err != nil || string(got) != string(frames.SASLHeader[:]) {
				t.Errorf("answer: got %q, %v, want the SASL header", got, err)
			}
		})
	}
}

func TestMalformedLogin(t *testing.T) {
	for _, tc := range []struct {
		name  string
		frame []byte // after the SASL header
		code  byte   // of the outcome; 0xff: none
	}{
		{"PLAIN without a response", []byte("\x00\x53\x41\xc0\x08\x01\xa3\x05PLAIN"), 1},
		{"PLAIN with one part", []byte("\x00\x53\x41\xc0\x0b\x02\xa3\x05PLAIN\xa0\x01x"), 1},
		{"unknown mechanism", []byte("\x00\x53\x41\xc0\x06\x01\xa3\x03GSS"), 1},
		{"an outcome from the client", []byte("\x00\x53\x44\xc0\x03\x01\xa1\x00"), 0xff},
		{"a claim of 4 GiB", []byte("\x00\x53\x41\xd0\xff\xff\xff\xff\xff\xff\xff\xff"), 0xff},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, url := Start(t, Config{})
			c := newRawClient(t, url)
			c.nc.Write(frames.SASLHeader[:])
			frames.WriteFrame(c.nc, frames.FrameTypeSASL, 0, tc.frame)
			if _, err := frames.ReadProtocolHeader(c.br); err != nil {
				t.Fatal(err)
			}
			if _, err := frames.ReadFrame(c.br); err != nil {
				t.Fatalf("mechanisms: %v", err)
			}
			f, err := frames.ReadFrame(c.br)
			if tc.code == 0xff {
				if !errors.Is(err, io.EOF) {
					t.Errorf("got %v, %v, want the end", f, err)
				}
				return
			}
			if err != nil || !strings.Contains(string(f.Body), string([]byte{0x53, 0x44})) || !slices.Contains(f.Body, tc.code) {
				t.Errorf("outcome: got %v, %v, want code %d", f, err, tc.code)
			}
		})
	}
}

func TestTooManyConnections(t *testing.T) {
	b, url := Start(t, Config{MaxConnections: 1})
	first := newRawClient(t, url)
	first.open()
	second := newRawClient(t, url)
	if _, err := bufio.NewReader(second.nc).ReadByte(); err == nil {
		t.Errorf("the second connection was served")
	}
	if n := b.Connections(); n != 1 {
		t.Errorf("connections: got %d, want 1", n)
	}
}
