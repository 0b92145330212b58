package smtpd

import (
	"bufio"
	"errors"
	"fmt"
	"net"

	"github.com/pires/go-proxyproto"
)

// errProxyHeader reports a trusted proxy's connection that does not begin with a PROXY header.
var errProxyHeader = errors.New("no PROXY header")

// errTurnedAway reports a client over the limit of connections of one address.
var errTurnedAway = errors.New("too many connections from the address")

// identify finds out who the client is: the peer, or whom a trusted proxy names.
func (s *session) identify() error {
	peer, known := s.conn.socket.RemoteAddr(), true
	if s.server.cfg.ProxyFrom.Contains(peer) {
		var err error
		if peer, known, err = s.readProxyHeader(peer); err != nil {
			s.server.metrics.limit(limitProxyHeader)
			s.log().Warn("connection closed: its peer is in smtp.proxy_from and has sent no PROXY header", "peer", s.conn.socket.RemoteAddr(), "error", err)
			return err
		}
	}
	s.address = addressOf(peer)
	s.trusted = known && s.server.cfg.XclientFrom.Contains(peer)
	if s.trusted || s.server.set.enter(s, s.address) { // a proxy has many clients
		return nil
	}
	s.server.turnedAway(s.endpoint, s.conn.socket, limitConnectionsPerIP, s.address)
	return errTurnedAway
}

// readProxyHeader reads a header of the PROXY protocol, version 1 or 2, and
// returns whom it names. That is the proxy itself, whose address is peer, on a
// connection by which it checks whether we live. It also is where the proxy does
// not know its client, or has no IP address for it; then it is nobody to be trusted.
func (s *session) readProxyHeader(peer net.Addr) (client net.Addr, known bool, err error) {
	_ = s.conn.socket.SetReadDeadline(after(s.server.cfg.HandshakeTimeout)) // fails only on a closed connection, as the read will
	r := bufio.NewReader(s.conn.socket)
	h, err := proxyproto.Read(r)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	s.conn.rw = &afterHeader{s.conn.socket, r}
	tcp, isTCP := h.SourceAddr.(*net.TCPAddr)
	switch {
	case h.Version == 2 && h.Command.IsLocal():
		return peer, true, nil
	case isTCP && h.TransportProtocol.IsStream():
		return tcp, true, nil
	}
	return peer, false, nil
}

// afterHeader is a connection of which a reader holds what came behind the PROXY header.
type afterHeader struct {
	net.Conn
	r *bufio.Reader
}

func (c *afterHeader) Read(p []byte) (int, error) {
	if c.r != nil && c.r.Buffered() > 0 {
		return c.r.Read(p)
	}
	c.r = nil
	return c.Conn.Read(p)
}

// CloseWrite ends our side.
func (c *afterHeader) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
