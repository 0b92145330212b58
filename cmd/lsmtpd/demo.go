package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/smtpd"
	"lsmtpd/schema"
)

// demoAddress is the queue of the demo.
const demoAddress = "mail"

// demoTimeout bounds the demo's own message, from its first octet sent to its digest verified.
const demoTimeout = 10 * time.Minute

func newDemo(c *console, force context.Context) *cobra.Command {
	var (
		once bool
		text string
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show all of it with nothing else installed",
		Long: `Receive a message with a large attachment over real SMTP, store it in a temporary
folder, publish it to an embedded AMQP 1.0 node in memory, consume it from there and
verify the digest; then keep serving for mail of your own until interrupted.
What it stores and queues is gone when it ends.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := humanize.ParseBytes(text)
			if err != nil || n > 1<<40 {
				return usageError{fmt.Errorf("--size: %q is not a size; want octets, as 65536, 64KiB or 200MB", text)}
			}
			return demo(cmd.Context(), force, c, int64(n), once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end after the demo's own message")
	cmd.Flags().StringVar(&text, "size", "200MB", "size of the attachment")
	return cmd
}

// demo runs an instance with an embedded node and a temporary store, and shows a message on its way through.
func demo(ctx, force context.Context, c *console, size int64, once bool) (err error) {
	dir, err := os.MkdirTemp("", "lsmtpd-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	node, err := listenNear("127.0.0.1:5672")
	if err != nil {
		return err
	}
	s, err := demoSettings(dir, node)
	if err != nil {
		return errors.Join(err, node.Close())
	}
	log := s.newLogger(c.err)
	in, err := newInstance(s, log)
	if err != nil {
		return errors.Join(err, node.Close())
	}
	// The node outlives the instance, which settles its last deliveries there.
	nodeCtx, endNode := context.WithCancel(context.WithoutCancel(ctx))
	serveCtx, endServe := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var nodeErr, serveErr error
	wg.Go(func() { nodeErr = devbroker.New(devbroker.Config{Logger: log}).Serve(nodeCtx, node) })
	served := make(chan struct{})
	wg.Go(func() { defer close(served); serveErr = in.run(serveCtx, force) })

	err = demoMessage(ctx, c, s, in, size, log)
	if err == nil && !once {
		invite(c.out, s, in)
		<-served
	}
	endServe()
	<-served
	endNode()
	wg.Wait()
	return errors.Join(err, serveErr, nodeErr)
}

// demoSettings are the defaults, with the embedded node and a store in dir.
func demoSettings(dir string, node net.Listener) (*settings, error) {
	s := defaults()
	s.broker.url = []*url.URL{{Scheme: "amqp", Host: node.Addr().String()}}
	s.broker.address = demoAddress
	s.store.url = (&url.URL{Scheme: "file", Path: dir}).String()
	s.log.level = "warn"
	// The instance listens where it would by default, or nearby.
	ln, err := listenNear(s.smtp.listen[0].Address)
	if err != nil {
		return nil, err
	}
	s.smtp.listen = []smtpd.Endpoint{{Scheme: "smtp", Network: "tcp", Address: ln.Addr().String()}}
	return s, ln.Close()
}

// listenNear listens on address, or on a free port where that one is taken.
func listenNear(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err == nil {
		return ln, nil
	}
	host, _, _ := net.SplitHostPort(address)
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

// demoMessage sends a message, consumes it from the node, shows it and verifies its digests.
func demoMessage(ctx context.Context, c *console, s *settings, in *instance, size int64, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	m, err := demoComposition(size)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Sending a mail with a text, an inline image and an attachment of %s to smtp://%s …\n", humanize.Bytes(uint64(size)), in.smtp.Addrs()[0])
	begun := time.Now()
	reply, err := (&sendOptions{server: in.smtp.Addrs()[0].String(), from: m.from, to: m.to}).send(ctx, m, c.err)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s  (after %s)\n\n", reply, time.Since(begun).Round(time.Millisecond))
	from, err := s.consume(ctx, 1, log)
	if err != nil {
		return err
	}
	defer from.close()
	got, raw, err := from.next(ctx)
	if err != nil {
		return fmt.Errorf("consume the message: %w", err)
	}
	if err := show(c.out, got); err != nil {
		return err
	}
	if err := verifyDemo(ctx, s, m, got); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\nConsumed from amqp://%s, and every attachment read back from the store is what was sent.\n", s.broker.url[0].Host)
	return from.accept(ctx, raw)
}

// demoComposition is the demo's message.
func demoComposition(size int64) (*composition, error) {
	logo, err := demoImage()
	if err != nil {
		return nil, err
	}
	return &composition{
		from: "scanner@example.org", to: []string{"invoices@example.com"},
		subject: "Scan of 23 pages – 200 dpi", text: "Please find the scan attached.\r\nIt is rather large.\r\n",
		attachments: []attachment{
			bytesAttachment("logo.png", "image/png", "logo", logo),
			randomAttachment("scan.bin", size, 1),
		},
	}, nil
}

// demoImage is a small picture.
func demoImage() ([]byte, error) {
	const side = 32
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for x := range side {
		for y := range side {
			img.Set(x, y, color.RGBA{R: uint8(8 * x), G: uint8(8 * y), B: 160, A: 255})
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}

// verifyDemo compares what was sent with what the published message refers to, octet for octet by SHA-256.
func verifyDemo(ctx context.Context, s *settings, sent *composition, got *schema.Message) error {
	byName := map[string]*schema.BodyPart{}
	for p := range got.Email.BodyStructure.Leaves() {
		if p.Name != nil {
			byName[*p.Name] = p
		}
	}
	f := fetcher{store: *s}
	for _, a := range sent.attachments {
		p, ok := byName[a.name]
		if !ok || p.BlobID == nil {
			return fmt.Errorf("%s is not in the published message", a.name)
		}
		want, err := a.sum()
		if err != nil {
			return err
		}
		r, err := f.open(ctx, got, got.Blobs[*p.BlobID])
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("read %s back: %w", a.name, err)
		}
		if sum := hex.EncodeToString(h.Sum(nil)); sum != want {
			return fmt.Errorf("%s came out with SHA-256 %s, it went in with %s", a.name, sum, want)
		}
	}
	return nil
}

// invite says how to go on while the demo serves.
func invite(w io.Writer, s *settings, in *instance) {
	smtp, node := in.smtp.Addrs()[0], s.broker.url[0].Host
	fmt.Fprintf(w, `
Serving until interrupted. Send mail of your own to smtp://%s:
  lsmtpd send --server %s --attach FILE
and take it from the queue %q of amqp://%s, with any AMQP 1.0 client or with:
  lsmtpd tail --broker.url amqp://%s --broker.address %s
`, smtp, smtp, demoAddress, node, node, demoAddress)
}
