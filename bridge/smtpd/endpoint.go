package smtpd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Endpoint is one address to listen on.
type Endpoint struct {
	Scheme  string      // smtp, smtps (implicit TLS, RFC 8314 §3.3) or lmtp
	Network string      // tcp or unix
	Address string      // host:port, or the path of a socket
	Mode    fs.FileMode // of the socket's file; 0: as the umask has it
}

// String is the endpoint as it is configured.
func (e Endpoint) String() string {
	if e.Mode != 0 {
		return fmt.Sprintf("%s://%s?mode=%#o", e.Scheme, e.Address, e.Mode)
	}
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

// ParseEndpoint reads smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT, lmtp:///PATH or a bare HOST:PORT, which
// is smtp. Who may connect to a socket depends on its mode, as in lmtp:///PATH?mode=0666.
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
		return parseSocket(u)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		return Endpoint{}, fmt.Errorf("%q is more than a host and a port: %s", s, want)
	case u.Port() == "":
		return Endpoint{}, fmt.Errorf("%q has no port: %s", s, want)
	}
	return Endpoint{Scheme: u.Scheme, Network: "tcp", Address: u.Host}, nil
}

func parseSocket(u *url.URL) (Endpoint, error) {
	e := Endpoint{Scheme: u.Scheme, Network: "unix", Address: u.Path}
	if u.RawQuery == "" {
		return e, nil
	}
	octal, ok := strings.CutPrefix(u.RawQuery, "mode=")
	mode, err := strconv.ParseUint(octal, 8, 32)
	if !ok || err != nil || mode == 0 || mode > 0o777 {
		return Endpoint{}, fmt.Errorf("%q ends in %q: want a mode in octal, as lmtp://%s?mode=0666", u, u.RawQuery, u.Path)
	}
	e.Mode = fs.FileMode(mode)
	return e, nil
}

// errNoCertificate reports an smtps endpoint without a certificate.
var errNoCertificate = errors.New("smtps needs smtp.tls.cert_file and smtp.tls.key_file")

// listen opens the endpoint.
func (e Endpoint) listen() (net.Listener, error) {
	ln, err := e.bind()
	if err != nil || e.Mode == 0 {
		return ln, err
	}
	if err := os.Chmod(e.Address, e.Mode); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// bind takes the address. The socket file of a process that is gone is
// replaced; one that somebody answers on is in use.
func (e Endpoint) bind() (net.Listener, error) {
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
