package testbed

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreePort returns a TCP port that nothing listens on at 127.0.0.1.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// freePort draws from below 32768, where Linux begins to number outgoing connections: such a connection cannot take
// the port between this look and its use, nor while its server is stopped. The draw is random so that test binaries
// running at the same time do not meet, and no port is given twice by the same one.
func freePort() (int, error) {
	var last error
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		if _, taken := bed.ports.LoadOrStore(port, true); taken {
			continue
		}
		ln, err := net.Listen("tcp", loopback(port))
		if err != nil {
			last = err
			continue
		}
		return port, ln.Close()
	}
	return 0, fmt.Errorf("find a free port on loopback: %w", last)
}

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		ports[i] = port
	}
	return ports, nil
}

// loopback returns host:port of a port on loopback.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
