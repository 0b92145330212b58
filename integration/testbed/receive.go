package testbed

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lsmtpd/integration/witness"
)

const (
	jmsArtifact = "qpid-jms-client-2.6.1"
	rheaVersion = "3.0.5"

	// receiveTimeout bounds the reading of messages by a witness, its own start included.
	receiveTimeout = time.Minute
)

// Received is a message as an independent consumer saw it. A string that is absent is empty.
type Received struct {
	MessageID     string
	ContentType   string
	Subject       string
	To            string
	GroupID       string
	CorrelationID string
	Durable       bool
	// ApplicationProperties have the types of encoding/json: every number is a float64.
	ApplicationProperties map[string]any
	// Body is the content of the data section.
	Body []byte
}

// ReceiveJMS takes n messages from a queue with Qpid JMS and fails the test if they do not come within a minute. JMS
// does not show application properties whose names are no Java identifiers.
func ReceiveJMS(t testing.TB, b *AMQPBroker, queue string, n int) []Received {
	t.Helper()
	classpath, err := installJMS(context.Background())
	if err != nil {
		unavailable(t, "Qpid JMS", err)
	}
	got := receive(t, b, queue, n, Command{Path: java("java"), Args: []string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classpath, "Receive"}})
	for i := range got {
		// The prefix of JMS for an id that did not come from a JMS client.
		got[i].MessageID = strings.TrimPrefix(got[i].MessageID, "ID:AMQP_NO_PREFIX:")
	}
	return got
}

// ReceiveRhea takes n messages from a queue with rhea, a JavaScript client, and fails the test if they do not come
// within a minute.
func ReceiveRhea(t testing.TB, b *AMQPBroker, queue string, n int) []Received {
	t.Helper()
	modules, err := installRhea(context.Background())
	if err != nil {
		unavailable(t, "rhea", err)
	}
	return receive(t, b, queue, n, Command{
		Path: "node", Args: []string{script(t, "receive.js")}, Env: []string{"NODE_PATH=" + modules}})
}

// ReceiveProton takes n messages from a queue with Qpid Proton for Python and fails the test if they do not come
// within a minute.
func ReceiveProton(t testing.TB, b *AMQPBroker, queue string, n int) []Received {
	t.Helper()
	if err := installProton(context.Background()); err != nil {
		unavailable(t, "Qpid Proton", err)
	}
	return receive(t, b, queue, n, Command{Path: debianPython, Args: []string{script(t, "receive.py")}})
}

// receive runs a receiver and reads what it prints.
func receive(t testing.TB, b *AMQPBroker, queue string, n int, c Command) []Received {
	t.Helper()
	if n <= 0 {
		t.Fatalf("receive %d messages from %s: at least one is needed", n, queue)
	}
	host, port, user, password, err := b.credentials()
	if err != nil {
		t.Fatal(err)
	}
	c.Args = append(c.Args, host, port, user, password, b.Address(queue), b.Capability, strconv.Itoa(n))
	ctx, cancel := context.WithTimeout(context.Background(), receiveTimeout)
	defer cancel()
	out, err := runTool(ctx, c)
	if err != nil {
		t.Fatalf("receive %d messages from %s on %s, %d came: %v", n, queue, b.name, strings.Count(out, "\n"), err)
	}
	var got []Received
	for line := range strings.Lines(out) {
		m, err := readReceived(line)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if len(got) != n {
		t.Fatalf("%s ended well after %d of %d messages from %s on %s", c.Path, len(got), n, queue, b.name)
	}
	return got
}

// script writes a script of package witness to a file of the test and returns its path.
func script(t testing.TB, name string) string {
	t.Helper()
	source, err := witness.Scripts.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return inFile(t, name, source)
}

// inFile writes content to a file of the test and returns its path.
func inFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const jmsPOM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>lsmtpd</groupId><artifactId>witness</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.qpid</groupId><artifactId>qpid-jms-client</artifactId><version>2.6.1</version></dependency>
  </dependencies>
</project>
`

// installJMS returns the class path of Qpid JMS with our receiver compiled.
func installJMS(ctx context.Context) (string, error) {
	library, err := installed(ctx, jmsArtifact, func(ctx context.Context, dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(jmsPOM), 0o600); err != nil {
			return err
		}
		return maven(ctx, dir, "dependency:copy-dependencies", "-DoutputDirectory="+dir)
	})
	if err != nil {
		return "", err
	}
	source, err := witness.Scripts.ReadFile("Receive.java")
	if err != nil {
		return "", err
	}
	sum := fnv.New64a()
	sum.Write(source)
	jars := filepath.Join(library, "*")
	// The source is in the name, so that a change of it is compiled.
	classes, err := installed(ctx, fmt.Sprintf("witness-jms-%016x", sum.Sum64()), func(ctx context.Context, dir string) error {
		file := filepath.Join(dir, "Receive.java")
		if err := os.WriteFile(file, source, 0o600); err != nil {
			return err
		}
		_, err := runTool(ctx, Command{Path: java("javac"), Args: []string{"-cp", jars, "-d", dir, file}})
		return err
	})
	return classes + string(os.PathListSeparator) + jars, err
}

// installRhea returns the folder node_modules with rhea in it.
func installRhea(ctx context.Context) (string, error) { return npmPackage(ctx, "rhea", rheaVersion) }

// debianPython is the interpreter that has the modules of Debian packages.
const debianPython = "/usr/bin/python3"

func installProton(ctx context.Context) error {
	return debianPackage(ctx, func() error {
		_, err := runTool(ctx, Command{Path: debianPython, Args: []string{"-c", "import proton"}})
		return err
	}, "python3-qpid-proton")
}
