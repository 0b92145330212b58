//go:build integration

package e2e

import (
	"encoding/json"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// The demo as its users see it: its own message of 200 MB, and then a reader of another make takes the next one from its node.
func TestDemo(t *testing.T) {
	p := testbed.Run(t, testbed.Command{Path: testbed.Build(t), Args: []string{"demo"}})
	p.WaitFor(t, "the demo to serve", 2*time.Minute, func() bool { return match(p.Stdout(), `tail --broker.url (amqp://\S+) `) != "" })
	smtp, node := match(p.Stdout(), `smtp://(\S+:\d+)`), match(p.Stdout(), `tail --broker.url (amqp://\S+) `)
	if match(p.Stdout(), `(every attachment read back from the store is what was sent)`) == "" {
		t.Errorf("the demo verified nothing:\n%s", p.Stdout())
	}
	sent := testbed.SendSMTPLib(t, smtp, testbed.Mail{From: "a@example.org", To: []string{"in@example.com"}, Subject: "the next one"})
	if sent.Code != 250 {
		t.Fatalf("reply %d", sent.Code)
	}
	got := testbed.ReceiveRhea(t, &testbed.AMQPBroker{URL: strings.Replace(node, "://", "://any:any@", 1)}, "mail", 1)
	var m schema.Message
	if err := json.Unmarshal(got[0].Body, &m); err != nil {
		t.Fatal(err)
	}
	if m.Email.Subject == nil || *m.Email.Subject != "the next one" || got[0].MessageID != m.ID {
		t.Errorf("rhea received %s with the message-id %s", got[0].Body, got[0].MessageID)
	}
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := p.ExitCode(t, patience); code != 0 {
		t.Errorf("exit status %d after SIGINT, want 0", code)
	}
}

// match is the first group of expr in text, or "".
func match(text, expr string) string {
	if m := regexp.MustCompile(expr).FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}
