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
	peer := s.conn.socket.RemoteAddr()
	if s.server.cfg.ProxyFrom.Contains(peer) {
		named, err := s.readProxyHeader()
		if err != nil {
			s.server.metrics.limit(limitProxyHeader)
			s.log().Warn("connection closed: its peer is in smtp.proxy_from and has sent no PROXY header", "peer", peer, "error", err)
			return err
		}
		if named != nil {
			peer = named
		}
	}
	s.address = addressOf(peer)
	s.trusted = s.server.cfg.XclientFrom.Contains(peer)
	if s.server.set.enter(s, s.address) {
		return nil
	}
	s.server.turnedAway(s.endpoint, s.conn.socket, limitConnectionsPerIP, s.address)
	return errTurnedAway
}

// readProxyHeader reads a header of the PROXY protocol, version 1 or 2. It
// returns nil for a connection of the proxy's own, which checks whether we live.
func (s *session) readProxyHeader() (net.Addr, error) {
	_ = s.conn.socket.SetReadDeadline(after(s.server.cfg.HandshakeTimeout)) // fails only on a closed connection, as the read will
	r := bufio.NewReader(s.conn.socket)
	h, err := proxyproto.Read(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	s.conn.rw = &afterHeader{s.conn.socket, r}
	if h.Command.IsLocal() {
		return nil, nil //nolint:nilnil // no address is the answer
	}
	if tcp, ok := h.SourceAddr.(*net.TCPAddr); ok {
		return tcp, nil
	}
	return nil, nil //nolint:nilnil // UNKNOWN, or a socket of the proxy's machine
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
