package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// Shared names a server that all tests of a test binary share, for Main.
type Shared string

// The servers that Main can start ahead of the first test that asks for them.
const (
	ArtemisServer   Shared = "artemis"
	BrokerJServer   Shared = "broker-j"
	RabbitMQServer  Shared = "rabbitmq"
	MinIOServer     Shared = "minio"
	VersityGWServer Shared = "versitygw"
)

// bed is what one test binary shares: servers cost seconds, so that they must be common to tests that know nothing of
// each other, and that is why it is a variable of the package.
var bed struct {
	running atomic.Bool     // Main has been called
	ctx     context.Context // of Main: what is done for all tests ends with it
	ports   sync.Map        // ports given by freePort

	dir       lazy[*runDir]
	certs     lazy[*Certs]
	artemis   lazy[*AMQPBroker]
	brokerJ   lazy[*AMQPBroker]
	rabbitMQ  lazy[*AMQPBroker]
	minio     lazy[*S3]
	versityGW lazy[*S3]
	apt       lazy[bool]   // apt-get update has been run
	exim      lazy[string] // the folder of a copy that it can start itself from

	binary, failpoints lazy[string] // lsmtpd, as built by Build and BuildFailpoints

	mu      sync.Mutex
	servers []*Server // shared ones, to be ended by Main
}

// lazy is a value made when it is first asked for. The first answer stays, also when it is an error.
type lazy[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (l *lazy[T]) get(build func() (T, error)) (T, error) {
	l.once.Do(func() { l.value, l.err = build() })
	return l.value, l.err
}

// Main runs the tests of a test binary, ends the servers they shared, removes their data, and exits the program. A
// TestMain consists of a call of it. The servers named are started at once, beside each other and beside the first
// tests.
func Main(m *testing.M, ahead ...Shared) { os.Exit(run(m, ahead)) }

func run(m *testing.M, ahead []Shared) (code int) {
	ctx, cancel := context.WithCancel(context.Background())
	bed.ctx = ctx
	bed.running.Store(true)
	var starting sync.WaitGroup
	for _, s := range ahead {
		// An error is kept for the test that asks for the server.
		starting.Go(func() { _ = s.start() })
	}
	defer func() {
		cancel()
		starting.Wait()
		if err := endShared(code != 0); err != nil {
			fmt.Fprintln(os.Stderr, "testbed:", err)
			code = max(code, 1)
		}
	}()
	return m.Run()
}

func (s Shared) start() (err error) {
	switch s {
	case ArtemisServer:
		_, err = sharedArtemis()
	case BrokerJServer:
		_, err = sharedBrokerJ()
	case RabbitMQServer:
		_, err = sharedRabbitMQ()
	case MinIOServer:
		_, err = sharedMinIO()
	case VersityGWServer:
		_, err = sharedVersityGW()
	default:
		panic(fmt.Sprintf("testbed.Main: no server is called %q", s))
	}
	return err
}

// endShared kills the shared servers (their data goes with them, so that there is nothing to end in good order) and
// removes the data. Where the tests failed, it shows the end of each log.
func endShared(failed bool) error {
	bed.mu.Lock()
	defer bed.mu.Unlock()
	var errs []error
	for _, s := range bed.servers {
		if failed {
			fmt.Fprintf(os.Stderr, "testbed: the log of %s ended:\n%s\n", s.name, tail(s.Log(), 2048))
		}
		errs = append(errs, s.Kill())
	}
	dir, err := bed.dir.get(func() (*runDir, error) { return nil, nil }) // nil unless a server has used it
	if err == nil && dir != nil {
		errs = append(errs, dir.remove())
	}
	return errors.Join(errs...)
}

// share has Main end s.
func share(s *Server) {
	bed.mu.Lock()
	defer bed.mu.Unlock()
	bed.servers = append(bed.servers, s)
}

// needMain fails a test whose binary would leave servers and data behind.
func needMain(t testing.TB) {
	t.Helper()
	if !bed.running.Load() {
		t.Fatal("this test uses servers of the testbed: its package needs func TestMain(m *testing.M) { testbed.Main(m) }")
	}
}

// unavailable ends a test that cannot have what it needs: it is skipped, or fails where LSMTPD_TESTBED_REQUIRED says
// that everything is to be there.
func unavailable(t testing.TB, what string, err error) {
	t.Helper()
	if os.Getenv("LSMTPD_TESTBED_REQUIRED") == "1" {
		t.Fatalf("%s is not available: %v", what, err)
	}
	// Once more where it is seen without -v.
	fmt.Fprintf(os.Stderr, "SKIP: %s: %s is not available: %v\n", t.Name(), what, err)
	t.Skipf("SKIP: %s is not available: %v (LSMTPD_TESTBED_REQUIRED=1 makes this a failure)", what, err)
}

// runDir is the folder of one run of a test binary, with the data of its servers. Its lock file is locked as long as
// the test binary lives, so that the next one can tell what a killed one has left.
type runDir struct {
	path string
	lock *os.File
}

const runDirPattern = "lsmtpd-testbed-run-*"

func sharedDir() (*runDir, error) {
	return bed.dir.get(func() (*runDir, error) {
		if err := sweepRunDirs(); err != nil {
			return nil, err
		}
		path, err := os.MkdirTemp("", runDirPattern)
		if err != nil {
			return nil, err
		}
		// Servers that drop the rights of root must reach their folders; what else is in it stays hidden.
		if err := os.Chmod(path, 0o711); err != nil {
			return nil, err
		}
		lock, err := tryLock(filepath.Join(path, "lock"))
		if err != nil {
			return nil, err
		}
		return &runDir{path: path, lock: lock}, nil
	})
}

// sweepRunDirs removes the folders of test binaries that were killed.
func sweepRunDirs() error {
	locks, err := filepath.Glob(filepath.Join(os.TempDir(), runDirPattern, "lock"))
	if err != nil {
		return err
	}
	for _, name := range locks {
		lock, err := tryLock(name)
		if err != nil {
			continue // in use, or somebody else's
		}
		err = os.RemoveAll(filepath.Dir(name))
		lock.Close()
		if err != nil {
			return fmt.Errorf("remove the data of a killed run: %w", err)
		}
	}
	return nil
}

func (d *runDir) remove() error {
	defer d.lock.Close()
	return os.RemoveAll(d.path)
}

// serverDir makes the folder of a new server.
func serverDir(name string) (string, error) {
	run, err := sharedDir()
	if err != nil {
		return "", fmt.Errorf("make a folder for the data of %s: %w", name, err)
	}
	return os.MkdirTemp(run.path, name+"-")
}
