//go:build integration

package clients

import (
	"testing"

	"lsmtpd/integration/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }
