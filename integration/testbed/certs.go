package testbed

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certs are the files, in PEM, of a certificate authority made for one run and of what it has signed. They are valid
// for a day. Keys are RSA in PKCS #8: Broker-J reads no others from PEM.
type Certs struct {
	CA       string  // certificate of the authority
	Server   KeyPair // for localhost and 127.0.0.1
	Client   KeyPair // CN=lsmtpd, a user of the brokers by SASL EXTERNAL
	Stranger KeyPair // CN=nobody: of the same authority, a user of Broker-J only
}

// KeyPair is a certificate and its key, each in a file, and both together, the key first, in a third.
type KeyPair struct{ Cert, Key, Both string }

// TestCerts returns the certificates that the servers of this test binary use.
func TestCerts(t testing.TB) *Certs {
	t.Helper()
	needMain(t)
	certs, err := sharedCerts()
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

func sharedCerts() (*Certs, error) {
	return bed.certs.get(func() (*Certs, error) {
		dir, err := serverDir("certs")
		if err != nil {
			return nil, err
		}
		// Certificates are for everybody, also for servers that have dropped the rights of root.
		if err := os.Chmod(dir, 0o711); err != nil {
			return nil, err
		}
		certs, err := newCerts(dir)
		if err != nil {
			return nil, fmt.Errorf("make certificates: %w", err)
		}
		return certs, nil
	})
}

func newCerts(dir string) (*Certs, error) {
	certs := &Certs{CA: filepath.Join(dir, "ca.pem")}
	ca := &authority{dir: dir}
	root := &x509.Certificate{
		Subject: pkix.Name{CommonName: "lsmtpd test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if _, err := ca.issue("ca", root); err != nil {
		return nil, err
	}
	for _, leaf := range []struct {
		name, commonName string
		pair             *KeyPair
		usage            x509.ExtKeyUsage
		ips              []net.IP
	}{
		{"server", "localhost", &certs.Server, x509.ExtKeyUsageServerAuth, []net.IP{net.IPv4(127, 0, 0, 1)}},
		{"client", "lsmtpd", &certs.Client, x509.ExtKeyUsageClientAuth, nil},
		{"stranger", "nobody", &certs.Stranger, x509.ExtKeyUsageClientAuth, nil},
	} {
		pair, err := ca.issue(leaf.name, &x509.Certificate{
			Subject: pkix.Name{CommonName: leaf.commonName}, DNSNames: []string{leaf.commonName}, IPAddresses: leaf.ips,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{leaf.usage},
			BasicConstraintsValid: true,
		})
		if err != nil {
			return nil, err
		}
		*leaf.pair = pair
	}
	return certs, nil
}

// authority signs certificates into a folder. The first one it issues is its own.
type authority struct {
	dir    string
	cert   *x509.Certificate
	key    *rsa.PrivateKey
	serial int64
}

func (a *authority) issue(name string, template *x509.Certificate) (KeyPair, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return KeyPair{}, err
	}
	a.serial++
	template.SerialNumber = big.NewInt(a.serial)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if a.cert == nil {
		a.cert, a.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return KeyPair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return KeyPair{}, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	base := filepath.Join(a.dir, name)
	pair := KeyPair{Cert: base + ".pem", Key: base + ".key", Both: base + "-both.pem"}
	return pair, errors.Join(os.WriteFile(pair.Cert, certPEM, 0o644), os.WriteFile(pair.Key, keyPEM, 0o600),
		os.WriteFile(pair.Both, append(keyPEM, certPEM...), 0o600))
}
