// Package admin serves what operators and orchestrators ask of a running
// instance over HTTP: /healthz (the process runs), /readyz (it can take mail, or
// why not) and /metrics (Prometheus text format). It has no authentication and
// belongs on a loopback or private address.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Readiness is what /readyz answers. The reasons are empty where a component is well.
type Readiness struct {
	// Ready is true when mail can be taken: the broker can settle it, or the spool can keep it.
	Ready bool `json:"ready"`
	// Broker, Store and Spool say why a component cannot do its work. With the store
	// alone down, mail without large parts still flows. Broker may say something of one that is tried all the same:
	// it ended the link at the last delivery and has accepted nothing since, so the next mail is likely to be refused.
	Broker string `json:"broker,omitempty"`
	Store  string `json:"store,omitempty"`
	Spool  string `json:"spool,omitempty"`
}

const (
	requestTimeout  = 10 * time.Second
	shutdownTimeout = 2 * time.Second
)

// Server answers on one listener.
type Server struct {
	ln   net.Listener
	http http.Server
}

// Listen opens the address, which has the form host:port. Ready is called for
// every request to /readyz and must not block.
func Listen(address string, gather prometheus.Gatherer, ready func() Readiness, log *slog.Logger) (*Server, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: cannot listen on %s: %w; free the port or choose another", address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, map[string]bool{"alive": true}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := ready()
		status := http.StatusOK
		if !r.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, r)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(gather, promhttp.HandlerOpts{}))
	return &Server{ln: ln, http: http.Server{
		Handler: mux, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

// Addr is the address listened on.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Run answers until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("admin: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(grace)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails only when the client is gone
}
