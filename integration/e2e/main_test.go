//go:build integration

package e2e

import (
	"testing"

	"lsmtpd/integration/testbed"
)

func TestMain(m *testing.M) {
	testbed.Main(m, testbed.ArtemisServer, testbed.BrokerJServer, testbed.MinIOServer)
}
