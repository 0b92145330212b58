package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"lsmtpd/bridge/devbroker"
)

// address is the queue that lsmtpd publishes to.
const address = "mail"

const (
	startTimeout = 30 * time.Second // of lsmtpd, until it listens
	queueTimeout = 10 * time.Second // until what was accepted is seen in the queue
)

// store is where lsmtpd keeps attachments.
type store struct{ url, accessKey, secretKey string }

// directoryStore is a store in dir.
func directoryStore(dir string) store {
	return store{url: (&url.URL{Scheme: "file", Path: filepath.Join(dir, "objects")}).String()}
}

// build builds lsmtpd into dir, as it is shipped, and returns its path.
func build(ctx context.Context, dir string, diag io.Writer) (string, error) {
	path := filepath.Join(dir, "lsmtpd")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "lsmtpd/cmd/lsmtpd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = diag
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build lsmtpd: %w", err)
	}
	return path, nil
}

// bench is a running lsmtpd, with default settings, and the node it publishes to, which is in our own memory.
type bench struct {
	lsmtpd *child
	node   *devbroker.Broker
	smtp   string // address, host:port
	end    func() error
}

// startBench starts a node, and lsmtpd with a store. more is added to its environment. The caller calls stop.
func startBench(ctx context.Context, program string, s store, connections int, more ...string) (*bench, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &bench{node: devbroker.New(devbroker.Config{})}
	nodeCtx, endNode := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	var nodeErr error
	wg.Go(func() { nodeErr = b.node.Serve(nodeCtx, ln) })
	b.end = func() error {
		endNode()
		wg.Wait()
		return nodeErr
	}
	env := []string{
		"LSMTPD_SMTP_LISTEN=smtp://127.0.0.1:0",
		"LSMTPD_SMTP_MAX_CONNECTIONS_PER_IP=" + strconv.Itoa(connections),
		"LSMTPD_BROKER_URL=amqp://" + ln.Addr().String(), "LSMTPD_BROKER_ADDRESS=" + address,
		"LSMTPD_STORE_URL=" + s.url,
	}
	if s.accessKey != "" {
		env = append(env, "LSMTPD_STORE_ACCESS_KEY="+s.accessKey, "LSMTPD_STORE_SECRET_KEY="+s.secretKey)
	}
	if b.lsmtpd, err = start("lsmtpd", program, []string{"serve"}, append(env, more...)); err != nil {
		return nil, errors.Join(err, b.end())
	}
	if err := b.ready(ctx); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

// listening is what lsmtpd logs when it listens.
var listening = regexp.MustCompile(`endpoint=smtp://(127\.0\.0\.1:[0-9]+)`)

// ready waits until lsmtpd listens and is connected to the node.
func (b *bench) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return b.lsmtpd.until(ctx, "listens and is connected to its broker", func() bool {
		if m := listening.FindStringSubmatch(b.lsmtpd.log.beginning()); m != nil {
			b.smtp = m[1]
		}
		return b.smtp != "" && len(b.node.Attachments()) > 0
	})
}

// took checks that exactly so many messages stand in the queue, and removes them.
func (b *bench) took(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	_, err := b.node.WaitMessages(ctx, address, want)
	got := len(b.node.Messages(address))
	b.node.Purge(address)
	if err != nil || got != want {
		return fmt.Errorf("%d messages were accepted, but %d stand in the queue", want, got)
	}
	return nil
}

// stop ends lsmtpd, then the node.
func (b *bench) stop() error { return errors.Join(b.lsmtpd.stop(), b.end()) }
