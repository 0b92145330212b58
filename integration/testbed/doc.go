// Package testbed gets, starts and ends the real servers and the independent clients that the integration tests
// and benchmarks of lsmtpd work with: the AMQP 1.0 brokers Apache ActiveMQ Artemis, Apache Qpid Broker-J and RabbitMQ 4,
// the S3 servers MinIO and versitygw, the consumers Qpid JMS, rhea and Qpid Proton, the SMTP clients smtplib, swaks and
// nodemailer, and Postfix and Exim as relays. All of them run as plain processes on loopback; no container engine is
// needed. A [Proxy] puts the faults of a network between any two of them. [Corpora] are the mail that others have
// collected. Importing the package starts nothing, and only tests import it.
//
// # Use
//
// A test binary hands its TestMain to [Main], which ends at the end what was shared:
//
//	func TestMain(m *testing.M) { testbed.Main(m, testbed.ArtemisServer, testbed.MinIOServer) }
//
//	func TestDelivery(t *testing.T) {
//		broker, store := testbed.Artemis(t), testbed.MinIO(t)
//		queue := broker.Queue(t)
//		daemon := testbed.Run(t, testbed.Command{Path: testbed.Build(t), Env: []string{
//			"LSMTPD_BROKER_URL=" + broker.URL, "LSMTPD_BROKER_ADDRESS=" + broker.Address(queue)}})
//		...
//		got := testbed.ReceiveRhea(t, broker, queue, 1)
//	}
//
// The servers named in the call of Main start at once and side by side; any other starts when the first test asks
// for it. [Artemis], [BrokerJ], [RabbitMQ], [MinIO] and [VersityGW] return the one server of the test binary,
// [PrivateArtemis] and so on one of the test's own, which ends with the test. A test that stops or kills a server should
// have it to itself unless no test of its package runs in parallel; a shared server that a test left stopped is started
// again for the next one.
//
// The address of a queue is not its name everywhere: [AMQPBroker.Address] says it. What is to go wrong has methods:
// [AMQPBroker.SmallQueue] is soon full, [AMQPBroker.MissingQueue], CreateQueue and DeleteQueue have a queue come and go,
// [AMQPBroker.MemoryAlarm] makes RabbitMQ stop reading, [Server.Pause] makes a server hang, and ReadOnlyURL is for a user
// who may not send.
//
// # Environment
//
//	LSMTPD_TESTBED_CACHE              folder of what was installed; default: lsmtpd-testbed in the user's cache folder
//	LSMTPD_TESTBED_LOGS               folder that keeps the servers' logs; default: they vanish with their server
//	LSMTPD_TESTBED_REQUIRED           1: what cannot be had or started fails the test; default: the test is skipped
//	LSMTPD_TEST_ARTEMIS_URL           a running Artemis, amqp://USER:PASSWORD@HOST:PORT
//	LSMTPD_TEST_BROKERJ_URL           a running Broker-J with the queues of [BrokerJ], in the same form
//	LSMTPD_TEST_RABBITMQ_URL          a running RabbitMQ 4 with the queues and exchanges of [RabbitMQ], in the same form
//	LSMTPD_TEST_S3_URL                a running S3 server in the place of MinIO, http://HOST:PORT
//	LSMTPD_TEST_S3_ACCESS_KEY         its credentials
//	LSMTPD_TEST_S3_SECRET_KEY
//	LSMTPD_TEST_VERSITYGW_URL         the same for versitygw
//	LSMTPD_TEST_VERSITYGW_ACCESS_KEY
//	LSMTPD_TEST_VERSITYGW_SECRET_KEY
//
// A server from the environment cannot be stopped or started by a test, and offers only what its URL says. Private
// servers are always started.
//
// # What is installed
//
// What is missing is installed by name with the ordinary clients: mvn (Artemis, Broker-J, Qpid JMS), go (MinIO,
// versitygw), npm (rhea, nodemailer) and apt-get: as root into the system (python3-qpid-proton, swaks), by anybody beside
// it (the packages of Debian that would conflict or start a server: Postfix, Exim, and what they and swaks' TLS need; and
// RabbitMQ, from Debian 13 on whatever release of Debian runs here, with the C library and the Erlang of that). The
// corpora are files of Go's modules, which stay in the module cache of Go, and of packages of Debian 12 and their sources.
// Needed beforehand are Java 17 with javac, Maven, Node.js with npm, Python 3, tar with gzip and xz, and Go, each only
// for what is used.
// Everything but what root installs goes into the cache folder, unpacked aside and then renamed, under a file lock: test
// binaries that start at the same time, or an installation that was interrupted, do no harm. Building MinIO takes
// minutes and gigabytes of the Go build cache once; TestInstall installs everything ahead of time.
//
// # Processes
//
// Every process has a process group of its own and is ended by its own process id when its test or the test binary
// ends, whether that passed, failed or panicked. On Linux the kernel kills it also when the test binary itself is
// killed, except Postfix, which then ends by itself within half an hour; the data folder left behind is removed by the
// next test binary. RabbitMQ's port mapper is a process of the test bed's own, which ends after it. Postfix alone needs
// root to run. Ports are chosen below the range of outgoing connections, so that a stopped server finds its port free
// when it starts again.
package testbed
