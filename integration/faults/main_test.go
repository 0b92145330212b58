//go:build integration

package faults

import (
	"flag"
	"testing"

	"lsmtpd/integration/testbed"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Most of a round's time is waiting.
	if f := flag.Lookup("test.parallel"); f.Value.String() == "2" || f.Value.String() == "1" {
		_ = f.Value.Set("3") // a number
	}
	testbed.Main(m, testbed.ArtemisServer, testbed.RabbitMQServer, testbed.BrokerJServer)
}
