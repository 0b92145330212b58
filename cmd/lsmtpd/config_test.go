package main

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// environment is a valid configuration, for servers that are away, with entries on top.
func environment(t *testing.T, entries ...string) []string {
	return append([]string{
		"LSMTPD_LOG_LEVEL=debug",
		"LSMTPD_SMTP_LISTEN=smtp://127.0.0.1:0",
		"LSMTPD_BROKER_URL=amqp://" + userText + ":" + secretText + "@127.0.0.1:1",
		"LSMTPD_BROKER_ADDRESS=mail",
		"LSMTPD_STORE_URL=" + (&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "objects")}).String(),
	}, entries...)
}

// badConfig is a configuration with faults, and what is said of them.
type badConfig struct {
	name    string
	file    string // text of lsmtpd.yaml; "" for no file
	environ []string
	flags   []string
	want    []string
}

// refused wants every case to end serve and check alike, with exit code 2 and before anything listens.
func refused(t *testing.T, tests []badConfig) {
	for _, tt := range tests {
		for _, command := range []string{"serve", "check"} {
			t.Run(tt.name+"/"+command, func(t *testing.T) {
				args := append([]string{command}, tt.flags...)
				if tt.file != "" {
					args = append(args, "--config", write(t, "lsmtpd.yaml", tt.file))
				}
				p := start(t, environment(t, tt.environ...), "", args...)
				if code := p.exit(); code != exitUsage {
					t.Errorf("exit code %d, want %d", code, exitUsage)
				}
				contains(t, "error", p.err.String(), tt.want...)
				if strings.Contains(p.err.String(), "listening") {
					t.Errorf("listened first:\n%s", p.err)
				}
			})
		}
	}
}

func TestBadFile(t *testing.T) {
	refused(t, []badConfig{
		{"unknown key", "smtp:\n  hostname: a\n  max_recipient: 3\n", nil, nil,
			[]string{"lsmtpd.yaml:3: smtp.max_recipient: unknown key; did you mean smtp.max_recipients?"}},
		{"unknown key like none", "colour: red\n", nil, nil, []string{"lsmtpd.yaml:1: colour: unknown key; lsmtpd serve --help lists them"}},
		{"key given twice", "smtp:\n  hostname: a\n  hostname: b\n", nil, nil, []string{"lsmtpd.yaml:3: smtp.hostname: given twice; remove one of them"}},
		{"key given twice, once with dots", "smtp: {hostname: a}\nsmtp.hostname: b\n", nil, nil, []string{"lsmtpd.yaml:2: smtp.hostname: given twice"}},
		{"number", "smtp: {max_recipients: many}\n", nil, nil, []string{`lsmtpd.yaml:1: smtp.max_recipients: "many" is not a number; want 1 to 100000`}},
		{"list for a number", "smtp: {max_recipients: [1, 2]}\n", nil, nil, []string{"smtp.max_recipients: want one value (number), not a list or a group of keys"}},
		{"group for a text", "smtp:\n  hostname: {name: a}\n", nil, nil, []string{"lsmtpd.yaml:2: smtp.hostname: want one value (text), not a list"}},
		{"list in a list", "smtp:\n  listen: [[a:1]]\n", nil, nil, []string{"smtp.listen: want one value (list), not a list or a group"}},
		{"value for a group", "smtp: 5\n", nil, nil, []string{"lsmtpd.yaml:1: smtp: want a group of keys with values"}},
		{"list for a group", "smtp:\n- listen\n", nil, nil, []string{"lsmtpd.yaml:2: smtp: want a group of keys with values"}},
		{"list for all", "- smtp\n", nil, nil, []string{"lsmtpd.yaml:1: want a group of keys with values"}},
		{"not YAML", "smtp: [\n", nil, nil, []string{"lsmtpd.yaml: not YAML: yaml: line 1"}},
		{"second document", "log: {level: info}\n---\nlog: {level: debug}\n", nil, nil, []string{"lsmtpd.yaml:2: a second document; want all keys in one"}},
		{"value that is an alias", "broker:\n  password: *" + secretText + "\n", nil, nil, []string{"a value begins with *; write it in quotation marks"}},
		{"value that is a tag", "broker:\n  password: !" + secretText + "\n", nil, nil, []string{"lsmtpd.yaml:2: broker.password: begins with & or !", "in quotation marks"}},
		{"value that is an anchor", "broker:\n  password: &" + secretText + "\n", nil, nil, []string{"lsmtpd.yaml:2: broker.password: begins with & or !"}},
		{"secret that is a list", "broker:\n  password: [" + secretText + "]\n", nil, nil, []string{"broker.password: want one value (secret)"}},
		{"no such file", "", nil, []string{"--config", "/nonexistent/lsmtpd.yaml"}, []string{"--config: cannot read the file: open /nonexistent/lsmtpd.yaml"}},
		{"no such file by environment", "", []string{"LSMTPD_CONFIG=/nonexistent/lsmtpd.yaml"}, nil, []string{"LSMTPD_CONFIG: cannot read the file: open /nonexistent/lsmtpd.yaml"}},
		{"several at once", "smtp: {hostname: '-'}\nlog:\n  level: loud\n", []string{"LSMTPD_SHUTDOWN_TIMEOUT=5"}, []string{"--smtp.max_recipients=0"},
			[]string{"lsmtpd.yaml:1: smtp.hostname: ", "lsmtpd.yaml:3: log.level: ", "LSMTPD_SHUTDOWN_TIMEOUT: shutdown_timeout: ", "--smtp.max_recipients: "}},
	})
}

func TestBadValue(t *testing.T) {
	refused(t, []badConfig{
		{"number", "", []string{"LSMTPD_SMTP_MAX_RECIPIENTS=1.5"}, nil, []string{`LSMTPD_SMTP_MAX_RECIPIENTS: smtp.max_recipients: "1.5" is not a number; want 1 to 100000`}},
		{"size", "", []string{"LSMTPD_STORE_MEMORY=lots"}, nil, []string{`LSMTPD_STORE_MEMORY: store.memory: "lots" is not a size; want octets, as 65536, 64KiB or 1GiB`}},
		{"negative size", "", nil, []string{"--message.offload_threshold=-1"}, []string{`--message.offload_threshold: "-1" is not a size; want octets`}},
		{"duration", "", nil, []string{"--shutdown_timeout=30"}, []string{`--shutdown_timeout: "30" is not a duration; want a number with its unit, as 90s or 5m`}},
		{"bool", "", nil, []string{"--smtp.tls.required=yes"}, []string{`--smtp.tls.required: "yes" is not a truth value; want true or false`}},
		{"enum", "", nil, []string{"--broker.on_reject=drop"}, []string{`--broker.on_reject: "drop" is unknown; want one of defer, bounce`}},
		{"empty enum", "", []string{"LSMTPD_MESSAGE_DIGEST="}, nil, []string{`LSMTPD_MESSAGE_DIGEST: message.digest: "" is unknown; want one of sha256, none`}},
		{"message.raw", "message: {raw: yes}\n", nil, nil, []string{`lsmtpd.yaml:1: message.raw: "yes" is unknown; want one of off, store`}},
		{"host name", "", nil, []string{"--smtp.hostname=mx example"}, []string{`--smtp.hostname: "mx example" is not a host name; want one like mx.example.org`}},
		{"empty host name", "", nil, []string{"--smtp.hostname="}, []string{`--smtp.hostname: "" is not a host name`}},
		{"server name", "", nil, []string{"--broker.tls.server_name=a/b"}, []string{`--broker.tls.server_name: "a/b" is not a host name`}},
		{"admin.listen", "", nil, []string{"--admin.listen=9090"}, []string{`--admin.listen: "9090" is not an address; want HOST:PORT, as 127.0.0.1:9090`}},
		{"admin.listen, port", "", nil, []string{"--admin.listen=127.0.0.1:65536"}, []string{`--admin.listen: "65536" is not a port; want a number up to 65535`}},

		{"smtp.listen, scheme", "", nil, []string{"--smtp.listen=http://127.0.0.1:0"}, []string{"--smtp.listen: ", `the scheme "http"`, "want smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT or lmtp:///PATH"}},
		{"smtp.listen, no port", "", nil, []string{"--smtp.listen=127.0.0.1"}, []string{"--smtp.listen: ", "has no port", "want smtp://HOST:PORT"}},
		{"smtp.listen, port", "", nil, []string{"--smtp.listen=127.0.0.1:99999"}, []string{`--smtp.listen: "99999" is not a port; want a number up to 65535`}},
		{"smtp.listen, second", "", nil, []string{"--smtp.listen=127.0.0.1:0,smtp://127.0.0.1:0/x"}, []string{"--smtp.listen: ", "more than a host and a port"}},
		{"smtp.listen, user", "", nil, []string{"--smtp.listen=smtp://" + userText + ":" + secretText + "@127.0.0.1:0"}, []string{"--smtp.listen: an endpoint has no user part; want smtp://HOST:PORT"}},
		{"smtp.listen, none", "", nil, []string{"--smtp.listen="}, []string{"smtp.listen: missing; set it, as in smtp://127.0.0.1:2525"}},
		{"smtp.allow", "", nil, []string{"--smtp.allow=in@example.com,@"}, []string{"--smtp.allow: "}},
		{"smtp.proxy_from", "", nil, []string{"--smtp.proxy_from=10.0.0.1/8"}, []string{"--smtp.proxy_from: ", "want the range 10.0.0.0/8 or the address 10.0.0.1"}},
		{"smtp.xclient_from", "", nil, []string{"--smtp.xclient_from=proxy.example.com"}, []string{"--smtp.xclient_from: "}},
		{"smtp.tls.min_version", "", nil, []string{"--smtp.tls.min_version=SSLv3"}, []string{`--smtp.tls.min_version: "SSLv3" is unknown; want one of 1.0, 1.1, 1.2, 1.3`}},
		{"smtp.bare_newlines", "", nil, []string{"--smtp.bare_newlines=fix"}, []string{"want one of reject, accept"}},
		{"broker.url, scheme", "", nil, []string{"--broker.url=http://" + userText + ":" + secretText + "@127.0.0.1"}, []string{`--broker.url: scheme "http"; want amqp://HOST:PORT or amqps://HOST:PORT`}},
		{"broker.url, no scheme", "", nil, []string{"--broker.url=" + userText + ":" + secretText + "@127.0.0.1:5672"}, []string{"--broker.url: has no scheme; want amqp://HOST:PORT"}},
		{"broker.url, no host", "", nil, []string{"--broker.url=amqp://"}, []string{"--broker.url: no host; want amqp://HOST:PORT"}},
		{"broker.url, path", "", nil, []string{"--broker.url=amqp://" + userText + "@127.0.0.1/mail"}, []string{"--broker.url: ", "broker.address", "want amqp://HOST:PORT"}},
		{"broker.url, port", "", nil, []string{"--broker.url=amqp://" + userText + ":" + secretText + "@127.0.0.1:70000"}, []string{`--broker.url: "70000" is not a port`}},
		{"broker.url, not a URL", "", nil, []string{"--broker.url=amqp://" + userText + ":" + secretText + "%zz@127.0.0.1"}, []string{"--broker.url: not a URL; want amqp://HOST:PORT"}},
		{"store.url, scheme", "", nil, []string{"--store.url=ftp://host/x"}, []string{`store.url: unknown scheme "ftp"; want file:///DIRECTORY or s3://BUCKET/PREFIX`}},
		{"store.url, no scheme", "", nil, []string{"--store.url=" + userText + ":" + secretText + "@bucket"}, []string{"--store.url: has no scheme; want file:///DIRECTORY or s3://BUCKET/PREFIX"}},
		{"store.url, not a URL", "", nil, []string{"--store.url=s3://" + userText + ":" + secretText + "/x@bucket"}, []string{"--store.url: is not a URL; want file:///DIRECTORY or s3://BUCKET/PREFIX"}},
		{"store.url, user", "", nil, []string{"--store.url=s3://" + userText + ":" + secretText + "@bucket?region=eu-west-1"}, []string{"store.url: holds a user name or password; give them as store.access_key and store.secret_key"}},
		{"store.url, host of a file", "", nil, []string{"--store.url=file://host/x"}, []string{"store.url: file://host names a host; want three slashes"}},
		{"store.url, no region", "", nil, []string{"--store.url=s3://bucket"}, []string{"store.url: neither endpoint nor region; want region=REGION"}},
		{"store.url, parameter", "", nil, []string{"--store.url=s3://bucket?regoin=x"}, []string{`store.url: unknown parameter "regoin"; want endpoint, region or checksum`}},
		{"store.url, bucket", "", nil, []string{"--store.url=s3://B_?region=x"}, []string{`store.url: bucket "B_"`, "want s3://BUCKET/PREFIX"}},
	})
}

func TestBadCombination(t *testing.T) {
	readable := write(t, "some.pem", "no PEM")
	refused(t, []badConfig{
		{"smtp certificate without key", "", nil, []string{"--smtp.tls.cert_file", readable}, []string{"smtp.tls.cert_file and smtp.tls.key_file: one is set without the other; set both or none"}},
		{"smtp key without certificate", "", nil, []string{"--smtp.tls.key_file", readable}, []string{"smtp.tls.cert_file and smtp.tls.key_file: one is set without the other"}},
		{"broker certificate without key", "", nil, []string{"--broker.tls.cert_file", readable}, []string{"broker.tls.cert_file and broker.tls.key_file: one is set without the other; set both or none"}},
		{"smtp certificate not PEM", "", nil, []string{"--smtp.tls.cert_file", readable, "--smtp.tls.key_file", readable}, []string{"smtp.tls.cert_file, smtp.tls.key_file: ", "want a certificate and its key in PEM"}},
		{"broker certificate not PEM", "", nil, []string{"--broker.tls.cert_file", readable, "--broker.tls.key_file", readable}, []string{"broker.tls.cert_file, broker.tls.key_file: ", "want a certificate and its key in PEM"}},
		{"authorities not PEM", "", nil, []string{"--broker.tls.ca_file", readable}, []string{"broker.tls.ca_file: no certificate in " + readable + "; want PEM"}},
		{"TLS required without certificate", "", nil, []string{"--smtp.tls.required"}, []string{"smtp.tls.required: needs smtp.tls.cert_file and smtp.tls.key_file"}},
		{"smtps without certificate", "", nil, []string{"--smtp.listen=smtps://127.0.0.1:0"}, []string{"smtp.listen: smtps://127.0.0.1:0 needs smtp.tls.cert_file and smtp.tls.key_file"}},
		{"client certificates without TLS", "", nil, []string{"--smtp.tls.client_ca_file", readable}, []string{"smtp.tls.client_ca_file: needs smtp.tls.cert_file and smtp.tls.key_file"}},
		{"AUTH required of nobody", "", nil, []string{"--smtp.auth.required"}, []string{"smtp.auth.required: needs smtp.auth.users_file or smtp.tls.client_ca_file"}},
		{"users without TLS", "", nil, []string{"--smtp.auth.users_file", readable}, []string{"smtp.auth.users_file: nobody could use AUTH without TLS; set smtp.tls.cert_file and smtp.tls.key_file, or smtp.auth.allow_insecure"}},
		{"users without hashes", "", nil, []string{"--smtp.auth.allow_insecure", "--smtp.auth.users_file", write(t, "users", "scanner:"+secretText+"\n")}, []string{"smtp.auth.users_file: ", "line 1: ", "make it with htpasswd -B"}},
		{"reply before the outcome", "", nil, []string{"--smtp.reply_timeout=30s"}, []string{"smtp.reply_timeout: 30s is less than broker.settle_timeout, 1m0s; raise the one or lower the other"}},
		{"part larger than memory", "", nil, []string{"--store.part_bytes=100MiB"}, []string{"store.part_bytes: 104857600 octets do not fit into store.memory, 67108864 octets; lower the one or raise the other"}},
		{"memory for a raw message alone", "", nil, []string{"--message.raw=store", "--store.part_bytes=33MiB"}, []string{"store.memory: 67108864 octets cannot hold two parts of store.part_bytes, 34603008 octets each", "want at least 69206016, or smaller parts"}},
		{"memory for a raw message alone, in slabs", "", nil, []string{"--message.raw=store", "--store.part_bytes=5242881", "--store.memory=10485762"}, []string{"store.memory: 10485762 octets", "want at least 11010048, or smaller parts"}},
		{"raw messages larger than an object", "", nil, []string{"--message.raw=store", "--smtp.max_message_bytes=1TiB", "--store.url=s3://bucket?region=eu-west-1"}, []string{"smtp.max_message_bytes: 1099511627776 octets do not fit into an object", "want at most 83886080000, or larger parts"}},
		{"memory for no message", "", nil, []string{"--message.memory=1MiB"}, []string{"message.memory: 1048576 octets are too few", "want at least ", "or lower limits"}},
		{"access key alone", "", nil, []string{"--store.access_key=a"}, []string{"store.access_key and store.secret_key: one is set without the other; set both, or none"}},
		{"password without user", "", []string{"LSMTPD_BROKER_URL=amqp://127.0.0.1:1", "LSMTPD_BROKER_PASSWORD=" + secretText}, nil, []string{"broker.password: is set without broker.username; set both or none"}},
		{"several at once", "", nil, []string{"--broker.address=", "--smtp.tls.required", "--message.memory=1MiB", "--broker.tls.ca_file", readable},
			[]string{"broker.address: missing", "smtp.tls.required: ", "message.memory: ", "broker.tls.ca_file: "}},
	})
}

func TestMissing(t *testing.T) {
	for _, command := range []string{"serve", "check"} {
		code, _, text := runs(t, nil, command)
		if code != exitUsage {
			t.Errorf("%s: exit code %d, want %d", command, code, exitUsage)
		}
		contains(t, command, text, "broker.url: missing; set it, as in amqp://127.0.0.1:5672", "broker.address: missing; set it, as in mail", "store.url: missing; set it, as in file:///")
	}
}

func TestUnreadableFiles(t *testing.T) {
	var tests []badConfig
	for _, k := range defaults().keys() {
		if k.kind == "file" {
			tests = append(tests, badConfig{k.name, "", nil, []string{"--" + k.name, "/nonexistent/x.pem"}, []string{"--" + k.name + ": cannot read the file: open /nonexistent/x.pem"}})
		}
		if k.secret {
			tests = append(tests, badConfig{k.name, "", []string{k.env() + "_FILE=/nonexistent/x"}, nil, []string{k.env() + "_FILE: " + k.name + ": cannot read the file: open /nonexistent/x"}})
		}
	}
	if len(tests) == 0 {
		t.Fatal("no keys of files")
	}
	refused(t, tests)
}

func TestFlagsRefused(t *testing.T) {
	refused(t, []badConfig{
		{"unknown", "", nil, []string{"--smtp.max_recipient=3"}, []string{"unknown flag: --smtp.max_recipient; did you mean --smtp.max_recipients?"}},
		{"unknown, like none", "", nil, []string{"--colour"}, []string{"unknown flag: --colour; lsmtpd ", " --help lists the flags"}},
		{"unknown short one", "", nil, []string{"-x"}, []string{"unknown shorthand flag: 'x' in -x; lsmtpd "}},
		{"without its value", "", nil, []string{"--smtp.listen"}, []string{"flag needs an argument: --smtp.listen"}},
		{"broker.password", "", nil, []string{"--broker.password=" + secretText}, []string{"--broker.password: a secret is never a flag", "set LSMTPD_BROKER_PASSWORD, or LSMTPD_BROKER_PASSWORD_FILE"}},
		{"store.secret_key", "", nil, []string{"--store.secret_key", secretText}, []string{"--store.secret_key: a secret is never a flag", "set LSMTPD_STORE_SECRET_KEY, or LSMTPD_STORE_SECRET_KEY_FILE"}},
		{"argument", "", nil, []string{secretText}, []string{"takes no arguments, only flags"}},
	})
}

func TestSecretTwice(t *testing.T) {
	path := write(t, "password", secretText)
	refused(t, []badConfig{{"broker.password", "", []string{"LSMTPD_BROKER_PASSWORD=" + secretText, "LSMTPD_BROKER_PASSWORD_FILE=" + path}, nil,
		[]string{"LSMTPD_BROKER_PASSWORD and LSMTPD_BROKER_PASSWORD_FILE: both set; unset one of them"}}})
}

func TestSecretFromFile(t *testing.T) {
	for _, text := range []string{"hunter2", "hunter2\n", "hunter2\r\n"} {
		s, err := newLoader().load([]string{"LSMTPD_BROKER_PASSWORD_FILE=" + write(t, "password", text)})
		if err != nil || s.broker.password != "hunter2" {
			t.Errorf("%q: got %q, %v; want hunter2", text, string(s.broker.password), err)
		}
	}
}

// Every key whose value has bounds, with a value on either side of each.
func TestRanges(t *testing.T) {
	tests := []struct{ name, below, least, most, above string }{
		{"smtp.max_message_bytes", "1023", "1024", "5TiB", "5497558138881"},
		{"smtp.max_recipients", "0", "1", "100000", "100001"},
		{"smtp.max_connections", "0", "1", "1000000", "1000001"},
		{"smtp.max_connections_per_ip", "0", "1", "1000000", "1000001"},
		{"smtp.max_transactions", "0", "1", "1000000000", "1000000001"},
		{"smtp.max_commands", "0", "1", "1000000", "1000001"},
		{"smtp.max_errors", "0", "1", "1000000", "1000001"},
		{"smtp.command_timeout", "999ms", "1s", "1h", "1h1ms"},
		{"smtp.handshake_timeout", "999ms", "1s", "10m", "10m1ms"},
		{"smtp.data_timeout", "999ms", "1s", "1h", "1h1ms"},
		{"smtp.min_rate", "-1", "0", "1073741824", "1073741825"},
		{"smtp.write_timeout", "999ms", "1s", "1h", "1h1ms"},
		{"smtp.reply_timeout", "999ms", "1s", "1h", "1h1ms"},
		{"smtp.drain_bytes", "0", "1", "1TiB", "1099511627777"},
		{"smtp.drain_timeout", "999ms", "1s", "1h", "1h1ms"},
		{"smtp.auth.max_attempts", "0", "1", "1000", "1001"},
		{"message.offload_threshold", "-1", "0", "16MiB", "16777217"},
		{"message.max_inline_bytes", "-1", "0", "64MiB", "67108865"},
		{"message.max_parts", "0", "1", "100000", "100001"},
		{"message.max_depth", "0", "1", "1000", "1001"},
		{"message.max_header_bytes", "1023", "1KiB", "64MiB", "67108865"},
		{"message.memory", "1048575", "1MiB", "1TiB", "1099511627777"},
		{"broker.settle_timeout", "999ms", "1s", "9m", "9m1ms"},
		{"broker.max_message_bytes", "16383", "16KiB", "1GiB", "1073741825"},
		{"store.part_bytes", "5242879", "5MiB", "5GiB", "5368709121"},
		{"store.memory", "5242879", "5MiB", "1TiB", "1099511627777"},
		{"spool.max_bytes", "-1", "0", "1024TiB", "1025TiB"},
		{"spool.max_messages", "0", "1", "100000000", "100000001"},
		{"spool.min_free_bytes", "-1", "0", "1TiB", "1099511627777"},
		{"spool.max_tries", "-1", "0", "1000000", "1000001"},
		{"spool.after", "9ms", "10ms", "9m", "9m1ms"},
		{"shutdown_timeout", "-1ns", "0s", "1h", "1h1ms"},
	}
	tested := map[string]bool{}
	for _, tt := range tests {
		tested[tt.name] = true
		load := func(value string) error {
			l := newLoader()
			if l.keys[tt.name] == nil {
				t.Fatalf("no key %s", tt.name)
			}
			_, err := l.load([]string{l.keys[tt.name].env() + "=" + value})
			return err
		}
		for _, value := range []string{tt.least, tt.most} {
			if err := load(value); err != nil {
				t.Errorf("%s=%s: got %v, want it taken", tt.name, value, err)
			}
		}
		for _, value := range []string{tt.below, tt.above} {
			err := load(value)
			if err == nil {
				t.Errorf("%s=%s: taken, want it refused", tt.name, value)
				continue
			}
			wants := []string{": " + tt.name + ": ", "is out of range; want ", " to "}
			if value == "-1" && (strings.HasPrefix(tt.name, "message.") || strings.HasSuffix(tt.name, "_bytes")) {
				wants = []string{tt.name, "is not a size; want octets"}
			}
			contains(t, tt.name+"="+value, err.Error(), wants...)
		}
	}
	for _, k := range defaults().keys() {
		if bounded := k.kind == "number" || k.kind == "size" || k.kind == "duration"; bounded && !tested[k.name] {
			t.Errorf("the range of %s is not tested", k.name)
		}
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "lsmtpd.yaml", "smtp:\n  max_recipients: 11\n  listen: [smtp://127.0.0.1:11, lmtp:///run/11]\n  tls: {required: true}\nshutdown_timeout: 11s\nmessage:\n  digest: none\nlog:\n")
	tests := []struct {
		name, file, env, flag string // the value that key has with the file; file and variable; all three
		unset                 string
		variable              string
	}{
		{"smtp.max_recipients", "11", "12", "13", "1000", "12"},
		{"smtp.listen", "smtp://127.0.0.1:11,lmtp:///run/11", "smtp://127.0.0.1:12", "smtp://127.0.0.1:13,smtps://127.0.0.1:14", "smtp://127.0.0.1:2525", "127.0.0.1:12"},
		{"smtp.tls.required", "true", "false", "true", "false", "false"},
		{"shutdown_timeout", "11s", "12s", "13s", "30s", "12s"},
		{"message.digest", "none", "sha256", "none", "sha256", "sha256"},
		{"store.memory", "64 MiB", "128 MiB", "256 MiB", "64 MiB", "134217728"},
	}
	for _, tt := range tests {
		get := func(file, variable, flag string) string {
			l := newLoader()
			l.addFlags(pflag.NewFlagSet("", pflag.ContinueOnError), "")
			l.file = file
			var environ []string
			if variable != "" {
				environ = []string{l.keys[tt.name].env() + "=" + variable}
			}
			if flag != "" {
				if err := l.flags[tt.name].Set(flag); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.load(environ); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			return l.keys[tt.name].get()
		}
		for _, c := range []struct{ what, got, want string }{
			{"default", get("", "", ""), tt.unset},
			{"file", get(file, "", ""), tt.file},
			{"file and environment", get(file, tt.variable, ""), tt.env},
			{"file, environment and flag", get(file, tt.variable, tt.flag), tt.flag},
			{"flag alone", get("", "", tt.flag), tt.flag},
		} {
			if c.got != c.want {
				t.Errorf("%s from %s: got %s, want %s", tt.name, c.what, c.got, c.want)
			}
		}
	}
}

func TestValidConfiguration(t *testing.T) {
	tests := []badConfig{
		{"environment alone", "", nil, nil, nil},
		{"file of comments", "# nothing\n", nil, nil, nil},
		{"file with an empty document", "---\n", nil, nil, nil},
		{"groups and keys without values", "smtp:\n  hostname:\n  tls:\nbroker:\n", nil, nil, nil},
		{"file by environment", "", []string{"LSMTPD_CONFIG=" + write(t, "e.yaml", "log: {level: warn}\n")}, nil, nil},
		{"unknown variable", "", []string{"LSMTPD_SMTP_LISTN=x"}, nil, []string{"warning: unknown environment variable LSMTPD_SMTP_LISTN; did you mean LSMTPD_SMTP_LISTEN?"}},
		{"variable of an orchestrator", "", []string{"LSMTPD_SERVICE_HOST=10.0.0.1"}, nil, []string{"warning: unknown environment variable LSMTPD_SERVICE_HOST; lsmtpd serve --help lists them"}},
		{"secret in the file", "broker: {username: " + userText + ", password: " + secretText + "}\n", nil, nil, nil},
		{"file by flag before the one by environment", "# nothing\n", []string{"LSMTPD_CONFIG=/nonexistent/lsmtpd.yaml"}, nil, nil},
		{"settle_timeout shorter than the default of spool.after", "", []string{"LSMTPD_BROKER_SETTLE_TIMEOUT=2s"}, nil, nil},
		{"a spool to be made beside a version that is not its own", "", nil, []string{"--spool.dir=" + filepath.Join(filepath.Dir(write(t, "version", "9\n")), "new", "spool")}, nil},
		{"raw messages off, as YAML has it", "message: {raw: off}\n", nil, nil, []string{"raw messages: not stored\n"}},
		{"raw messages", "message: {raw: store}\n", nil, nil, []string{"raw messages: stored\n"}},
		{"raw messages, as large as a file may be", "", nil, []string{"--message.raw=store", "--smtp.max_message_bytes=5TiB"}, nil},
		{"several brokers", "broker: {url: ['amqp://127.0.0.1:1', 'amqps://127.0.0.1']}\n", nil, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"check"}, tt.flags...)
			if tt.file != "" {
				args = append(args, "--config", write(t, "lsmtpd.yaml", tt.file))
			}
			code, out, text := runs(t, environment(t, tt.environ...), args...)
			if code != exitOK || text != "" {
				t.Errorf("exit code %d, want %d:\n%s", code, exitOK, text)
			}
			contains(t, "output", out, append(tt.want, "the configuration is valid")...)
		})
	}
	t.Run("empty file", func(t *testing.T) {
		if code, _, text := runs(t, environment(t), "check", "--config", write(t, "lsmtpd.yaml", "")); code != exitOK {
			t.Errorf("exit code %d, want %d:\n%s", code, exitOK, text)
		}
	})
}

// A list may also be given flag by flag; of any other flag the last one holds.
func TestRepeatedFlags(t *testing.T) {
	l := newLoader()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	l.addFlags(flags, "")
	err := flags.Parse([]string{"--broker.url=amqp://a:1", "--broker.url=amqp://b:2,amqp://c:3", "--broker.address=x", "--broker.address=y"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.load(nil)
	if got, want := l.keys["broker.url"].get(), "amqp://a:1,amqp://b:2,amqp://c:3"; err != nil || got != want {
		t.Errorf("broker.url: got %s, %v; want %s", got, err, want)
	}
	if s.broker.address != "y" {
		t.Errorf("broker.address: got %s, want y", s.broker.address)
	}
}

func TestUsage(t *testing.T) {
	code, out, _ := runs(t, environment(t, "LSMTPD_SHUTDOWN_TIMEOUT=7m", "LSMTPD_BROKER_PASSWORD="+secretText), "serve", "--help")
	if code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	contains(t, "usage", out, "--shutdown_timeout duration", "(default 30s)", "--smtp.listen list", "(default smtp://127.0.0.1:2525)")
	for _, k := range defaults().keys() {
		if shown := strings.Contains(out, "--"+k.name+" ") || strings.Contains(out, "--"+k.name+"\n"); shown == k.secret {
			t.Errorf("--%s in the usage: %v, want %v", k.name, shown, !k.secret)
		}
	}
}

func TestShownSettings(t *testing.T) {
	l := newLoader()
	s, err := l.load([]string{"LSMTPD_BROKER_URL=amqp://" + userText + ":" + secretText + "@h:1", "LSMTPD_BROKER_PASSWORD=" + secretText})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.keys["broker.url"].get(), "amqp://h:1"; got != want {
		t.Errorf("broker.url shows as %q, want %q", got, want)
	}
	log := newOutput()
	s.newLogger(log).Info("settings", "password", s.broker.password)
	if strings.Contains(log.String()+l.keys["broker.password"].get(), secretText) || s.broker.password.GoString() == secretText {
		t.Errorf("broker.password is shown: %s", log)
	}
}
