package publish

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/go-amqp"
)

// Config says which broker a Publisher speaks to and how.
type Config struct {
	// URLs are the brokers, tried in order: amqp://[USER:PASSWORD@]HOST[:5672] or amqps://…[:5671].
	URLs []*url.URL
	// Username and Password win over those of the URLs. Without either: SASL
	// ANONYMOUS, or EXTERNAL where TLS has a client certificate.
	Username, Password string
	// TLS is used for amqps URLs; nil means the system's roots.
	TLS *tls.Config
	// Capability is the target capability of the links: "queue", "topic", "none", or "auto", which asks for queue where the broker is Artemis.
	Capability string
	// ContainerID names this instance to the broker (AMQP 1.0 §2.4.1).
	ContainerID string
	// Logger gets what happens to connections and links.
	Logger *slog.Logger
}

const (
	// dialTimeout bounds a connection's set-up at one URL; attachTimeout that of a session and a link.
	dialTimeout   = 10 * time.Second
	attachTimeout = 10 * time.Second
	// idleTimeout is announced to the broker. Azure Service Bus refuses less than a minute.
	idleTimeout = 60 * time.Second
	// maxInFlight bounds the unsettled deliveries of a link. It lies below the smallest link credit brokers were seen to grant (RabbitMQ: 170).
	maxInFlight = 128
	// maxBackoff caps the wait between attempts, so that mail flows again soon after a broker is back.
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// ParseURL reads one broker URL. Its errors name what was wrong and what would be right, and never quote a password.
func ParseURL(raw string) (*url.URL, error) {
	const want = "want amqp://HOST:PORT or amqps://HOST:PORT"
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("not a URL; %s", want)
	}
	if u.Scheme != "amqp" && u.Scheme != "amqps" {
		return nil, fmt.Errorf("scheme %q; %s", u.Scheme, want)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("no host; %s", want)
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("a broker URL ends with the port, the address has a setting of its own (broker.address); %s", want)
	}
	return u, nil
}

// redact is the URL as it may stand in a log: without its user part.
func redact(u *url.URL) string {
	r := *u
	r.User = nil
	return r.String()
}

// connOptions are go-amqp's options for a connection to u.
func (c *Config) connOptions(u *url.URL) *amqp.ConnOptions {
	o := &amqp.ConnOptions{ContainerID: c.ContainerID, IdleTimeout: idleTimeout, HostName: u.Hostname()}
	user, password := c.Username, c.Password
	if user == "" && u.User != nil {
		user = u.User.Username()
	}
	if password == "" && u.User != nil {
		password, _ = u.User.Password()
	}
	clientCertificate := false
	if u.Scheme == "amqps" {
		o.TLSConfig = c.TLS.Clone()
		if o.TLSConfig == nil {
			o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		clientCertificate = len(o.TLSConfig.Certificates) > 0 || o.TLSConfig.GetClientCertificate != nil
	}
	switch {
	case user != "":
		o.SASLType = amqp.SASLTypePlain(user, password)
	case clientCertificate:
		o.SASLType = amqp.SASLTypeExternal("")
	default:
		o.SASLType = amqp.SASLTypeAnonymous()
	}
	return o
}

// dialURL is u as go-amqp takes it: without the user part, which would win over the options.
func dialURL(u *url.URL) string {
	d := url.URL{Scheme: u.Scheme, Host: u.Host}
	if u.Port() == "" {
		port := "5672"
		if u.Scheme == "amqps" {
			port = "5671"
		}
		d.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return d.String()
}

// isArtemis and isBrokerJ recognise a broker by the product it names in its open frame.
func isArtemis(properties map[string]any) bool {
	return properties["product"] == "apache-activemq-artemis"
}

func isBrokerJ(properties map[string]any) bool {
	product, _ := properties["product"].(string)
	return strings.Contains(product, "Broker-J")
}

// targetCapabilities are what a link asks its target to be. Without the
// capability queue, Artemis makes an unknown address a topic that accepts and
// loses everything.
func (c *Config) targetCapabilities(properties map[string]any) []string {
	switch c.Capability {
	case "queue", "topic":
		return []string{c.Capability}
	case "auto", "":
		if isArtemis(properties) {
			return []string{"queue"}
		}
	}
	return nil
}

// fansOut reports whether a delivery to address may end up in several queues.
// Then a refusal does not prove that none of them holds the message.
func (c *Config) fansOut(address string, properties map[string]any) bool {
	return c.Capability == "topic" || strings.HasPrefix(address, "/exchanges/") ||
		isBrokerJ(properties) && strings.Contains(address, "/")
}
