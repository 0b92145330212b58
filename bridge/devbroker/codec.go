package devbroker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/absmach/fluxmq/amqp1/frames"
	"github.com/absmach/fluxmq/amqp1/message"
	"github.com/absmach/fluxmq/amqp1/performatives"
	"github.com/absmach/fluxmq/amqp1/types"
)

// The codec is that of github.com/absmach/fluxmq, v0.30.0. This file is all that stands between it and the wire, because:
//
//   - frames.ReadFrame allocates whatever size a frame claims, up to 4 GiB;
//   - types.ReadType allocates whatever a string, list, map or array claims, descends without a limit, and takes the
//     number of elements for the truth where size and number contradict each other;
//   - a map with a list or binary as a key, or an error whose condition is no symbol, makes it panic;
//   - performatives.Open writes its properties where outgoing-locales belong;
//   - performatives.Transfer knows neither aborted nor state, so an aborted delivery would look complete;
//   - message.Header forgets which fields were absent, and would write ttl 0 where there was none;
//   - a descriptor has to be a number, and an array cannot hold described values: what AMQP allows beyond that is refused.

// maxDepth bounds how deep values nest: a frame of an honest peer needs six or so.
const maxDepth = 32

// errMalformed is what no AMQP 1.0 decoder could read, or this one does not (see above).
var errMalformed = errors.New("malformed AMQP value")

// readFrame reads one frame of at most limit octets.
func readFrame(r *bufio.Reader, limit uint32) (*frames.Frame, error) {
	head, err := r.Peek(frames.HeaderSize)
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if size := binary.BigEndian.Uint32(head); size < frames.HeaderSize || size > limit || uint32(head[4])*4 > size {
		return nil, &connError{newError(performatives.ErrFramingError,
			fmt.Sprintf("frame of %d octets, data offset %d: at most %d octets are accepted", size, head[4], limit))}
	}
	return frames.ReadFrame(r)
}

// openFrame is performatives.Open with its properties in their place, the tenth (part 2 §2.7.1).
type openFrame performatives.Open

// Encode encodes the performative.
func (o *openFrame) Encode() ([]byte, error) {
	var idle any // absent: for ever
	if o.IdleTimeOut > 0 {
		idle = o.IdleTimeOut
	}
	var list, pairs, buf bytes.Buffer
	for _, f := range []any{o.ContainerID, nil, o.MaxFrameSize, o.ChannelMax, idle, nil, nil, nil, nil} {
		if err := types.WriteAny(&list, f); err != nil {
			return nil, err
		}
	}
	for k, v := range o.Properties {
		if err := types.WriteSymbol(&pairs, k); err != nil {
			return nil, err
		}
		if err := types.WriteAny(&pairs, v); err != nil {
			return nil, fmt.Errorf("property %q: %w", k, err)
		}
	}
	if err := types.WriteMap(&list, pairs.Bytes(), len(o.Properties)); err != nil {
		return nil, err
	}
	if err := types.WriteDescriptor(&buf, performatives.DescriptorOpen); err != nil {
		return nil, err
	}
	if err := types.WriteList(&buf, list.Bytes(), 10); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// transfer is performatives.Transfer with the field it leaves out.
type transfer struct {
	*performatives.Transfer
	aborted bool
}

// decodePerformative decodes the body of a frame into a pointer to a performative, or a *transfer with its payload.
func decodePerformative(body []byte) (perf any, payload []byte, err error) {
	defer recoverMalformed(&err)
	payload, err = skipValue(body, maxDepth)
	if err != nil {
		return nil, nil, err
	}
	descriptor, fields, err := types.ReadListFields(bytes.NewReader(body[:len(body)-len(payload)]))
	if err != nil {
		return nil, nil, err
	}
	switch descriptor {
	case performatives.DescriptorOpen:
		perf = performatives.DecodeOpen(fields)
	case performatives.DescriptorBegin:
		perf = performatives.DecodeBegin(fields)
	case performatives.DescriptorAttach:
		perf = performatives.DecodeAttach(fields)
	case performatives.DescriptorFlow:
		perf = performatives.DecodeFlow(fields)
	case performatives.DescriptorTransfer:
		t := &transfer{Transfer: performatives.DecodeTransfer(fields)}
		if len(fields) > 9 {
			t.aborted, _ = fields[9].(bool)
		}
		perf = t
	case performatives.DescriptorDisposition:
		perf = performatives.DecodeDisposition(fields)
	case performatives.DescriptorDetach:
		perf = performatives.DecodeDetach(fields)
	case performatives.DescriptorEnd:
		perf = performatives.DecodeEnd(fields)
	case performatives.DescriptorClose:
		perf = performatives.DecodeClose(fields)
	default:
		err = fmt.Errorf("%w: unknown performative 0x%x", errMalformed, descriptor)
	}
	return perf, payload, err
}

// recoverMalformed turns a panic of the codec into an error.
func recoverMalformed(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", errMalformed, p)
	}
}

// skipValue checks the shape of the first value in b and returns what follows it. What it lets pass, types.ReadType reads
// without allocating more than a small multiple of len(b).
func skipValue(b []byte, depth int) ([]byte, error) {
	if len(b) == 0 || depth == 0 {
		return nil, fmt.Errorf("%w: cut short, or nested more than %d deep", errMalformed, maxDepth)
	}
	code, b := b[0], b[1:]
	if code == types.TypeDescriptor {
		b, err := skipValue(b, depth-1)
		if err != nil {
			return nil, err
		}
		return skipValue(b, depth-1)
	}
	return skipBody(code, b, depth)
}

// skipBody is skipValue after the constructor.
func skipBody(code byte, b []byte, depth int) ([]byte, error) {
	var size int
	switch code >> 4 {
	case 0x4:
	case 0x5, 0x6, 0x7, 0x8, 0x9: // 1, 2, 4, 8, 16 octets
		size = 1 << (code>>4 - 0x5)
	case 0xa, 0xb, 0xc, 0xd, 0xe, 0xf:
		width := 1 // of the size, and of the count of elements
		if code>>4&1 == 1 {
			width = 4
		}
		n, rest, err := uintOf(b, width)
		if err != nil {
			return nil, err
		}
		b, size = rest, n
		if code >= 0xc0 && size <= len(b) {
			if err := checkElements(code, b[:size], width, depth-1); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("%w: constructor 0x%02x", errMalformed, code)
	}
	if size > len(b) {
		return nil, fmt.Errorf("%w: %d octets claimed, %d there", errMalformed, size, len(b))
	}
	return b[size:], nil
}

// checkElements checks that b, a list, map or array after its size, holds exactly the elements it counts.
func checkElements(code byte, b []byte, width, depth int) error {
	count, b, err := uintOf(b, width)
	if err != nil {
		return err
	}
	isMap, isArray := code&0xef == 0xc1, code>>5 == 0x7
	if count > len(b) || isMap && count%2 == 1 || isArray && len(b) == 0 {
		return fmt.Errorf("%w: %d elements in %d octets", errMalformed, count, len(b))
	}
	var element byte
	if isArray {
		if element, b = b[0], b[1:]; element == types.TypeDescriptor {
			return fmt.Errorf("%w: an array of described values", errMalformed)
		}
	}
	for range count {
		if isArray && depth > 0 {
			b, err = skipBody(element, b, depth)
		} else {
			b, err = skipValue(b, depth)
		}
		if err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %d octets after the last element", errMalformed, len(b))
	}
	return nil
}

// uintOf reads the big-endian number of width octets at the start of b.
func uintOf(b []byte, width int) (n int, rest []byte, err error) {
	if len(b) < width {
		return 0, nil, fmt.Errorf("%w: cut short", errMalformed)
	}
	if width == 1 {
		return int(b[0]), b[1:], nil
	}
	if n := binary.BigEndian.Uint32(b); n <= math.MaxInt32 {
		return int(n), b[4:], nil
	}
	return 0, nil, fmt.Errorf("%w: a size of 2 GiB or more", errMalformed)
}

// A section is one section of an encoded message, its descriptor included.
type section struct {
	descriptor uint64 // 0 for a symbolic one
	octets     []byte
}

// sectionsOf splits an encoded message into its sections (AMQP 1.0 part 3 §3.2). It copies nothing.
func sectionsOf(msg []byte) ([]section, error) {
	var sections []section
	for len(msg) > 0 {
		if msg[0] != types.TypeDescriptor {
			return nil, fmt.Errorf("%w: a message section begins with 0x%02x", errMalformed, msg[0])
		}
		rest, err := skipValue(msg, maxDepth)
		if err != nil {
			return nil, err
		}
		s := section{octets: msg[:len(msg)-len(rest)]}
		if d, err := types.ReadType(bytes.NewReader(s.octets[1:])); err == nil {
			s.descriptor, _ = d.(uint64)
		}
		sections = append(sections, s)
		msg = rest
	}
	if len(sections) == 0 {
		return nil, fmt.Errorf("%w: a message without sections", errMalformed)
	}
	return sections, nil
}

// decodeMessage is message.Decode for octets of any origin.
func decodeMessage(octets []byte) (m *message.Message, err error) {
	defer recoverMalformed(&err)
	if _, err := sectionsOf(octets); err != nil {
		return nil, err
	}
	return message.Decode(octets)
}

// withDeliveryCount returns the encoded message with the delivery-count of its header raised by n (part 3 §3.2.1).
// All else stays as it came, octet for octet.
func withDeliveryCount(msg []byte, n uint32) (out []byte, err error) {
	defer recoverMalformed(&err)
	fields, rest := []any{nil, nil, nil, nil, nil}, msg
	sections, err := sectionsOf(msg)
	if err != nil {
		return nil, err
	}
	if head := sections[0]; head.descriptor == message.DescriptorHeader {
		_, old, err := types.ReadListFields(bytes.NewReader(head.octets))
		if err != nil {
			return nil, err
		}
		copy(fields, old)
		rest = msg[len(head.octets):]
	}
	before, _ := fields[4].(uint32)
	fields[3], fields[4] = false, before+n // no longer the first acquirer

	var list, buf bytes.Buffer
	for _, f := range fields {
		if err := types.WriteAny(&list, f); err != nil {
			return nil, err
		}
	}
	if err := types.WriteDescriptor(&buf, message.DescriptorHeader); err != nil {
		return nil, err
	}
	if err := types.WriteList(&buf, list.Bytes(), len(fields)); err != nil {
		return nil, err
	}
	buf.Write(rest)
	return buf.Bytes(), nil
}

// messageID returns the message-id as text, empty when there is none: a string as it is, a number in decimal, a UUID in
// its usual form, binary in hexadecimal.
func messageID(sections []section) string {
	for _, s := range sections {
		if s.descriptor != message.DescriptorProperties {
			continue
		}
		m, err := decodeMessage(s.octets)
		if err != nil || m.Properties == nil {
			return ""
		}
		switch id := m.Properties.MessageID.(type) {
		case nil:
		case string:
			return id
		case types.UUID:
			return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
		case []byte:
			return fmt.Sprintf("%x", id)
		default:
			return fmt.Sprint(id)
		}
	}
	return ""
}
