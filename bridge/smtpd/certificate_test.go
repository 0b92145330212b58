package smtpd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t}
	a.cert, a.key, a.pem = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign makes a certificate for a key of its own. The first one signs itself.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// pair makes a certificate for mx.example and its key, in PEM.
func (a *authority) pair(name string) (cert, key string) {
	return a.pairFrom(&x509.Certificate{Subject: pkix.Name{CommonName: name}})
}

func (a *authority) pairFrom(template *x509.Certificate) (cert, key string) {
	a.t.Helper()
	template.DNSNames = []string{"mx.example"}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	_, private, cert := a.sign(template)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// client is a client that trusts a, and shows a certificate whether or not the server names its authority.
func (a *authority) client(cert *tls.Certificate) *tls.Config {
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "mx.example"}
	config.RootCAs.AddCert(a.cert)
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return config
}

// certificate is a pair as a client has it.
func (a *authority) certificate(name string) *tls.Certificate {
	a.t.Helper()
	cert, key := a.pair(name)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		a.t.Fatal(err)
	}
	return &pair
}

// tlsFiles are files in a folder of their own.
func tlsFiles(t *testing.T, content map[string]string) TLSConfig {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		writeFile(t, filepath.Join(dir, name), text)
	}
	c := TLSConfig{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	if content["ca.crt"] != "" {
		c.ClientCAFile = filepath.Join(dir, "ca.crt")
	}
	return c
}

func openTLS(t *testing.T, c TLSConfig) (*tls.Config, *logged) {
	t.Helper()
	log, lines := newLogged()
	config, err := OpenTLS(c, log)
	if err != nil {
		t.Fatal(err)
	}
	return config, lines
}

// connect makes a connection on which the server says one octet, and returns what each side knows of it.
func connect(t *testing.T, server, client *tls.Config) (serverSees, clientSees tls.ConnectionState, err error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			served <- err
			return
		}
		defer nc.Close()
		tc := tls.Server(nc, server)
		_, err = tc.Write([]byte("2"))
		serverSees = tc.ConnectionState()
		served <- err
	}()
	tc, err := tls.Dial("tcp", ln.Addr().String(), client)
	if err == nil {
		defer tc.Close()
		// With TLS 1.3, the ticket and the server's refusal come after the client's part of the handshake.
		_, err = tc.Read(make([]byte, 1))
		clientSees = tc.ConnectionState()
	}
	err = errors.Join(<-served, err)
	return serverSees, clientSees, err
}

// serverName is the common name of the certificate that the server shows.
func serverName(t *testing.T, server, client *tls.Config) string {
	t.Helper()
	_, sees, err := connect(t, server, client)
	if err != nil {
		t.Errorf("connect: %v", err)
		return ""
	}
	return sees.PeerCertificates[0].Subject.CommonName
}

func TestTLSFollowsItsFiles(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert, key := ca.pair("first")
	c := tlsFiles(t, map[string]string{"tls.crt": cert, "tls.key": key})
	config, lines := openTLS(t, c)
	cert, key = ca.pair("second")
	third, thirdKey := ca.pair("third")
	for _, step := range []struct {
		name   string
		change func()
		want   string
		errors int
	}{
		{"at start", func() {}, "first", 0},
		{"the certificate is written before its key", func() { writeFile(t, c.CertFile, cert) }, "first", 1},
		{"the key follows", func() { writeFile(t, c.KeyFile, key) }, "second", 1},
		{"the key is renamed before its certificate", func() { replaceFile(t, c.KeyFile, thirdKey) }, "second", 2},
		{"the certificate follows", func() { replaceFile(t, c.CertFile, third) }, "third", 2},
		{"the certificate is gone", func() {
			if err := os.Remove(c.CertFile); err != nil {
				t.Fatal(err)
			}
		}, "third", 3},
	} {
		step.change()
		for range 2 {
			if got := serverName(t, config, ca.client(nil)); got != step.want {
				t.Errorf("%s: got %q, want %q", step.name, got, step.want)
			}
		}
		if n := lines.count(slog.LevelError); n != step.errors {
			t.Errorf("%s: %d errors logged, want %d:\n%s", step.name, n, step.errors, lines)
		}
	}
}

// Kubernetes swaps a link to a folder that holds the files. No handshake may fail meanwhile.
func TestTLSWhileFoldersAreSwapped(t *testing.T) {
	ca := newAuthority(t, "ca")
	dir := t.TempDir()
	for i := range 5 {
		cert, key := ca.pair(fmt.Sprint(i))
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, fmt.Sprint(i), "tls.crt"), cert)
		writeFile(t, filepath.Join(dir, fmt.Sprint(i), "tls.key"), key)
	}
	data := filepath.Join(dir, "data")
	swapLink(t, "0", data)
	config, lines := openTLS(t, TLSConfig{CertFile: filepath.Join(data, "tls.crt"), KeyFile: filepath.Join(data, "tls.key")})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 5 {
				serverName(t, config, ca.client(nil))
			}
		})
	}
	for i := 1; i < 5; i++ {
		swapLink(t, fmt.Sprint(i), data)
	}
	clients.Wait()
	if got := serverName(t, config, ca.client(nil)); got != "4" {
		t.Errorf("got certificate %q, want 4; the log:\n%s", got, lines)
	}
}

func TestTLSClientCertificate(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	cert, key := ca.pair("server")
	for _, tt := range []struct {
		name     string
		clientCA string
		cert     *tls.Certificate
		want     string // the name of the client, "" for none that can be trusted
	}{
		{"not asked for", "", ca.certificate("alice"), ""},
		{"none", ca.pem, nil, ""},
		{"good", ca.pem, ca.certificate("alice"), "alice"},
		{"of another authority", ca.pem, other.certificate("mallory"), ""},
		{"of the second authority", "# two\n" + other.pem + ca.pem, ca.certificate("alice"), "alice"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tt.name+", "+tls.VersionName(version), func(t *testing.T) {
				config, _ := openTLS(t, tlsFiles(t, map[string]string{"tls.crt": cert, "tls.key": key, "ca.crt": tt.clientCA}))
				client := ca.client(tt.cert)
				client.MaxVersion = version
				sees, _, err := connect(t, config, client)
				if got := clientName(config, sees); got != tt.want || err != nil {
					t.Errorf("got %q (%v), want %q", got, err, tt.want)
				}
			})
		}
	}
}

// Tickets outlive a new certificate, but not the authority of the client's.
func TestTLSResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
			cert, key := ca.pair("first")
			c := tlsFiles(t, map[string]string{"tls.crt": cert, "tls.key": key, "ca.crt": ca.pem})
			config, _ := openTLS(t, c)
			client := ca.client(ca.certificate("alice"))
			client.MaxVersion = version
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			check := func(when string, resumed bool, want string) {
				t.Helper()
				sees, _, err := connect(t, config, client)
				if got := clientName(config, sees); got != want || sees.DidResume != resumed || err != nil {
					t.Errorf("%s: got client %q (%v), resumed %v, want %q, %v", when, got, err, sees.DidResume, want, resumed)
				}
			}
			check("first connection", false, "alice")
			check("second connection", true, "alice")
			cert, key = ca.pair("second")
			writeFile(t, c.CertFile, cert)
			writeFile(t, c.KeyFile, key)
			check("after a new certificate", true, "alice")
			writeFile(t, c.ClientCAFile, other.pem)
			check("after the client's authority has gone", true, "")
			client.GetClientCertificate, client.ClientSessionCache = nil, nil
			check("without a certificate", false, "")
			client.GetClientCertificate = ca.client(other.certificate("bob")).GetClientCertificate
			check("with one of the new authority", false, "bob")
		})
	}
}

func TestTLSMinVersion(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert, key := ca.pair("server")
	for _, tt := range []struct {
		name     string
		min      uint16
		client   uint16
		accepted bool
	}{
		{"default", 0, tls.VersionTLS12, true},
		{"default refuses 1.1", 0, tls.VersionTLS11, false},
		{"1.0", tls.VersionTLS10, tls.VersionTLS10, true},
		{"1.1", tls.VersionTLS11, tls.VersionTLS11, true},
		{"1.1 refuses 1.0", tls.VersionTLS11, tls.VersionTLS10, false},
		{"1.3", tls.VersionTLS13, tls.VersionTLS13, true},
		{"1.3 refuses 1.2", tls.VersionTLS13, tls.VersionTLS12, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tlsFiles(t, map[string]string{"tls.crt": cert, "tls.key": key})
			c.MinVersion = tt.min
			config, _ := openTLS(t, c)
			client := ca.client(nil)
			client.MinVersion, client.MaxVersion = tt.client, tt.client
			_, sees, err := connect(t, config, client)
			if (err == nil) != tt.accepted || tt.accepted && sees.Version != tt.client {
				t.Errorf("got %v, %s, want accepted %v", err, tls.VersionName(sees.Version), tt.accepted)
			}
		})
	}
}

func TestTLSNotValidIsLogged(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, tt := range []struct {
		name        string
		from, until time.Duration
		want        int
	}{
		{"valid", -time.Hour, time.Hour, 0},
		{"expired", -2 * time.Hour, -time.Hour, 1},
		{"not yet valid", time.Hour, 2 * time.Hour, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, key := ca.pairFrom(&x509.Certificate{NotBefore: time.Now().Add(tt.from), NotAfter: time.Now().Add(tt.until)})
			config, lines := openTLS(t, tlsFiles(t, map[string]string{"tls.crt": cert, "tls.key": key}))
			if n := lines.count(slog.LevelWarn); n != tt.want {
				t.Errorf("%d warnings logged, want %d:\n%s", n, tt.want, lines)
			}
			client := ca.client(nil)
			client.InsecureSkipVerify = true
			if _, _, err := connect(t, config, client); err != nil {
				t.Errorf("a client that does not look: %v", err)
			}
		})
	}
}

func TestOpenTLSErrors(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert, key := ca.pair("server")
	other, otherKey := ca.pair("other")
	const pairRemedy = "; want a certificate and its key in PEM"
	const poolRemedy = "; want the certificates of authorities in PEM"
	for _, tt := range []struct {
		name          string
		cert, key, ca string
		want          []string
	}{
		{"no certificate", "", key, "", []string{"smtp.tls.cert_file, smtp.tls.key_file: ", "tls.crt: no such file", pairRemedy}},
		{"no key", cert, "", "", []string{"smtp.tls.cert_file, smtp.tls.key_file: ", "tls.key: no such file", pairRemedy}},
		{"key of another", other, key, "", []string{"tls.crt with ", "tls.key: tls: private key does not match public key", pairRemedy}},
		{"swapped", key, cert, "", []string{"tls.crt with ", "PEM inputs may have been switched", pairRemedy}},
		{"no PEM", "DER", otherKey, "", []string{"failed to find any PEM data in certificate input", pairRemedy}},
		{"authority without PEM", cert, key, "DER", []string{"smtp.tls.client_ca_file: 0 certificates begin in ", "ca.crt, and 0 of them can be read", poolRemedy}},
		{"key for an authority", cert, key, key, []string{"smtp.tls.client_ca_file: block 1 of ", "ca.crt is a PRIVATE KEY", poolRemedy}},
		{"authority that is no certificate", cert, key, ca.pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", []string{"smtp.tls.client_ca_file: certificate 2 of ", "x509: ", poolRemedy}},
		{"authority cut short", cert, key, ca.pem + ca.pem[:100], []string{"smtp.tls.client_ca_file: 2 certificates begin in ", "and 1 of them can be read", poolRemedy}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content := map[string]string{}
			for name, text := range map[string]string{"tls.crt": tt.cert, "tls.key": tt.key, "ca.crt": tt.ca} {
				if text != "" {
					content[name] = text
				}
			}
			log, _ := newLogged()
			_, err := OpenTLS(tlsFiles(t, content), log)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to contain %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("the error shows a file: %v", err)
			}
		})
	}
	for _, c := range []TLSConfig{{}, {CertFile: "cert"}, {KeyFile: "key"}} {
		const want = "smtp.tls.cert_file, smtp.tls.key_file: one is missing; want a certificate and its key"
		if _, err := OpenTLS(c, nil); err == nil || err.Error() != want {
			t.Errorf("OpenTLS(%v): got %v, want %s", c, err, want)
		}
	}
}

func TestParseTLSVersion(t *testing.T) {
	for s, want := range map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		if got, err := ParseTLSVersion(s); got != want || err != nil {
			t.Errorf("ParseTLSVersion(%q): got %#x, %v, want %#x", s, got, err, want)
		}
	}
	for _, s := range []string{"", "1", "1.4", "TLS1.2", "ssl3", "1.2 "} {
		want := fmt.Sprintf("%q is not a version of TLS; want 1.0, 1.1, 1.2 or 1.3", s)
		if _, err := ParseTLSVersion(s); err == nil || err.Error() != want {
			t.Errorf("ParseTLSVersion(%q): got %v, want %s", s, err, want)
		}
	}
}
