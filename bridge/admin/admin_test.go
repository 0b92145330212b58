package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"lsmtpd/bridge/admin"
)

func TestAnswers(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lsmtpd_test"}, func() float64 { return 7 }))
	var state admin.Readiness
	s, err := admin.Listen("127.0.0.1:0", reg, func() admin.Readiness { return state }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	defer wg.Wait()
	defer cancel()
	tests := []struct {
		path   string
		state  admin.Readiness
		status int
		want   string
	}{
		{"/healthz", admin.Readiness{}, 200, "alive"},
		{"/readyz", admin.Readiness{Ready: true}, 200, `{"ready":true}`},
		{"/readyz", admin.Readiness{Broker: "refused"}, 503, `{"ready":false,"broker":"refused"}`},
		{"/readyz", admin.Readiness{Ready: true, Store: "down"}, 200, `{"ready":true,"store":"down"}`},
		{"/metrics", admin.Readiness{}, 200, "lsmtpd_test 7"},
		{"/", admin.Readiness{}, 404, "not found"},
	}
	for _, tc := range tests {
		state = tc.state
		r, err := http.Get("http://" + s.Addr().String() + tc.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != tc.status || !strings.Contains(string(body), tc.want) {
			t.Errorf("GET %s: %d %s %v; want %d with %s", tc.path, r.StatusCode, body, err, tc.status, tc.want)
		}
	}
	if _, err := admin.Listen(s.Addr().String(), reg, nil, nil); err == nil || !strings.Contains(err.Error(), "admin.listen") {
		t.Errorf("second listener: %v, want an error that names admin.listen", err)
	}
}
