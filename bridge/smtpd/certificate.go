package smtpd

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// TLSConfig names the files that TLS needs.
type TLSConfig struct {
	CertFile     string // the certificate and those between it and its root, PEM
	KeyFile      string // its private key, PEM, not encrypted
	ClientCAFile string // the authorities of client certificates, PEM; empty: clients are not asked for any
	MinVersion   uint16 // as tls.VersionTLS13; zero means TLS 1.2
}

// OpenTLS reads the files of c and returns a configuration for servers that reads them again when they change. All
// connections must share it, not copies: it holds the keys of the session tickets, which are replaced every day.
// Files that stop fitting together are logged, and what was read before stays: so the certificate may be written
// before its key. The errors name the settings. A certificate that is not valid at present is logged and used.
//
// With ClientCAFile, clients are asked for a certificate. They may have none, or one of an authority that is not in
// the file: mail servers show theirs to everybody. Which it is, clientName tells after each handshake, resumed or not.
func OpenTLS(c TLSConfig, log *slog.Logger) (*tls.Config, error) {
	if c.CertFile == "" || c.KeyFile == "" {
		return nil, errors.New("smtp.tls.cert_file, smtp.tls.key_file: one is missing; want a certificate and its key")
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	paths := []string{c.CertFile, c.KeyFile}
	if c.ClientCAFile != "" {
		paths = append(paths, c.ClientCAFile)
	}
	current, err := newReloaded(func() (*tls.Config, error) { return c.load(log) }, log, paths...)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: c.MinVersion,
		// The tickets of a configuration returned here are made with the keys of the outer one.
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.get(), nil },
	}, nil
}

// load makes the configuration that holds until one of the files changes.
func (c TLSConfig) load(log *slog.Logger) (*tls.Config, error) {
	cert, err := loadPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("smtp.tls.cert_file, smtp.tls.key_file: %w; want a certificate and its key in PEM", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: c.MinVersion}
	if c.ClientCAFile != "" {
		if config.ClientCAs, err = loadPool(c.ClientCAFile); err != nil {
			return nil, fmt.Errorf("smtp.tls.client_ca_file: %w; want the certificates of authorities in PEM", err)
		}
		config.ClientAuth = tls.RequestClientCert
	}
	if now, leaf := time.Now(), cert.Leaf; now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		log.Warn("the certificate is not valid at present; clients that look will not use TLS", "file", c.CertFile,
			"not_before", leaf.NotBefore, "not_after", leaf.NotAfter)
	}
	return config, nil
}

// clientName is the name in the certificate that a client has shown: its common name, or else its first e-mail
// address or DNS name, or its serial number. It is "" without a certificate, and with one that no authority of config
// vouches for at present, for the purpose of authenticating a client.
func clientName(config *tls.Config, state tls.ConnectionState) string {
	if config.GetConfigForClient != nil {
		current, err := config.GetConfigForClient(nil) // that of OpenTLS is the same for all clients
		if err != nil || current == nil {
			return ""
		}
		config = current
	}
	if len(state.PeerCertificates) == 0 || config.ClientCAs == nil {
		return ""
	}
	leaf, intermediates := state.PeerCertificates[0], x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: config.ClientCAs, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return ""
	}
	for _, names := range [][]string{{leaf.Subject.CommonName}, leaf.EmailAddresses, leaf.DNSNames} {
		if len(names) > 0 && names[0] != "" {
			return names[0]
		}
	}
	return leaf.SerialNumber.String()
}

func loadPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := readFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readFile(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s with %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// loadPool reads the certificates of a file, all of which must be good: one that is passed over in silence is missed
// much later.
func loadPool(path string) (*x509.CertPool, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	pool, n := x509.NewCertPool(), 0
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if n++; block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d of %s is a %s", n, path, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %s: %w", n, path, err)
		}
		pool.AddCert(cert)
	}
	// pem.Decode skips what it cannot read.
	if begun := bytes.Count(content, []byte("-----BEGIN ")); n == 0 || n != begun {
		return nil, fmt.Errorf("%d certificates begin in %s, and %d of them can be read", begun, path, n)
	}
	return pool, nil
}

// ParseTLSVersion reads a version of TLS: 1.0, 1.1, 1.2 or 1.3.
func ParseTLSVersion(s string) (uint16, error) {
	switch s {
	case "1.0":
		return tls.VersionTLS10, nil
	case "1.1":
		return tls.VersionTLS11, nil
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%q is not a version of TLS; want 1.0, 1.1, 1.2 or 1.3", s)
}
