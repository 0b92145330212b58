//go:build integration

package testbed

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
)

// TestInstall installs all there is. Run alone, it prepares a machine for the other tests.
func TestInstall(t *testing.T) {
	pathOf := func(install func(context.Context) (string, error)) func(context.Context) error {
		return func(ctx context.Context) error { _, err := install(ctx); return err }
	}
	installExim := func(ctx context.Context) error { _, err := installExim(ctx); return err }
	for name, install := range map[string]func(context.Context) error{
		"Artemis": pathOf(installArtemis), "Broker-J": pathOf(installBrokerJ), "RabbitMQ": pathOf(installRabbitMQ), "MinIO": pathOf(installMinIO), "versitygw": pathOf(installVersityGW),
		"Qpid JMS": pathOf(installJMS), "rhea": pathOf(installRhea), "Qpid Proton": installProton, "swaks": installSwaks,
		"Net::SSLeay": pathOf(installNetSSLeay), "nodemailer": pathOf(installNodemailer), "Postfix": pathOf(installPostfix), "Exim": installExim,
		"corpora": installCorpora,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			if err := install(t.Context()); err != nil {
				unavailable(t, name, err)
			}
			t.Logf("there after %v", time.Since(begin).Round(time.Millisecond))
		})
	}
}

// brokers runs a test with each broker, side by side.
func brokers(t *testing.T, test func(t *testing.T, start func(testing.TB) *AMQPBroker)) {
	for name, start := range map[string]func(testing.TB) *AMQPBroker{
		"Artemis": PrivateArtemis, "Broker-J": PrivateBrokerJ, "RabbitMQ": PrivateRabbitMQ} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

func durable(id string) *amqp.Message {
	contentType, subject, to, group := "application/json", "mail", "in", "g"
	return &amqp.Message{
		Header: &amqp.MessageHeader{Durable: true},
		Properties: &amqp.MessageProperties{MessageID: id, ContentType: &contentType, Subject: &subject, To: &to,
			GroupID: &group, CorrelationID: "<c@example.org>"},
		ApplicationProperties: map[string]any{"cloudEvents_type": "t", "size": int64(5_000_000_000), "hasAttachment": true},
		Data:                  [][]byte{[]byte(`{"text": "Grüße, ` + id + `"}`)},
	}
}

func want(id string) Received {
	return Received{
		MessageID: id, ContentType: "application/json", Subject: "mail", To: "in", GroupID: "g",
		CorrelationID: "<c@example.org>", Durable: true,
		ApplicationProperties: map[string]any{"cloudEvents_type": "t", "size": 5e9, "hasAttachment": true},
		Body:                  []byte(`{"text": "Grüße, ` + id + `"}`),
	}
}

// The witnesses see the same in a message, take no more of them than they were asked for, and the broker keeps what
// it accepted through a crash and through an orderly end.
func TestBrokerKeepsWhatItAccepted(t *testing.T) {
	brokers(t, func(t *testing.T, start func(testing.TB) *AMQPBroker) {
		begin := time.Now()
		b := start(t)
		t.Logf("answers after %v, pid %d, %s", time.Since(begin).Round(time.Millisecond), b.Pid(), b.URL)
		queue := b.Queue(t)
		for i := range 7 {
			b.Send(t, queue, durable(fmt.Sprint("m", i)))
		}
		for i, receive := range []func(testing.TB, *AMQPBroker, string, int) []Received{ReceiveJMS, ReceiveRhea, ReceiveProton} {
			got := receive(t, b, queue, 1)
			if diff := cmp.Diff([]Received{want(fmt.Sprint("m", i))}, got); diff != "" {
				t.Errorf("witness %d (-want +got):\n%s", i, diff)
			}
		}
		for _, end := range []struct {
			name string
			f    func() error
		}{{"SIGTERM", b.Stop}, {"kill -9", b.Kill}} {
			// Accepted right before the end. What was taken right before a crash may come again, so the orderly end is
			// first: Broker-J writes that later.
			b.Send(t, queue, durable("before "+end.name))
			pid := b.Pid()
			begin := time.Now()
			if err := end.f(); err != nil {
				t.Fatalf("%s: %v", end.name, err)
			}
			if alive(pid) {
				t.Fatalf("%s: pid %d still runs", end.name, pid)
			}
			ended := time.Since(begin)
			if err := b.Start(); err != nil {
				t.Fatalf("start after %s: %v", end.name, err)
			}
			t.Logf("%s: ended after %v, answers again after %v", end.name, ended.Round(time.Millisecond), (time.Since(begin) - ended).Round(time.Millisecond))
		}
		if got, want := ids(b.Drain(t, queue)), []string{"m3", "m4", "m5", "m6", "before SIGTERM", "before kill -9"}; !cmp.Equal(got, want) {
			t.Errorf("left in the queue: got %v, want %v", got, want)
		}
		if got := b.Drain(t, queue); len(got) != 0 {
			t.Errorf("left in the drained queue: %v", ids(got))
		}
		peak, err := b.PeakRSS()
		if err != nil {
			t.Error(err)
		}
		t.Logf("peak memory %d MiB", peak>>20)
	})
}

func ids(messages []*amqp.Message) []string {
	ids := []string{}
	for _, m := range messages {
		ids = append(ids, fmt.Sprint(m.Properties.MessageID))
	}
	return ids
}

// Thousands of messages are drained, also more than one credit's worth.
func TestDrainMany(t *testing.T) {
	brokers(t, func(t *testing.T, start func(testing.TB) *AMQPBroker) {
		b := start(t)
		queue := b.Queue(t)
		var messages []*amqp.Message
		var want []string
		for i := range 2500 {
			want = append(want, strconv.Itoa(i))
			messages = append(messages, &amqp.Message{Properties: &amqp.MessageProperties{MessageID: want[i]}, Data: [][]byte{nil}})
		}
		b.Send(t, queue, messages...)
		if diff := cmp.Diff(want, ids(b.Drain(t, queue))); diff != "" {
			t.Errorf("message ids (-want +got):\n%s", diff)
		}
	})
}

// Who may do what: users, certificates, and the ports for them.
func TestBrokerRights(t *testing.T) {
	brokers(t, func(t *testing.T, start func(testing.TB) *AMQPBroker) {
		b := start(t)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(contents(b.Certs.CA)))
		with := func(pair KeyPair, sasl amqp.SASLType) *amqp.ConnOptions {
			config := &tls.Config{RootCAs: roots}
			if pair.Cert != "" {
				cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
				if err != nil {
					t.Fatal(err)
				}
				config.Certificates = []tls.Certificate{cert}
			}
			return &amqp.ConnOptions{TLSConfig: config, SASLType: sasl}
		}
		artemis, brokerJ := b.Capability != "", b.erlang == nil && b.Capability == ""
		external := amqp.SASLTypeExternal("")
		for _, tt := range []struct {
			name    string
			url     string
			options *amqp.ConnOptions
			ok      bool
		}{
			{"password", b.URL, nil, true},
			{"wrong password", strings.Replace(b.URL, "a:b@", "a:c@", 1), nil, false},
			{"may not send", b.ReadOnlyURL, nil, false},
			{"anonymous", b.AnonymousURL, &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous()}, !artemis},
			{"password over TLS", b.TLSURL, with(KeyPair{}, nil), true},
			{"client certificate", b.ExternalURL, with(b.Certs.Client, external), true},
			{"stranger's certificate", b.ExternalURL, with(b.Certs.Stranger, external), brokerJ},
			{"no certificate", b.ExternalURL, with(KeyPair{}, external), false},
		} {
			if err := sendOnce(b, tt.url, tt.options); (err == nil) != tt.ok {
				t.Errorf("%s: got error %v, want success %t", tt.name, err, tt.ok)
			}
		}
	})
}

func sendOnce(b *AMQPBroker, url string, options *amqp.ConnOptions) error {
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	conn, err := amqp.Dial(ctx, url, options)
	if err != nil {
		return err
	}
	defer conn.Close()
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return err
	}
	sender, err := session.NewSender(ctx, b.Address("in"), &amqp.SenderOptions{TargetCapabilities: b.capabilities()})
	if err != nil {
		return err
	}
	return sender.Send(ctx, durable("x"), nil)
}

func TestS3KeepsObjects(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *S3{"MinIO": PrivateMinIO, "versitygw": PrivateVersityGW} {
		t.Run(name, func(t *testing.T) { testS3KeepsObjects(t, start) })
	}
}

func testS3KeepsObjects(t *testing.T, start func(testing.TB) *S3) {
	begin := time.Now()
	s := start(t)
	t.Logf("answers after %v, pid %d, %s", time.Since(begin).Round(time.Millisecond), s.Pid(), s.StoreURL("p"))
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 12<<20/16)
	put := minio.PutObjectOptions{PartSize: 5 << 20}
	if _, err := client.PutObject(t.Context(), s.Bucket, "k", bytes.NewReader(content), -1, put); err != nil {
		t.Fatal(err)
	}
	checkUploads(t, s, 0)
	core := minio.Core{Client: client}
	upload, err := core.NewMultipartUpload(t.Context(), s.Bucket, "unfinished", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := core.PutObjectPart(t.Context(), s.Bucket, "unfinished", upload, 1, strings.NewReader("part"), 4, minio.PutObjectPartOptions{}); err != nil {
		t.Fatal(err)
	}
	checkUploads(t, s, 1)
	for _, end := range []func() error{s.Kill, s.Stop} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	checkUploads(t, s, 1)
	object, err := client.GetObject(t.Context(), s.Bucket, "k", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	var got bytes.Buffer
	if _, err := io.Copy(&got, object); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("the object after two restarts: %d octets, error %v; want the %d put", got.Len(), err, len(content))
	}
	if err := core.AbortMultipartUpload(t.Context(), s.Bucket, "unfinished", upload); err != nil {
		t.Fatal(err)
	}
	checkUploads(t, s, 0)
}

func checkUploads(t *testing.T, s *S3, want int) {
	t.Helper()
	got, err := s.MultipartUploads()
	if err != nil || len(got) != want {
		t.Errorf("unfinished uploads: got %v, error %v, want %d", got, err, want)
	}
}

// A server that a test has stopped or paused is there for the next test.
func TestSharedServerIsRevived(t *testing.T) {
	first := MinIO(t)
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if second := MinIO(t); second != first || second.answers(t.Context()) != nil {
		t.Errorf("got %p, want %p, and an answer of it", second, first)
	}
	if err := first.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := MinIO(t).answers(t.Context()); err != nil {
		t.Errorf("after a pause: %v", err)
	}
}

func TestBrokerFromEnvironment(t *testing.T) {
	for name, tt := range map[string]struct {
		start func(testing.TB) *AMQPBroker
		kind  *AMQPBroker
	}{
		"Artemis":  {PrivateArtemis, &AMQPBroker{Capability: "queue", newQueue: randomQueue, manager: artemisQueues{}}},
		"Broker-J": {PrivateBrokerJ, &AMQPBroker{newQueue: numberedQueues(brokerJNumbered), manager: brokerJQueues{}}},
		"RabbitMQ": {PrivateRabbitMQ, newRabbitMQ(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := tt.start(t)
			external, err := externalBroker(t.Context(), "VARIABLE", b.URL, tt.kind)
			if err != nil {
				t.Fatal(err)
			}
			queue := external.Queue(t)
			external.Send(t, queue, durable("m"))
			if diff := cmp.Diff([]Received{want("m")}, ReceiveRhea(t, external, queue, 1)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			external.Send(t, external.SmallQueue(t), durable("m"))
			if err := external.Kill(); !errors.Is(err, ErrExternal) {
				t.Errorf("kill: got %v, want %v", err, ErrExternal)
			}
		})
	}
	if _, err := externalBroker(t.Context(), "VARIABLE", "http://127.0.0.1", &AMQPBroker{}); err == nil {
		t.Error("a URL that is not AMQP's: got no error")
	}
}

func TestS3FromEnvironment(t *testing.T) {
	own := PrivateMinIO(t)
	if s, err := externalS3(t.Context(), "VARIABLE"); s != nil || err != nil {
		t.Errorf("without the variables: got %v, %v; want neither", s, err)
	}
	t.Setenv("VARIABLE_URL", own.Endpoint)
	t.Setenv("VARIABLE_ACCESS_KEY", own.AccessKey)
	t.Setenv("VARIABLE_SECRET_KEY", "wrong")
	if _, err := externalS3(t.Context(), "VARIABLE"); err == nil || !strings.Contains(err.Error(), "VARIABLE_URL") {
		t.Errorf("wrong secret key: got %v, want an error that names the variable", err)
	}
	t.Setenv("VARIABLE_SECRET_KEY", own.SecretKey)
	external, err := externalS3(t.Context(), "VARIABLE")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := external.StoreURL("p"), own.StoreURL("p"); got != want {
		t.Errorf("store URL: got %s, want %s", got, want)
	}
	if err := external.Stop(); !errors.Is(err, ErrExternal) {
		t.Errorf("stop: got %v, want %v", err, ErrExternal)
	}
	if _, err := external.MultipartUploads(); !errors.Is(err, ErrExternal) {
		t.Errorf("uploads in its files: got %v, want %v", err, ErrExternal)
	}
}

// installCorpora gets all corpora.
func installCorpora(ctx context.Context) error {
	var errs []error
	for _, c := range corpora {
		_, err := c.root(ctx)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
