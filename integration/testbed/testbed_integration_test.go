//go:build integration

package testbed

import "testing"

func TestMain(m *testing.M) { Main(m, ArtemisServer, BrokerJServer, MinIOServer) }

func TestX(t *testing.T) {
	a, b, s := Artemis(t), BrokerJ(t), MinIO(t)
	t.Log(a.URL, b.URL, s.StoreURL("x"), a.Pid(), b.Pid())
	for _, x := range []*Server{a.Server, b.Server, s.Server} {
		t.Log(x.PeakRSS())
		t.Log(x.Kill(), x.Start(), x.Stop(), x.Start())
	}
}
