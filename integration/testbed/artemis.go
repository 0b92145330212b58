package testbed

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
)

const artemisArtifact = "org.apache.activemq:apache-artemis:2.40.0"

// artemisBrokerXML is the broker's configuration: what tests rely on is explained in it.
//
//go:embed artemis.xml
var artemisBrokerXML string

// artemisFiles are the other files of the broker's configuration.
var artemisFiles = map[string]string{
	"bootstrap.xml": `<broker xmlns="http://activemq.apache.org/schema">
  <jaas-security domain="passwords" certificate-domain="certificates"/>
  <server configuration="file:{{.Dir}}/etc/broker.xml"/>
</broker>
`,
	"login.config": `passwords {
  org.apache.activemq.artemis.spi.core.security.jaas.PropertiesLoginModule required
    org.apache.activemq.jaas.properties.user="users.properties"
    org.apache.activemq.jaas.properties.role="roles.properties";
};
certificates {
  org.apache.activemq.artemis.spi.core.security.jaas.TextFileCertificateLoginModule required
    org.apache.activemq.jaas.textfiledn.user="cert-users.properties"
    org.apache.activemq.jaas.textfiledn.role="cert-roles.properties";
};
`,
	// No management by JMX: rights for it are read all the same.
	"management.xml":        `<management-context xmlns="http://activemq.apache.org/schema"/>`,
	"users.properties":      "a = b\nro = ro\n",
	"roles.properties":      "all = a\nreaders = ro\n",
	"cert-users.properties": "lsmtpd = CN=lsmtpd\n",
	"cert-roles.properties": "all = lsmtpd\n",
	"log4j2.properties": `rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
logger.audit.name = org.apache.activemq.audit
logger.audit.level = OFF
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %-5level [%logger] %msg%n
`,
}

// Artemis returns the Apache ActiveMQ Artemis that the tests of this test binary share.
//
// A queue comes into being when a link with the capability queue asks for it; without the capability the new address
// is a multicast one that accepts and loses everything. Below fixed. nothing is made: there are the multicast
// addresses fixed.topic, without a subscription, and fixed.topicsub with the queue fixed.sub. Addresses below
// full.fail., full.block., full.blockrej., full.drop., full.page. and full.pagelimit. are full after ten messages
// (blockrej: 20,000 octets, and it rejects from 40,000; pagelimit: twenty more are paged) and act by that policy.
func Artemis(t testing.TB) *AMQPBroker {
	t.Helper()
	needMain(t)
	broker, err := sharedArtemis()
	if err == nil {
		err = broker.revive()
	}
	if err != nil {
		unavailable(t, "Artemis", err)
	}
	return broker
}

// PrivateArtemis starts an Artemis like the shared one that is the test's own and ends with it.
func PrivateArtemis(t testing.TB) *AMQPBroker {
	t.Helper()
	needMain(t)
	broker, err := startArtemis(t.Context())
	if err != nil {
		unavailable(t, "Artemis", err)
	}
	broker.private(t)
	return broker
}

func sharedArtemis() (*AMQPBroker, error) {
	return bed.artemis.get(func() (*AMQPBroker, error) {
		const variable = "LSMTPD_TEST_ARTEMIS_URL"
		if external := os.Getenv(variable); external != "" {
			b := &AMQPBroker{Capability: "queue", newQueue: randomQueue, manager: artemisQueues{}}
			return externalBroker(bed.ctx, variable, external, b)
		}
		broker, err := startArtemis(bed.ctx)
		if err == nil {
			share(broker.Server)
		}
		return broker, err
	})
}

func startArtemis(ctx context.Context) (*AMQPBroker, error) {
	home, err := installArtemis(ctx)
	if err != nil {
		return nil, err
	}
	certs, err := sharedCerts()
	if err != nil {
		return nil, err
	}
	server, err := newServer("artemis")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	plain, tls := ports[0], ports[1]
	dir, etc := server.dir, filepath.Join(server.dir, "etc")
	if err := writeArtemisConfig(etc, map[string]any{"Dir": dir, "Port": plain, "TLSPort": tls, "Certs": certs}); err != nil {
		return nil, err
	}
	server.command = Command{Path: java("java"), Dir: dir, Args: []string{
		"-Xms64M", "-Xmx2G", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.disableJmx=true",
		"-Djava.security.auth.login.config=" + filepath.Join(etc, "login.config"),
		"-Dartemis.home=" + home, "-Dartemis.instance=" + dir, "-Dartemis.instance.etc=" + etc,
		"-Ddata.dir=" + filepath.Join(dir, "data"), "-Djava.io.tmpdir=" + dir,
		"-cp", filepath.Join(home, "lib", "artemis-boot.jar"), "org.apache.activemq.artemis.boot.Artemis", "run",
	}}
	broker := &AMQPBroker{Server: server, Certs: certs, Capability: "queue", newQueue: randomQueue, manager: artemisQueues{}}
	broker.setURLs(plain, plain, tls, tls)
	server.ready = func(ctx context.Context) error {
		if err := answersTCP(ctx, plain, tls); err != nil {
			return err
		}
		return broker.answers(ctx)
	}
	return broker, server.start(ctx)
}

// installArtemis returns the folder of the unpacked distribution.
func installArtemis(ctx context.Context) (string, error) {
	dir, err := mavenArchive(ctx, artemisArtifact)
	return filepath.Join(dir, "apache-artemis-2.40.0"), err
}

// writeArtemisConfig does by hand what "artemis create" takes a second for.
func writeArtemisConfig(etc string, values map[string]any) error {
	if err := os.Mkdir(etc, 0o755); err != nil {
		return err
	}
	if err := writeTemplate(filepath.Join(etc, "broker.xml"), artemisBrokerXML, values); err != nil {
		return err
	}
	for name, text := range artemisFiles {
		if err := writeTemplate(filepath.Join(etc, name), text, values); err != nil {
			return err
		}
	}
	return nil
}

func writeTemplate(path, text string, values map[string]any) error {
	parsed, err := template.New(filepath.Base(path)).Parse(text)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := parsed.Execute(&b, values); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}
