package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"lsmtpd/bridge"
	"lsmtpd/bridge/smtpd"
)

// server is the process that "engine" and "connections" start themselves as: one kind of server that throws away what
// it receives. It says where it listens, and ends with ctx.
func server(ctx context.Context, args []string, out, diag io.Writer) (err error) {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	kind := flags.String("kind", "lsmtpd", "lsmtpd, go-smtp, hash, or sink")
	secure := flags.Bool("tls", false, "listen with implicit TLS (lsmtpd only)")
	sunk := flags.Int("load", 0, "what a sink is sent: the number of a load of engine")
	octets := flags.Int64("octets", 0, "size of large mails")
	profile := flags.String("profile", "", "write a profile of the processor time to this file")
	if err := parse(flags, args, diag); err != nil {
		return err
	}
	if err := raiseFiles(); err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(err, f.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close())
		}()
	}
	memory, stop, err := startMemory()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	say := func(a net.Addr) { fmt.Fprintf(out, "listening=%s memory=%s\n", a, memory) }
	switch *kind {
	case "lsmtpd":
		return serveEngine(ctx, *secure, say)
	case "go-smtp":
		return serveGoSMTP(ctx, say)
	case "hash":
		return serveEach(ctx, hash, say)
	case "sink":
		if loads := engineLoads(*octets); *sunk >= 0 && *sunk < len(loads) {
			return serveEach(ctx, func(c net.Conn) error { return sink(c, loads[*sunk].script) }, say)
		}
	}
	return usageError{fmt.Errorf("server: there is no %s %d", *kind, *sunk)}
}

// serverListening is what a server says.
var serverListening = regexp.MustCompile(`listening=(\S+) memory=(\S+)\n`)

// serverChild is a server in a process of its own.
type serverChild struct {
	*child
	addr   string // of the server
	memory string // address of its report
}

// startServer starts one. args are those of server.
func startServer(ctx context.Context, name string, args ...string) (*serverChild, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := start(name, self, append([]string{"server"}, args...), nil)
	if err != nil {
		return nil, err
	}
	s := &serverChild{child: c}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = c.until(ctx, "listens", func() bool {
		if m := serverListening.FindStringSubmatch(c.log.beginning()); m != nil {
			s.addr, s.memory = m[1], m[2]
		}
		return s.addr != ""
	})
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return s, nil
}

// memoryReport is what Go says of the memory of a server, octets in use after a collection.
type memoryReport struct{ Heap, Stack uint64 }

// startMemory answers every request at an address with a memoryReport, until stop is called.
func startMemory() (addr string, stop func() error, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	return ln.Addr().String(), serveHTTP(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		debug.FreeOSMemory() // after a collection
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_ = json.NewEncoder(w).Encode(memoryReport{m.HeapAlloc, m.StackInuse}) // whoever is gone needs no answer
	})), nil
}

// serveHTTP serves on ln until stop is called.
func serveHTTP(ln net.Listener, h http.Handler) (stop func() error) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: replyTimeout}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	return func() error {
		err := srv.Close()
		if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	}
}

// report asks for the memory.
func (s *serverChild) report(ctx context.Context) (m memoryReport, err error) {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.memory, nil)
	if err != nil {
		return m, err
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return m, fmt.Errorf("memory of %s: %w", s.name, err)
	}
	defer answer.Body.Close()
	return m, json.NewDecoder(answer.Body).Decode(&m)
}

// readBuffer is what the Sessions read into, in octets.
const readBuffer = 64 << 10

// discarded reads r to its end.
func discarded(r io.Reader, buffer *[]byte) (octets int64, err error) {
	if *buffer == nil {
		*buffer = make([]byte, readBuffer)
	}
	for {
		n, err := r.Read(*buffer)
		octets += int64(n)
		if err == io.EOF {
			return octets, nil
		}
		if err != nil {
			return octets, err
		}
	}
}

// discardSession takes mail for the engine, and throws it away. The identifier of a mail is its length.
type discardSession struct{ buffer []byte }

func (*discardSession) Mail(string, *smtp.MailOptions) error { return nil }
func (*discardSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*discardSession) Reset()                               {}

func (s *discardSession) Deliver(_ context.Context, body io.Reader) (string, []error) {
	octets, err := discarded(body, &s.buffer)
	return strconv.FormatInt(octets, 10), []error{err}
}

// serveEngine serves bridge/smtpd with lsmtpd's defaults, but for the limits on connections and transactions.
func serveEngine(ctx context.Context, secure bool, say func(net.Addr)) error {
	cfg := smtpd.Config{
		Listen: []smtpd.Endpoint{{Scheme: "smtp", Network: "tcp", Address: "127.0.0.1:0"}}, Hostname: "mx.example.com",
		MaxMessageBytes: 6 << 30, MaxRecipients: 1000, MaxCommands: 1000, MaxErrors: 50,
		CommandTimeout: 5 * time.Minute, HandshakeTimeout: time.Minute, DataTimeout: 3 * time.Minute, MinRate: 100,
		WriteTimeout: time.Minute, ReplyTimeout: 9 * time.Minute, DrainTimeout: 30 * time.Second, DrainBytes: 64 << 20,
		ShutdownTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	}
	if secure {
		certificate, err := selfSigned()
		if err != nil {
			return err
		}
		cfg.Listen[0].Scheme = "smtps"
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	srv, err := smtpd.Listen(cfg, func(context.Context, bridge.Peer) smtpd.Session { return &discardSession{} })
	if err != nil {
		return err
	}
	say(srv.Addrs()[0])
	return srv.Run(ctx, context.WithoutCancel(ctx))
}

// selfSigned makes a certificate that nobody is to check.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// foreignSession takes mail for go-smtp's server, and throws it away.
type foreignSession struct {
	discardSession
}

// Data replies as the engine does.
func (s *foreignSession) Data(r io.Reader) error {
	octets, err := discarded(r, &s.buffer)
	if err != nil {
		return err
	}
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "queued as " + strconv.FormatInt(octets, 10)}
}

func (*foreignSession) Logout() error { return nil }

// serveGoSMTP serves go-smtp's server, without time limits.
func serveGoSMTP(ctx context.Context, say func(net.Addr)) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &foreignSession{}, nil }))
	srv.Domain = "mx.example.com"
	srv.MaxLineLength = 1 << 20 // of a body, too
	srv.MaxMessageBytes = 6 << 30
	srv.MaxRecipients = 1000
	srv.EnableSMTPUTF8, srv.EnableBINARYMIME = true, true
	say(ln.Addr())
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}

// serveEach serves connections by a function until ctx ends.
func serveEach(ctx context.Context, serve func(net.Conn) error, say func(net.Addr)) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	say(ln.Addr())
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			defer conn.Close()
			_ = serve(conn) // the client sees that it is cut off
		})
	}
}

// hash replies with the SHA-256 of what comes.
func hash(conn net.Conn) error {
	h := sha256.New()
	// A struct of the reader alone: the connection must not be given a buffer of its own choice.
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{conn}, make([]byte, readBuffer)); err != nil {
		return err
	}
	_, err := conn.Write(h.Sum(nil))
	return err
}

// sink reads what a client says by the script, whatever it is, and replies what the script wants: no server can do less.
func sink(conn net.Conn, s script) error {
	in := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, "220 sink\r\n"); err != nil {
		return err
	}
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "250 sink\r\n"); err != nil {
		return err
	}
	buffer := make([]byte, readBuffer)
	for _, st := range s {
		var replies []byte
		for _, want := range st.want {
			replies = append(replies, want...)
			if want[len(want)-1] != '\n' {
				replies = append(replies, " ok\r\n"...)
			}
		}
		for range st.rounds {
			for left := len(st.send); left > 0; {
				n, err := conn.Read(buffer[:min(left, len(buffer))])
				if err != nil {
					return err
				}
				left -= n
			}
			if len(replies) == 0 {
				continue
			}
			if _, err := conn.Write(replies); err != nil {
				return err
			}
		}
	}
	_, err := in.ReadString('\n') // QUIT
	if err == nil {
		_, err = io.WriteString(conn, "221 sink\r\n")
	}
	return err
}
