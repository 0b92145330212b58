package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const (
	brokerJArtifact = "org.apache.qpid:apache-qpid-broker-j:9.2.0"
	brokerJNumbered = 50
)

// BrokerJ returns the Apache Qpid Broker-J that the tests of this test binary share.
//
// It makes no queues on demand. It has in, bench, q1 to q50 (see Queue), and four queues that ten messages fill:
// full.reject, full.ring, full.flow (producer flow control) and full.disk. The exchange ex has the queue bound under
// the key k (ex/k) and loses what it cannot route; the exchange exreject refuses it.
func BrokerJ(t testing.TB) *AMQPBroker {
	t.Helper()
	needMain(t)
	broker, err := sharedBrokerJ()
	if err == nil {
		err = broker.revive()
	}
	if err != nil {
		unavailable(t, "Broker-J", err)
	}
	return broker
}

// PrivateBrokerJ starts a Broker-J like the shared one that is the test's own and ends with it.
func PrivateBrokerJ(t testing.TB) *AMQPBroker {
	t.Helper()
	needMain(t)
	broker, err := startBrokerJ(t.Context())
	if err != nil {
		unavailable(t, "Broker-J", err)
	}
	broker.private(t)
	return broker
}

func sharedBrokerJ() (*AMQPBroker, error) {
	return bed.brokerJ.get(func() (*AMQPBroker, error) {
		const variable = "LSMTPD_TEST_BROKERJ_URL"
		if external := os.Getenv(variable); external != "" {
			b := &AMQPBroker{newQueue: numberedQueues(brokerJNumbered), manager: brokerJQueues{}}
			return externalBroker(bed.ctx, variable, external, b)
		}
		broker, err := startBrokerJ(bed.ctx)
		if err == nil {
			share(broker.Server)
		}
		return broker, err
	})
}

func startBrokerJ(ctx context.Context) (*AMQPBroker, error) {
	home, err := installBrokerJ(ctx)
	if err != nil {
		return nil, err
	}
	certs, err := sharedCerts()
	if err != nil {
		return nil, err
	}
	server, err := newServer("broker-j")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	dir, initial := server.dir, filepath.Join(server.dir, "initial.json")
	if err := writeBrokerJConfig(initial, ports, certs); err != nil {
		return nil, err
	}
	server.command = Command{Path: java("java"), Dir: dir, Args: []string{
		"-Xms64m", "-Xmx192m", "-XX:MaxDirectMemorySize=192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"--add-opens", "java.base/java.lang=ALL-UNNAMED", "-DQPID_HOME=" + home, "-DQPID_WORK=" + dir,
		"-cp", filepath.Join(home, "lib", "*"), "org.apache.qpid.server.Main",
		// The first start makes the store from the initial configuration, later ones read the store.
		"-icp", initial, "-sp", filepath.Join(dir, "config.json"),
	}}
	broker := &AMQPBroker{Server: server, Certs: certs, newQueue: numberedQueues(brokerJNumbered), manager: brokerJQueues{}}
	broker.setURLs(ports[0], ports[1], ports[2], ports[3])
	server.ready = func(ctx context.Context) error {
		if err := answersTCP(ctx, ports...); err != nil {
			return err
		}
		return broker.answers(ctx)
	}
	return broker, server.start(ctx)
}

// installBrokerJ returns the folder of the unpacked distribution.
func installBrokerJ(ctx context.Context) (string, error) {
	dir, err := mavenArchive(ctx, brokerJArtifact)
	return filepath.Join(dir, "qpid-broker", "9.2.0"), err
}

// object is an object of the broker's configuration.
type object = map[string]any

// writeBrokerJConfig writes the initial configuration. ports are those for user and password, for SASL ANONYMOUS, for
// user and password over TLS, and for a client certificate: a port has one authentication provider.
func writeBrokerJConfig(path string, ports []int, certs *Certs) error {
	virtualHost, err := json.Marshal(brokerJVirtualHost())
	if err != nil {
		return err
	}
	config, err := json.MarshalIndent(object{
		"name": "testbed", "modelVersion": "9.0",
		"authenticationproviders": []object{
			{"name": "passwords", "type": "Plain", "secureOnlyMechanisms": []string{}, "users": []object{ // PLAIN without TLS too
				{"name": "a", "type": "managed", "password": "b"},
				{"name": "ro", "type": "managed", "password": "ro"},
			}},
			{"name": "anonymous", "type": "Anonymous"},
			{"name": "certificates", "type": "External"},
		},
		"accesscontrolproviders": []object{{
			"name": "rules", "type": "RuleBased", "priority": 10, "defaultResult": "ALLOWED",
			"rules": []object{{"identity": "ro", "objectType": "ALL", "operation": "PUBLISH", "outcome": "DENY_LOG", "attributes": object{}}},
		}},
		"keystores": []object{{
			"name": "server", "type": "NonJavaKeyStore", "certificateUrl": certs.Server.Cert, "privateKeyUrl": certs.Server.Key,
		}},
		"truststores": []object{{"name": "authority", "type": "NonJavaTrustStore", "certificatesUrl": certs.CA}},
		"ports": []object{
			brokerJPort("plain", ports[0], "passwords", nil),
			brokerJPort("anonymous", ports[1], "anonymous", nil),
			brokerJPort("tls", ports[2], "passwords", object{"transports": []string{"SSL"}, "keyStore": "server"}),
			brokerJPort("external", ports[3], "certificates", object{"transports": []string{"SSL"}, "keyStore": "server",
				"trustStores": []string{"authority"}, "needClientAuth": "true"}),
		},
		"brokerloggers": []object{{"name": "stdout", "type": "Console", "brokerloginclusionrules": []object{
			{"name": "warnings", "type": "NameAndLevel", "loggerName": "ROOT", "level": "WARN"},
			{"name": "operations", "type": "NameAndLevel", "loggerName": "qpid.message.*", "level": "INFO"},
		}}},
		"virtualhostnodes": []object{{
			"name": "default", "type": "JSON", "defaultVirtualHostNode": "true", "virtualHostInitialConfiguration": string(virtualHost),
		}},
	}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, config, 0o600)
}

// brokerJPort is a port on loopback that leads every host name to the one virtual host.
func brokerJPort(name string, port int, provider string, tls object) object {
	p := object{
		"name": name, "port": port, "bindingAddress": "127.0.0.1", "protocols": []string{"AMQP_1_0"},
		"authenticationProvider": provider,
		"virtualhostaliases": []object{
			{"name": "nameAlias", "type": "nameAlias"},
			{"name": "defaultAlias", "type": "defaultAlias"},
			{"name": "hostnameAlias", "type": "hostnameAlias"},
		},
	}
	for key, value := range tls {
		p[key] = value
	}
	return p
}

func brokerJVirtualHost() object {
	queues := []object{{"name": "in"}, {"name": "bench"}, {"name": "bound"}}
	for i := range brokerJNumbered {
		queues = append(queues, object{"name": fmt.Sprintf("q%d", i+1)})
	}
	for name, policy := range map[string]string{
		"reject": "REJECT", "ring": "RING", "flow": "PRODUCER_FLOW_CONTROL", "disk": "FLOW_TO_DISK",
	} {
		queues = append(queues, object{"name": "full." + name, "overflowPolicy": policy, "maximumQueueDepthMessages": 10})
	}
	for _, q := range queues {
		q["type"], q["durable"] = "standard", true
	}
	return object{"type": "BDB", "queues": queues, "exchanges": []object{
		{"name": "ex", "type": "topic", "durable": true,
			"durableBindings": []object{{"destination": "bound", "bindingKey": "k"}}},
		{"name": "exreject", "type": "topic", "durable": true, "unroutableMessageBehaviour": "REJECT"},
	}}
}
