package devbroker

import (
	"bufio"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/absmach/fluxmq/amqp1/frames"
	"github.com/absmach/fluxmq/amqp1/performatives"
	"github.com/absmach/fluxmq/amqp1/sasl"
	"github.com/absmach/fluxmq/amqp1/types"
)

const mechEXTERNAL types.Symbol = "EXTERNAL"

// errLogin is a refused login; the peer has been told by the outcome.
var errLogin = errors.New("wrong credentials")

// handshake goes from TLS over SASL to the exchanged open frames (AMQP 1.0 part 2 §2.2 and §2.4, part 5 §5.3).
func (c *conn) handshake() error {
	c.nc.SetDeadline(time.Now().Add(handshakeTimeout))
	if t, ok := c.nc.(*tls.Conn); ok {
		if err := t.HandshakeContext(context.Background()); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
	}
	c.br = bufio.NewReaderSize(c.nc, 64<<10)
	proto, err := c.readHeader()
	if err == nil && proto == frames.ProtoIDSASL {
		if err := c.authenticate(); err != nil {
			return err
		}
		proto, err = c.readHeader()
	} else if err == nil && c.b.cfg.Username != "" {
		err = c.wrongHeader(errLogin) // AMQP at once, without SASL
	}
	if err == nil && proto != frames.ProtoIDAMQP {
		err = c.wrongHeader(fmt.Errorf("protocol %d is not AMQP", proto))
	}
	if err != nil {
		return err
	}
	if err := frames.WriteProtocolHeader(c.nc, frames.ProtoIDAMQP); err != nil {
		return err
	}
	return c.open()
}

// readHeader reads a protocol header.
func (c *conn) readHeader() (proto byte, err error) {
	if _, err := c.br.Peek(frames.ProtoHeaderSize); err != nil {
		return 0, fmt.Errorf("read the protocol header: %w", err)
	}
	if proto, err = frames.ReadProtocolHeader(c.br); err != nil {
		return 0, c.wrongHeader(err)
	}
	return proto, nil
}

// wrongHeader answers a protocol header that will not do with the one that would, before the connection is closed (§2.2).
func (c *conn) wrongHeader(cause error) error {
	return errors.Join(cause, frames.WriteProtocolHeader(c.nc, frames.ProtoIDSASL))
}

// authenticate does the SASL exchange. It returns nil only after an outcome of ok.
func (c *conn) authenticate() error {
	if err := frames.WriteProtocolHeader(c.nc, frames.ProtoIDSASL); err != nil {
		return err
	}
	offered := c.mechanisms()
	if err := c.writeSASL(&sasl.Mechanisms{Mechanisms: offered}); err != nil {
		return err
	}
	frame, err := readFrame(c.br, frames.MinFrameSize) // §5.3.1: no SASL frame is larger
	if err != nil {
		return fmt.Errorf("read sasl-init: %w", err)
	}
	init, err := decodeInit(frame)
	if err != nil {
		return err
	}
	if !slices.Contains(offered, init.Mechanism) || !c.login(init) {
		return errors.Join(fmt.Errorf("SASL %s: %w", init.Mechanism, errLogin), c.writeSASL(&sasl.Outcome{Code: sasl.CodeAuth}))
	}
	return c.writeSASL(&sasl.Outcome{Code: sasl.CodeOK})
}

// mechanisms are those offered, EXTERNAL where a verified client certificate is there.
func (c *conn) mechanisms() []types.Symbol {
	mechs := []types.Symbol{sasl.MechPLAIN}
	if c.b.cfg.Username == "" {
		mechs = append(mechs, sasl.MechANONYMOUS)
	}
	if t, ok := c.nc.(*tls.Conn); ok && len(t.ConnectionState().VerifiedChains) > 0 {
		mechs = append(mechs, mechEXTERNAL)
	}
	return mechs
}

func (c *conn) login(init *sasl.Init) bool {
	switch init.Mechanism {
	case sasl.MechPLAIN:
		_, user, password, err := sasl.ParsePLAIN(init.InitialResponse)
		if err != nil {
			return false
		}
		c.user = user
		want := c.b.cfg
		return want.Username == "" || subtle.ConstantTimeCompare([]byte(user), []byte(want.Username))&
			subtle.ConstantTimeCompare([]byte(password), []byte(want.Password)) == 1
	case mechEXTERNAL:
		c.user = c.nc.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	return true
}

func (c *conn) writeSASL(p performative) error {
	body, err := p.Encode()
	if err != nil {
		return err
	}
	return frames.WriteFrame(c.nc, frames.FrameTypeSASL, 0, body)
}

func decodeInit(frame *frames.Frame) (init *sasl.Init, err error) {
	defer recoverMalformed(&err)
	if frame.Type != frames.FrameTypeSASL {
		return nil, fmt.Errorf("%w: not a SASL frame", errMalformed)
	}
	if _, err := skipValue(frame.Body, maxDepth); err != nil {
		return nil, err
	}
	_, p, err := sasl.DecodeSASL(frame.Body)
	if err != nil {
		return nil, err
	}
	if init, ok := p.(*sasl.Init); ok {
		return init, nil
	}
	return nil, fmt.Errorf("%w: not a sasl-init", errMalformed)
}

// open reads the peer's open frame and queues ours.
func (c *conn) open() error {
	frame, err := readFrame(c.br, c.b.cfg.MaxFrameSize)
	if err != nil {
		return fmt.Errorf("read open: %w", err)
	}
	perf, _, err := decodePerformative(frame.Body)
	if err != nil {
		return fmt.Errorf("read open: %w", err)
	}
	o, ok := perf.(*performatives.Open)
	if !ok {
		return fmt.Errorf("read open: got %T", perf)
	}
	c.container, c.hostname = o.ContainerID, o.Hostname
	c.maxFrame = frames.DefaultMaxFrameSize // what the writer's buffer is made for, unless the peer takes less
	if o.MaxFrameSize >= frames.MinFrameSize && o.MaxFrameSize < c.maxFrame {
		c.maxFrame = o.MaxFrameSize
	}
	c.heartbeat = time.Duration(o.IdleTimeOut) * time.Millisecond / 2
	c.nc.SetDeadline(time.Time{})

	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.closing {
		return errors.New("the broker is shutting down")
	}
	c.opened = true
	c.send(0, c.b.cfg.open())
	if c.b.refusing {
		c.close(c.b.refusal)
	}
	return nil
}
