package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// RabbitMQ returns the RabbitMQ 4 that the tests of this test binary share.
//
// Queues are quorum queues unless their name says something else. It has in, and full.c and full.q, a classic and a
// quorum queue that reject what is more than ten messages (eleven, in the quorum queue), and full.drop, which then drops
// the oldest. The topic exchange ex has bound under the key k (/exchanges/ex/k), and bound and full.c under the key two;
// what it cannot route it releases. The user of the certificate of Certs.Client is lsmtpd, SASL ANONYMOUS is the user a.
func RabbitMQ(t testing.TB) *AMQPBroker {
	t.Helper()
	needMain(t)
	broker, err := sharedRabbitMQ()
	if err == nil {
		err = broker.revive()
	}
	if err != nil {
		unavailable(t, "RabbitMQ", err)
	}
	return broker
}

// PrivateRabbitMQ starts a RabbitMQ like the shared one that is the test's own and ends with it.
func PrivateRabbitMQ(t testing.TB) *AMQPBroker {
	t.Helper()
	needMain(t)
	node, err := newErlangNode(t.Context())
	if err != nil {
		unavailable(t, "RabbitMQ", err)
	}
	node.mapper.private(t) // registered first, so ended last
	broker, err := startRabbitMQ(t.Context(), node)
	if err != nil {
		unavailable(t, "RabbitMQ", err)
	}
	broker.private(t)
	return broker
}

func sharedRabbitMQ() (*AMQPBroker, error) {
	return bed.rabbitMQ.get(func() (*AMQPBroker, error) {
		const variable = "LSMTPD_TEST_RABBITMQ_URL"
		if external := os.Getenv(variable); external != "" {
			return externalBroker(bed.ctx, variable, external, newRabbitMQ(nil))
		}
		node, err := newErlangNode(bed.ctx)
		if err != nil {
			return nil, err
		}
		broker, err := startRabbitMQ(bed.ctx, node)
		if err == nil {
			share(broker.Server)
		}
		share(node.mapper) // ended after the broker
		return broker, err
	})
}

func newRabbitMQ(server *Server) *AMQPBroker {
	b := &AMQPBroker{Server: server, manager: rabbitMQQueues{}, address: rabbitMQAddress}
	b.newQueue = func() (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
		defer cancel()
		queue := randomName()
		return queue, b.manager.create(ctx, b, queue, 0)
	}
	return b
}

func startRabbitMQ(ctx context.Context, node *erlangNode) (*AMQPBroker, error) {
	certs, err := sharedCerts()
	if err != nil {
		return nil, err
	}
	server, err := newServer("rabbitmq")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	plain, tls := ports[0], ports[1]
	if err := writeRabbitMQConfig(server.dir, plain, tls, certs); err != nil {
		return nil, err
	}
	node.home = server.dir
	if server.command, err = node.rabbitMQ(); err != nil {
		return nil, err
	}
	broker := newRabbitMQ(server)
	broker.Certs, broker.erlang = certs, node
	broker.setURLs(plain, plain, tls, tls)
	server.ready = func(ctx context.Context) error {
		if err := answersTCP(ctx, plain, tls); err != nil {
			return err
		}
		return broker.answers(ctx)
	}
	return broker, server.start(ctx)
}

// rabbitMQConfig is rabbitmq.conf. The arguments are the two ports, the files of certificates, and the definitions.
const rabbitMQConfig = `listeners.tcp.1 = 127.0.0.1:%d
listeners.ssl.1 = 127.0.0.1:%d
ssl_options.cacertfile = %s
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
auth_mechanisms.3 = ANONYMOUS
anonymous_login_user = a
anonymous_login_pass = b
loopback_users = none
vm_memory_high_watermark.relative = 0.6
load_definitions = %s
`

func writeRabbitMQConfig(dir string, plain, tls int, certs *Certs) error {
	definitions, err := json.MarshalIndent(rabbitMQDefinitions(), "", " ")
	if err != nil {
		return err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	config := fmt.Sprintf(rabbitMQConfig, plain, tls, certs.CA, certs.Server.Cert, certs.Server.Key, file("definitions.json"))
	for name, content := range map[string]string{
		"definitions.json": string(definitions), "rabbitmq.conf": config, "enabled_plugins": "[rabbitmq_auth_mechanism_ssl].\n",
	} {
		if err := os.WriteFile(file(name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// rabbitMQDefinitions are the users, queues and exchanges that every start makes if they are not there.
func rabbitMQDefinitions() object {
	user := func(name, password string) object {
		return object{"name": name, "password": password, "tags": []string{}}
	}
	right := func(name, configure, write string) object {
		return object{"user": name, "vhost": "/", "configure": configure, "write": write, "read": ".*"}
	}
	queue := func(name string, arguments object) object {
		return object{"vhost": "/", "name": name, "durable": true, "auto_delete": false, "arguments": arguments}
	}
	binding := func(key, queue string) object {
		return object{"vhost": "/", "source": "ex", "destination": queue, "destination_type": "queue", "routing_key": key, "arguments": object{}}
	}
	return object{
		"users":       []object{user("a", "b"), user("ro", "ro"), user("lsmtpd", "not used")},
		"vhosts":      []object{{"name": "/"}},
		"permissions": []object{right("a", ".*", ".*"), right("ro", "^$", "^$"), right("lsmtpd", ".*", ".*")},
		"queues": []object{
			queue("in", object{"x-queue-type": "quorum"}), queue("bound", object{"x-queue-type": "quorum"}),
			queue("full.c", object{"x-queue-type": "classic", "x-max-length": 10, "x-overflow": "reject-publish"}),
			queue("full.q", object{"x-queue-type": "quorum", "x-max-length": 10, "x-overflow": "reject-publish"}),
			queue("full.drop", object{"x-queue-type": "quorum", "x-max-length": 10}),
		},
		"exchanges": []object{{"vhost": "/", "name": "ex", "type": "topic", "durable": true, "auto_delete": false, "internal": false, "arguments": object{}}},
		"bindings":  []object{binding("k", "bound"), binding("two", "bound"), binding("two", "full.c")},
	}
}
