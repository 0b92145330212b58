package main

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"

	"lsmtpd/bridge/devbroker"
	"lsmtpd/bridge/route"
)

const exampleRoutes = `
routes:
  - match: [invoices@example.com, "billing+*@example.com", '/^inv-[0-9]{1,3}@example\.com$/']
    address: invoices
    subject: invoice
    group_id: "{rcpt.domain}"
    offload_threshold: 16KiB
  - match: "*@example.org"
    address: "mail.{rcpt.domain}"
    raw: store
  - match: a@example.net, "b,c"@example.net
    address: rest
    offload_threshold: 0
    raw: off
`

func TestRoutes(t *testing.T) {
	l := newLoader()
	l.file = write(t, "lsmtpd.yaml", exampleRoutes)
	s, err := l.load([]string{"LSMTPD_SMTP_HOSTNAME=mx.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.validateRoutes(); err != nil {
		t.Errorf("valid routes: %v", err)
	}
	table := s.routeTable()
	invoice := route.Target{Destination: route.Destination{Address: "invoices", Subject: "invoice", GroupID: "example.com"}, OffloadThreshold: 16 * kib}
	rest := route.Target{Destination: route.Destination{Address: "rest"}, Raw: route.NoRaw}
	for rcpt, want := range map[string]route.Target{
		"Invoices@example.com": invoice, "billing+x@example.com": invoice, "inv-17@example.com": invoice, "postmaster": {Destination: route.Destination{Address: "invoices", Subject: "invoice", GroupID: "mx.example.com"}, OffloadThreshold: 16 * kib},
		"x@example.org": {Destination: route.Destination{Address: "mail.example.org"}, OffloadThreshold: route.DefaultThreshold, Raw: route.StoreRaw},
		"a@example.net": rest, `"b,c"@example.net`: rest, "d@example.net": {},
	} {
		if got, ok := table.Lookup(rcpt); got != want || ok != (want.Address != "") {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", rcpt, got, ok, want)
		}
	}
}

func TestNoRoutes(t *testing.T) {
	for _, text := range []string{"routes:\n", "routes: []\n", "log: {level: info}\n"} {
		l := newLoader()
		l.file = write(t, "lsmtpd.yaml", text)
		s, err := l.load([]string{"LSMTPD_BROKER_ADDRESS=mail"})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if target, ok := s.routeTable().Lookup("in@example.com"); !ok || target.Address != "mail" {
			t.Errorf("%q: got %+v, %v; want broker.address", text, target, ok)
		}
	}
}

func TestBadRoutes(t *testing.T) {
	const head, ok = "routes:\n", "  - {match: in@example.com, address: mail}\n"
	refused(t, []badConfig{
		{"no list", "routes: {match: in@example.com, address: mail}\n", nil, nil, []string{"lsmtpd.yaml:1: routes: want a list, as in - {match: in@example.com, address: mail}"}},
		{"text", "routes: mail\n", nil, nil, []string{"lsmtpd.yaml:1: routes: want a list, as in - {"}},
		{"twice", head + ok + head + ok, nil, nil, []string{"lsmtpd.yaml:3: routes: given twice; remove one of them"}},
		{"nearly routes", "route:\n" + ok, nil, nil, []string{"lsmtpd.yaml:1: route: unknown key; did you mean routes?"}},
		{"in a group", "smtp:\n  routes: []\n", nil, nil, []string{"lsmtpd.yaml:2: smtp.routes: unknown key"}},
		{"text for a route", head + ok + "  - mail\n", nil, nil, []string{"lsmtpd.yaml:3: routes: route 2: want match and address, as in {match: in@example.com, address: mail}"}},
		{"empty route", head + ok + "  -\n", nil, nil, []string{"routes: route 2: want match and address"}},
		{"route without keys", head + "  - {}\n", nil, nil, []string{"lsmtpd.yaml:2: routes: route 1: match: missing; set it, as in in@example.com", "lsmtpd.yaml:2: routes: route 1: address: missing; set it, as in mail"}},
		{"no match", head + ok + "  - address: mail\n", nil, nil, []string{"lsmtpd.yaml:3: routes: route 2: match: missing; set it, as in in@example.com"}},
		{"empty match", head + "  - {match: [], address: mail}\n", nil, nil, []string{"lsmtpd.yaml:2: routes: route 1: match: missing"}},
		{"no address", head + "  - match: in@example.com\n    address:\n", nil, nil, []string{"lsmtpd.yaml:2: routes: route 1: address: missing; set it, as in mail"}},
		{"unknown key", head + "  - match: in@example.com\n    addr: mail\n    address: mail\n", nil, nil, []string{"lsmtpd.yaml:3: routes: route 1: addr: unknown key; want one of match, address, subject, group_id, offload_threshold, raw"}},
		{"key twice", head + "  - match: in@example.com\n    address: mail\n    match: out@example.com\n", nil, nil, []string{"lsmtpd.yaml:4: routes: route 1: match: given twice; remove one of them"}},
		{"pattern", head + "  - match: [in@example.com, in@]\n    address: mail\n", nil, nil, []string{`lsmtpd.yaml:2: routes: route 1: match: "in@" has "" where a label of a domain should be; want an address (in@example.com), a domain (example.com)`}},
		{"expression", head + "  - match: /(in@example/\n    address: mail\n", nil, nil, []string{`lsmtpd.yaml:2: routes: route 1: match: "/(in@example/" is not a regular expression: missing closing )`}},
		{"list in a list", head + "  - {match: [[in@example.com]], address: mail}\n", nil, nil, []string{"routes: route 1: match: want one value (list), not a list or a group of keys"}},
		{"list of addresses", head + "  - {match: in@example.com, address: [a, b]}\n", nil, nil, []string{"routes: route 1: address: want one value (text), not a list"}},
		{"template without quotation marks", head + "  - match: '*'\n    address: {rcpt.domain}\n", nil, nil, []string{"lsmtpd.yaml:3: routes: route 1: address: want one value (text)", "a value that begins with [ or { is written in quotation marks"}},
		{"star without quotation marks", head + "  - match: *@example.com\n    address: a\n", nil, nil, []string{"not YAML", "a value that begins with * or & is written in quotation marks"}},
		{"star alone without quotation marks", head + "  - match: *\n    address: a\n", nil, nil, []string{"a value that begins with * or & is written in quotation marks"}},
		{"backslash in double quotation marks", head + "  - match: \"/in@example\\.com/\"\n    address: a\n", nil, nil, []string{"not YAML", "a value with a backslash is written in single quotation marks"}},
		{"placeholder", head + "  - match: in@example.com\n    address: mail.{rcpt.local}\n", nil, nil, []string{`lsmtpd.yaml:3: routes: route 1: address: "mail.{rcpt.local}" has the unknown placeholder {rcpt.local}; want {rcpt.domain}, or no braces`}},
		{"brace", head + "  - {match: in@example.com, address: mail, subject: 'a{rcpt.domain'}\n", nil, nil, []string{`routes: route 1: subject: "a{rcpt.domain" has a { without a } behind it`}},
		{"long group_id", head + "  - {match: in@example.com, address: mail, group_id: " + strings.Repeat("g", 129) + "}\n", nil, nil, []string{"routes: route 1: group_id: ", "has at least 129 octets; want 128 at most"}},
		{"long address", head + "  - {match: in@example.com, address: " + strings.Repeat("a", 256) + "}\n", nil, nil, []string{"routes: route 1: address: ", "has at least 256 octets; want 255 at most"}},
		{"threshold", head + "  - {match: in@example.com, address: mail, offload_threshold: lots}\n", nil, nil, []string{`routes: route 1: offload_threshold: "lots" is not a size; want octets`}},
		{"threshold, range", head + "  - {match: in@example.com, address: mail, offload_threshold: 17MiB}\n", nil, nil, []string{"routes: route 1: offload_threshold: 17MiB is out of range; want 0 B to 16 MiB"}},
		{"raw", head + "  - {match: in@example.com, address: mail, raw: keep}\n", nil, nil, []string{`routes: route 1: raw: "keep" is unknown; want one of off, store`}},
		{"memory for a raw message alone", head + "  - {match: in@example.com, address: mail, raw: store}\nstore: {memory: 15MiB}\n", nil, nil, []string{"store.memory: 15728640 octets cannot hold two parts of store.part_bytes, 8388608 octets each, which message.raw: store, or raw: store in a route, needs; want at least 16777216, or smaller parts"}},
		{"unreachable", head + ok + "  - match: ['*@example.net']\n    address: a\n  - match: [IN@example.com, out@example.net]\n    address: b\n", nil, nil, []string{"lsmtpd.yaml:5: routes: route 3: can never be reached, as all that it matches goes to route 1 and route 2; put it before, or remove it"}},
		{"unreachable behind everything", head + "  - {match: '*', address: a}\n" + ok, nil, nil, []string{"lsmtpd.yaml:3: routes: route 2: can never be reached, as all that it matches goes to route 1;"}},
		{"several at once", head + "  - {match: in@, address: mail}\n  - {match: in@example.com, addr: mail}\n", nil, nil, []string{"lsmtpd.yaml:2: routes: route 1: match: ", "lsmtpd.yaml:3: routes: route 2: addr: ", "lsmtpd.yaml:3: routes: route 2: address: missing"}},
		{"flag", "", nil, []string{"--routes=in@example.com"}, []string{"unknown flag: --routes"}},
	})
}

func TestRoutesAreNoVariable(t *testing.T) {
	_, out, _ := runs(t, environment(t, "LSMTPD_ROUTES=mail"), "check")
	contains(t, "output", out, "warning: unknown environment variable LSMTPD_ROUTES; routes stand in the configuration file")
}

func TestValidateRoutes(t *testing.T) {
	tooLong := strings.Repeat("a", 250) + "{rcpt.domain}"
	for _, tt := range []struct{ name, routes, address, want string }{
		{"neither", "", "", "broker.address: missing; set it, as in mail"},
		{"address alone", "", "mail", ""},
		{"routes alone", "routes: [{match: in@example.com, address: a}]", "", ""},
		{"both", "routes: [{match: in@example.com, address: a}]", "mail", ""},
		{"template alone", "routes: [{match: example.com, address: 'mail.{rcpt.domain}'}]", "", ""},
		{"nowhere for the postmaster", "routes: [{match: example.com, address: '" + tooLong + "'}]", "", "routes: no address for <postmaster>, whose mail is always taken (RFC 5321 §4.5.1); set broker.address, or a route to an address without {rcpt.domain}"},
		{"elsewhere for the postmaster", "routes: [{match: example.com, address: '" + tooLong + "'}]", "mail", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLoader()
			l.file = write(t, "lsmtpd.yaml", tt.routes+"\n")
			s, err := l.load([]string{"LSMTPD_BROKER_ADDRESS=" + tt.address, "LSMTPD_SMTP_HOSTNAME=mx.example.org"})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := s.validateRoutes(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestRoutesShown(t *testing.T) {
	code, out, text := runs(t, environment(t), "check", "--config", write(t, "lsmtpd.yaml", exampleRoutes))
	if code != exitOK {
		t.Errorf("exit code %d:\n%s", code, text)
	}
	contains(t, "output", out,
		"route 1: match invoices@example.com,billing+*@example.com,/^inv-[0-9]{1,3}@example\\.com$/; address invoices; subject invoice; group_id {rcpt.domain}; offload_threshold 16 KiB\n",
		"route 2: match *@example.org; address mail.{rcpt.domain}; raw store\n",
		"route 3: match a@example.net,\"b,c\"@example.net; address rest; offload_threshold 0 B; raw off\n",
		"raw messages: stored as the routes say, and without a route that says it message.raw: off\n",
		"other recipients: refused with 550 5.1.1; <postmaster>: address mail\n")
	if _, out, _ := runs(t, environment(t), "check"); strings.Contains(out, "recipients") {
		t.Errorf("without routes there is nothing to show of them:\n%s", out)
	}
}

// Every address that is known before mail comes is tried, each to its own outcome.
func TestRoutesConnected(t *testing.T) {
	at, node := newPlace(t), devbroker.New(devbroker.Config{})
	node.Script("rest").SenderAttach(every).IsRefused(string(amqp.ErrCondNotFound), "no such queue")
	at.serve(node)
	store := (&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "objects")}).String()
	check := func(routes string) (int, string) {
		code, out, _ := runs(t, nil, "check", "--connect", "--broker.url=amqp://"+at.at, "--broker.address=mail", "--store.url="+store, "--config", write(t, "lsmtpd.yaml", routes))
		return code, out
	}
	code, out := check(exampleRoutes)
	if code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	contains(t, "output", out, `ok      broker: attach to "invoices"`, `FAILED  broker: attach to "rest"`, `ok      broker: attach to "mail"`)
	code, out = check("routes: [{match: '*', address: 'mail.{rcpt.domain}'}]\n")
	if code != exitOK || strings.Contains(out, `broker: attach to "`) {
		t.Errorf("nothing but templates: exit code %d\n%s", code, out)
	}
	contains(t, "output", out, "note    broker: no route has an address without {rcpt.domain} to attach to")
}
