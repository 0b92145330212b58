//go:build integration

package store_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/minio/minio-go/v7"

	"lsmtpd/integration/testbed"
	"lsmtpd/objectstore"
	"lsmtpd/objectstore/storetest"
)

func TestMain(m *testing.M) { testbed.Main(m, testbed.MinIOServer, testbed.VersityGWServer) }

// servers runs a test on each S3 server.
func servers(t *testing.T, test func(*testing.T, *testbed.S3)) {
	t.Run("MinIO", func(t *testing.T) { test(t, testbed.MinIO(t)) })
	t.Run("versitygw", func(t *testing.T) { test(t, testbed.VersityGW(t)) })
}

// open opens the store below prefix on the server, as changed.
func open(t *testing.T, server *testbed.S3, prefix string, change func(*objectstore.Config)) objectstore.Store {
	t.Helper()
	pool, err := objectstore.NewPool(32 << 20)
	if err != nil {
		t.Fatal(err)
	}
	cfg := objectstore.Config{
		URL: server.StoreURL(prefix), AccessKey: server.AccessKey, SecretKey: server.SecretKey,
		PartBytes: objectstore.MinPartBytes, Pool: pool,
	}
	if change != nil {
		change(&cfg)
	}
	store, err := objectstore.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// residue lists what is in the server below prefix, and every unfinished upload.
func residue(t *testing.T, server *testbed.S3, prefix string) []string {
	t.Helper()
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for object := range client.ListObjects(t.Context(), server.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if object.Err != nil {
			t.Fatal(object.Err)
		}
		left = append(left, object.Key)
	}
	uploads, err := server.MultipartUploads()
	if err != nil && !errors.Is(err, testbed.ErrExternal) {
		t.Fatal(err)
	}
	return append(left, uploads...)
}

func TestConformance(t *testing.T) { servers(t, testConformance) }

func testConformance(t *testing.T, server *testbed.S3) {
	for name, prefix := range map[string]string{"whole bucket": "", "below a prefix": "conformance/of the store"} {
		t.Run(name, func(t *testing.T) {
			store := open(t, server, prefix, nil)
			storetest.Run(t, func(*testing.T) storetest.Fixture {
				return storetest.Fixture{
					Store: store, PartBytes: objectstore.MinPartBytes, Replaces: true,
					Residue: func(t *testing.T) []string { return residue(t, server, prefix) },
				}
			})
		})
	}
}

// TestDefaultParts has an object of two parts of the default size and a smaller one.
func TestDefaultParts(t *testing.T) { servers(t, testDefaultParts) }

func testDefaultParts(t *testing.T, server *testbed.S3) {
	store := open(t, server, "", func(cfg *objectstore.Config) { cfg.PartBytes = objectstore.DefaultPartBytes })
	const key, size = "parts/20MB", 20_000_000
	content := storetest.Content(size)
	o, err := store.Put(t.Context(), key, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if o.Size != size || o.ETag == "" || o.Bucket != server.Bucket {
		t.Errorf("Put = %+v", o)
	}
	r, err := store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
		t.Errorf("Get: %d octets, %v; want the %d that were put", len(got), err, size)
	}
	if err := store.Delete(t.Context(), key); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) { servers(t, testRefusals) }

func testRefusals(t *testing.T, server *testbed.S3) {
	elsewhere := *server
	elsewhere.Bucket = "no-such-bucket"
	for _, c := range []struct {
		name   string
		change func(*objectstore.Config)
		want   error
	}{
		{"wrong secret key", func(cfg *objectstore.Config) { cfg.SecretKey += "x" }, objectstore.ErrDenied},
		{"wrong access key", func(cfg *objectstore.Config) { cfg.AccessKey += "x" }, objectstore.ErrDenied},
		{"no bucket", func(cfg *objectstore.Config) { cfg.URL = elsewhere.StoreURL("") }, objectstore.ErrNoBucket},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := open(t, server, "", c.change)
			if err := store.Check(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("Check: %v; want %v", err, c.want)
			}
			for _, size := range []int64{10, objectstore.MinPartBytes + 1} {
				_, err := store.Put(t.Context(), "refused", bytes.NewReader(storetest.Content(size)))
				if !errors.Is(err, c.want) || errors.Is(err, objectstore.ErrUncertain) {
					t.Errorf("Put of %d octets: %v; want %v, and certainty", size, err, c.want)
				}
			}
			if _, err := store.Get(t.Context(), "refused"); !errors.Is(err, c.want) {
				t.Errorf("Get: %v; want %v", err, c.want)
			}
		})
	}
}
