package smtpd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Endpoint is one address to listen on.
type Endpoint struct {
	Scheme  string // smtp, smtps (implicit TLS, RFC 8314 §3.3) or lmtp
	Network string // tcp or unix
	Address string // host:port, or the path of a socket
}

// String is the endpoint as it is configured.
func (e Endpoint) String() string {
	return e.Scheme + "://" + e.Address
}

// Loopback reports whether only this machine can reach the endpoint.
func (e Endpoint) Loopback() bool {
	if e.Network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(e.Address)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ParseEndpoint reads smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT, lmtp:///PATH or a bare HOST:PORT, which is smtp.
func ParseEndpoint(s string) (Endpoint, error) {
	const want = "want smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT or lmtp:///PATH"
	if !strings.Contains(s, "://") {
		s = "smtp://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q is not an endpoint: %s", s, want)
	}
	switch {
	case u.Scheme != "smtp" && u.Scheme != "smtps" && u.Scheme != "lmtp":
		return Endpoint{}, fmt.Errorf("%q has the scheme %q: %s", s, u.Scheme, want)
	case u.Scheme == "lmtp" && u.Host == "" && len(u.Path) > 1:
		return Endpoint{u.Scheme, "unix", u.Path}, nil
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		return Endpoint{}, fmt.Errorf("%q is more than a host and a port: %s", s, want)
	case u.Port() == "":
		return Endpoint{}, fmt.Errorf("%q has no port: %s", s, want)
	}
	return Endpoint{u.Scheme, "tcp", u.Host}, nil
}

// errNoCertificate reports an smtps endpoint without a certificate.
var errNoCertificate = errors.New("smtps needs smtp.tls.cert_file and smtp.tls.key_file")

// listen opens the endpoint. The socket file of a process that is gone is
// replaced; one that somebody answers on is in use.
func (e Endpoint) listen() (net.Listener, error) {
	ln, err := net.Listen(e.Network, e.Address)
	if e.Network != "unix" || !errors.Is(err, syscall.EADDRINUSE) {
		return ln, err
	}
	if nc, dialErr := net.DialTimeout(e.Network, e.Address, time.Second); dialErr == nil {
		return nil, errors.Join(err, nc.Close())
	} else if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(e.Address); err != nil {
		return nil, err
	}
	return net.Listen(e.Network, e.Address)
}
