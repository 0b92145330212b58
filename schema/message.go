package schema

import (
	"iter"
	"strings"
	"time"
)

// ID names version 1 of the published message. It is the value of
// Message.Schema and of the CloudEvents attribute dataschema.
const ID = "urn:lsmtpd:email:1"

// ContentType is the AMQP content-type of a published message.
const ContentType = "application/json"

// Message is one delivery: one message as it was received, for one destination.
type Message struct {
	Schema string `json:"schema"` // always ID
	// ID identifies this delivery, a UUIDv7 in lower-case text. Every resend and
	// replay of the delivery carries the same one; it is the AMQP message-id.
	ID string `json:"id"`
	// TransactionID is the UUIDv7 of the SMTP transaction, equal in all its deliveries and part of the object keys.
	TransactionID string          `json:"transactionId"`
	Envelope      Envelope        `json:"envelope"`
	Email         Email           `json:"email"`
	Blobs         map[string]Blob `json:"blobs"` // by blobId; every leaf part has one
	// Problems lists what was malformed in the message, in the order it was met. Never nil.
	Problems []Problem `json:"problems"`
}

// Envelope is the SMTP side of a message: RFC 8621 §7, and what is known of the client that sent it.
type Envelope struct {
	MailFrom        Address   `json:"mailFrom"` // email "" is the null reverse-path
	RcptTo          []Address `json:"rcptTo"`   // the recipients of this delivery only
	Helo            string    `json:"helo"`
	ClientAddress   string    `json:"clientAddress"` // IP address in text, without port; "" on a unix socket
	Protocol        string    `json:"protocol"`      // RFC 3848: ESMTP, ESMTPS, ESMTPSA, LMTP …
	TLS             *TLS      `json:"tls"`
	AuthenticatedAs *string   `json:"authenticatedAs"`
}

// Address is a mailbox of the SMTP envelope with the parameters of its MAIL or RCPT command (RFC 8621 §7).
type Address struct {
	Email string `json:"email"`
	// Parameters has the ESMTP parameters by lower-case keyword; the value is null for one without a value. Nil for none.
	Parameters map[string]*string `json:"parameters"`
}

// TLS says how the session was encrypted.
type TLS struct {
	Version     string `json:"version"`     // "TLS 1.3"
	CipherSuite string `json:"cipherSuite"` // IANA name
}

// Email is the message: the properties of RFC 8621 §4 that do not need a mailbox.
type Email struct {
	BlobID     *string   `json:"blobId"` // the raw message where it is kept, else null
	Size       int64     `json:"size"`   // octets as received, dot-stuffing undone
	SHA256     *string   `json:"sha256"` // of the same octets, hexadecimal; null where digests are off
	ReceivedAt time.Time `json:"receivedAt"`

	Headers []Header `json:"headers"` // all of them in order, in the Raw form of RFC 8621 §4.1.2.1
	// HeadersBlobID is the header block octet for octet, where Headers cannot reproduce it or does not hold all of it.
	HeadersBlobID    *string `json:"headersBlobId"`
	HeadersTruncated bool    `json:"headersTruncated"` // Headers does not hold all fields

	MessageID  []string       `json:"messageId"`
	InReplyTo  []string       `json:"inReplyTo"`
	References []string       `json:"references"`
	From       []EmailAddress `json:"from"`
	Sender     []EmailAddress `json:"sender"`
	To         []EmailAddress `json:"to"`
	CC         []EmailAddress `json:"cc"`
	BCC        []EmailAddress `json:"bcc"`
	ReplyTo    []EmailAddress `json:"replyTo"`
	Subject    *string        `json:"subject"`
	SentAt     *time.Time     `json:"sentAt"`

	HasAttachment bool   `json:"hasAttachment"`
	Preview       string `json:"preview"` // at most 256 characters of text, RFC 8621 §4.1.4

	// Report says what a delivery status, disposition or feedback report reports; nil for other messages.
	Report *Report `json:"report"`

	BodyStructure *BodyPart            `json:"bodyStructure"`
	TextBody      []BodyProperties     `json:"textBody"`
	HTMLBody      []BodyProperties     `json:"htmlBody"`
	Attachments   []BodyProperties     `json:"attachments"`
	BodyValues    map[string]BodyValue `json:"bodyValues"` // by partId, for the text parts of TextBody and HTMLBody
}

// Header is one header field. Value is what follows the colon, folding
// included, without the final line end; octets that are not UTF-8 are U+FFFD
// and NULs are dropped (RFC 8621 §4.1.2.1).
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// EmailAddress is a mailbox of a header field (RFC 8621 §4.1.2.3).
type EmailAddress struct {
	Name  *string `json:"name"`
	Email string  `json:"email"`
}

// BodyPart is a node of the MIME structure with all properties of RFC 8621 §4.1.4.
type BodyPart struct {
	BodyProperties
	// Headers are the part's own header fields in the Raw form. Empty on the root, whose header fields are Email.Headers. Never nil.
	Headers []Header `json:"headers"`
	// RawName is the file name as the sender gave it, decoded and cut at 1024 octets, whatever is in it: paths,
	// controls, marks that change the direction of writing. Nil for none.
	RawName *string `json:"rawName"`
	// Format is the format parameter of a text/plain part in lower case, "flowed" of RFC 3676, and nil for none; DelSp
	// that delsp is yes there. The text itself is as it came.
	Format *string `json:"format"`
	DelSp  bool    `json:"delSp"`
	// SubParts are the parts of a multipart, nil on a leaf.
	SubParts []*BodyPart `json:"subParts"`
}

// Leaves yields the leaf parts at and below p, in the order of the message.
// A nil p has none.
func (p *BodyPart) Leaves() iter.Seq[*BodyPart] {
	return func(yield func(*BodyPart) bool) { p.yieldLeaves(yield) }
}

func (p *BodyPart) yieldLeaves(yield func(*BodyPart) bool) bool {
	if p == nil {
		return true
	}
	if p.SubParts == nil {
		return yield(p)
	}
	for _, sub := range p.SubParts {
		if !sub.yieldLeaves(yield) {
			return false
		}
	}
	return true
}

// BodyProperties are the properties of a body part that RFC 8621 §4.2 returns by default.
type BodyProperties struct {
	PartID *string `json:"partId"` // IMAP section number, "2.1"; nil on a multipart
	BlobID *string `json:"blobId"` // key into Message.Blobs; nil on a multipart
	Size   int64   `json:"size"`   // octets after the transfer encoding is undone; 0 on a multipart
	Name   *string `json:"name"`   // one that can be shown: see BodyPart.RawName
	Type   string  `json:"type"`   // lower case, without parameters
	// SniffedType is the media type the first octets look like, without parameters; nil where there are none, and on a multipart.
	SniffedType *string  `json:"sniffedType"`
	Charset     *string  `json:"charset"`
	Disposition *string  `json:"disposition"` // lower case, without parameters
	CID         *string  `json:"cid"`         // Content-ID without its angle brackets
	Language    []string `json:"language"`
	Location    *string  `json:"location"`
}

// BodyValue is the text of a part, in UTF-8 with LF line ends (RFC 8621 §4.1.4).
type BodyValue struct {
	Value             string `json:"value"`
	IsEncodingProblem bool   `json:"isEncodingProblem"`
	IsTruncated       bool   `json:"isTruncated"` // Value does not hold all of the text; the blob does
}

// Octets is what a blob stands for that has this text as its value: UTF-8 with
// each LF written as CRLF.
func (v BodyValue) Octets() []byte { return []byte(strings.ReplaceAll(v.Value, "\n", "\r\n")) }

// Problem is something malformed in a message, and what was made of it.
type Problem struct {
	PartID *string `json:"partId"` // nil where it concerns the message or a multipart
	Code   string  `json:"code"`   // one of a closed list, see the extract package
	Detail string  `json:"detail"`
}

// RawBlobID is the blobId of the raw message, HeadersBlobID that of a header block.
const (
	RawBlobID     = "raw"
	HeadersBlobID = "headers"
)

// BlobID is the blobId of the leaf part with this partId.
func BlobID(partID string) string { return "b" + partID }
