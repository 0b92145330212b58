//go:build integration

package clients

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lsmtpd/bridge/devbroker"
	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

const (
	// patience bounds each wait for something that a program does on its own.
	patience = 30 * time.Second

	// offloadOctets is the threshold of the tests: an attachment of 1 KB is an object, their texts are not.
	offloadOctets = 512
)

// settings are values of the configuration by key.
type settings map[string]string

// bridge is a running "lsmtpd serve" with every kind of listener, in front of a node and a folder of the test's own.
type bridge struct {
	*testbed.Process
	smtp, smtps, lmtp string // HOST:PORT
	socket            string // for LMTP

	node *devbroker.Broker // its queue is mail
	root string            // of the store
}

// serve starts the program and waits until it can take mail.
func serve(t *testing.T, others settings) *bridge {
	t.Helper()
	b := &bridge{smtp: loopback(t), smtps: loopback(t), lmtp: loopback(t), root: filepath.Join(t.TempDir(), "objects")}
	var url string
	b.node, url = devbroker.Start(t, devbroker.Config{})
	b.socket = filepath.Join(socketDir(t), "lmtp.sock")
	all := b.listening(t)
	maps.Copy(all, settings{"broker.url": url, "broker.address": "mail", "store.url": "file://" + b.root})
	maps.Copy(all, others)
	b.run(t, all)
	return b
}

// listening are the settings that do not say where mail goes to.
func (b *bridge) listening(t *testing.T) settings {
	certs := testbed.TestCerts(t)
	return settings{
		"smtp.listen":   fmt.Sprintf("smtp://%s,smtps://%s,lmtp://%s,lmtp://%s", b.smtp, b.smtps, b.lmtp, b.socket),
		"smtp.hostname": "bridge.example", "message.offload_threshold": fmt.Sprint(offloadOctets),
		"smtp.tls.cert_file": certs.Server.Cert, "smtp.tls.key_file": certs.Server.Key,
	}
}

func (b *bridge) run(t *testing.T, s settings) {
	t.Helper()
	admin := loopback(t)
	env := []string{"LSMTPD_ADMIN_LISTEN=" + admin}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		env = append(env, "LSMTPD_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))+"="+s[key])
	}
	b.Process = testbed.Run(t, testbed.Command{Path: testbed.Build(t), Args: []string{"serve"}, Env: env})
	client := http.Client{Timeout: patience}
	b.WaitFor(t, "/readyz to answer 200", patience, func() bool {
		response, err := client.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	// Who may connect is the operator's to say, and this one lets in relays that have dropped the rights of root.
	if err := os.Chmod(b.socket, 0o666); err != nil {
		t.Fatal(err)
	}
}

// take returns the n messages that have been published since the last call, or fails the test where they are more or
// fewer. The client has been answered by now, so that nothing is still on its way.
func (b *bridge) take(t *testing.T, n int) []*schema.Message {
	t.Helper()
	published := b.node.Messages("mail")
	if len(published) != n {
		t.Fatalf("%d messages have been published, want %d", len(published), n)
	}
	messages := make([]*schema.Message, n)
	for i, p := range published {
		data, err := p.Data()
		if err != nil {
			t.Fatal(err)
		}
		messages[i] = decode(t, data)
	}
	b.node.Purge("mail")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.node.WaitEmpty(ctx, "mail"); err != nil {
		t.Fatal(err)
	}
	return messages
}

func decode(t *testing.T, body []byte) *schema.Message {
	t.Helper()
	m, err := schema.Decode(body)
	if err != nil {
		t.Fatalf("%v in the published message:\n%.2000s", err, body)
	}
	return m
}

func loopback(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testbed.FreePort(t))
}

// socketDir returns a folder with a path that is short enough for a socket and open to everybody.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lsmtpd-*") //nolint:usetesting // the path of a socket has at most 107 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}
