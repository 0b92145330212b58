//go:build unix

package smtpd

import (
	"io"
	"net"
	"testing"
	"time"
)

// tcpPair is a connection over TCP, as the server has it and as its client has it.
func tcpPair(t *testing.T) (server *conn, client *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	_ = accepted.SetDeadline(time.Now().Add(time.Minute))
	return newConn(accepted, &Config{}), nc.(*net.TCPConn)
}

// A client that is still there, or has only closed its half, has not reset the connection, whatever is left to be read of
// it; one that has, has, whatever is left.
func TestIsReset(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "octets left to be read": "NOOP\r\n"} {
		t.Run(name, func(t *testing.T) {
			c, client := tcpPair(t)
			if _, err := client.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if c.isReset() {
				t.Error("a client that is there counts as gone")
			}
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			read := make([]byte, max(len(text)-1, 1)) // with the FIN behind it, where text is empty
			if n, err := io.ReadFull(c.socket, read); n == 0 && err != io.EOF {
				t.Fatal(err)
			}
			if c.isReset() {
				t.Error("a client that has closed its half counts as gone")
			}
			if err := client.SetLinger(0); err != nil {
				t.Fatal(err)
			}
			client.Close()
			deadline := time.Now().Add(20 * time.Second)
			for tick := time.NewTicker(time.Millisecond); !c.isReset(); <-tick.C {
				if time.Now().After(deadline) {
					t.Fatal("a client that has reset the connection counts as there")
				}
			}
		})
	}
}
