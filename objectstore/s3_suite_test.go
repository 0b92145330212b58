package objectstore_test

import (
	"testing"

	"lsmtpd/objectstore"
	"lsmtpd/objectstore/storetest"
)

func TestS3(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Fixture {
		store, residue := objectstore.NewFakeS3ForTest(t)
		return storetest.Fixture{Store: store, PartBytes: objectstore.MinPartBytes, Replaces: true, Residue: residue}
	})
}
