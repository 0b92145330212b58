package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"os"
	"path/filepath"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"
	"github.com/google/uuid"
)

// attachment is a file of a composed message. Its octets are read once, while the message is sent.
type attachment struct {
	name, mediaType string
	inlineID        string // Content-ID; "" for an ordinary attachment
	size            int64
	open            func() (io.ReadCloser, error)
}

// fileAttachment is the file at path.
func fileAttachment(path string) (attachment, error) {
	info, err := os.Stat(path)
	if err != nil {
		return attachment{}, err
	}
	if !info.Mode().IsRegular() {
		return attachment{}, fmt.Errorf("%s is not a regular file", path)
	}
	mediaType := mime.TypeByExtension(filepath.Ext(path))
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	return attachment{name: filepath.Base(path), mediaType: mediaType, size: info.Size(),
		open: func() (io.ReadCloser, error) { return os.Open(path) }}, nil
}

// randomAttachment is size octets that look random and are the same for the same seed.
func randomAttachment(name string, size int64, seed byte) attachment {
	return attachment{name: name, mediaType: "application/octet-stream", size: size, open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)), nil
	}}
}

// bytesAttachment is a small attachment at hand.
func bytesAttachment(name, mediaType, inlineID string, data []byte) attachment {
	return attachment{name: name, mediaType: mediaType, inlineID: inlineID, size: int64(len(data)),
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// sum is the SHA-256 of the attachment's octets.
func (a *attachment) sum() (string, error) {
	r, err := a.open()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, r.Close())
}

// composition is a message to be written.
type composition struct {
	from, subject, text string
	to                  []string
	attachments         []attachment
}

// octets is how much attachment there is, for a progress bar.
func (c *composition) octets() (n int64) {
	for _, a := range c.attachments {
		n += a.size
	}
	return n
}

// write streams the message to w; progress sees the octets of the attachments go by.
func (c *composition) write(w io.Writer, progress io.Writer) error {
	var h mail.Header
	h.SetDate(time.Now())
	h.SetMessageID(uuid.Must(uuid.NewV7()).String() + "@lsmtpd.invalid")
	h.SetSubject(c.subject)
	if c.from != "" {
		h.SetAddressList("From", []*mail.Address{{Address: c.from}})
	}
	to := make([]*mail.Address, len(c.to))
	for i, rcpt := range c.to {
		to[i] = &mail.Address{Address: rcpt}
	}
	h.SetAddressList("To", to)
	h.SetContentType("multipart/mixed", nil)
	mw, err := message.CreateWriter(w, h.Header)
	if err != nil {
		return err
	}
	if err := c.writeText(mw); err != nil {
		return err
	}
	for _, a := range c.attachments {
		if err := a.write(mw, progress); err != nil {
			return fmt.Errorf("attachment %s: %w", a.name, err)
		}
	}
	return mw.Close()
}

func (c *composition) writeText(mw *message.Writer) error {
	var h message.Header
	h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	w, err := mw.CreatePart(h)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, c.text)
	return errors.Join(err, w.Close())
}

func (a *attachment) write(mw *message.Writer, progress io.Writer) error {
	r, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close()
	var h mail.AttachmentHeader // knows how to write a file name
	h.SetContentType(a.mediaType, nil)
	h.SetFilename(a.name)
	h.Set("Content-Transfer-Encoding", "base64")
	if a.inlineID != "" {
		h.SetContentDisposition("inline", map[string]string{"filename": a.name})
		h.Set("Content-Id", "<"+a.inlineID+">")
	}
	w, err := mw.CreatePart(h.Header)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.MultiWriter(w, progress), r)
	if err == nil && n != a.size {
		err = fmt.Errorf("changed while it was sent: %d octets, not %d", n, a.size)
	}
	return errors.Join(err, w.Close())
}
