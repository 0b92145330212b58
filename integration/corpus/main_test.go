//go:build integration

package corpus

import (
	"testing"

	"lsmtpd/integration/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m, testbed.ArtemisServer, testbed.MinIOServer) }
