//go:build integration

package objectstore_test

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"os"
	"testing"

	"lsmtpd/objectstore"
	"lsmtpd/objectstore/storetest"
)

// openReal opens the store at LSMTPD_TEST_S3_URL, as changed.
func openReal(t *testing.T, change func(*objectstore.Config)) objectstore.Store {
	t.Helper()
	pool, err := objectstore.NewPool(32 << 20)
	if err != nil {
		t.Fatal(err)
	}
	cfg := objectstore.Config{
		URL:       os.Getenv("LSMTPD_TEST_S3_URL"),
		AccessKey: os.Getenv("LSMTPD_TEST_S3_ACCESS_KEY"),
		SecretKey: os.Getenv("LSMTPD_TEST_S3_SECRET_KEY"),
		PartBytes: objectstore.MinPartBytes,
		Pool:      pool,
	}
	if cfg.URL == "" {
		t.Skip("LSMTPD_TEST_S3_URL is not set")
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

func TestRealS3(t *testing.T) {
	store := openReal(t, nil)
	storetest.Run(t, func(*testing.T) storetest.Fixture {
		return storetest.Fixture{Store: store, PartBytes: objectstore.MinPartBytes, Replaces: true}
	})
}

func TestRealS3TwentyMegabytes(t *testing.T) {
	store := openReal(t, func(cfg *objectstore.Config) { cfg.PartBytes = objectstore.DefaultPartBytes })
	content := storetest.Content(20_000_000)
	o, err := store.Put(t.Context(), "real/20MB", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if o.Size != 20_000_000 || o.ETag == "" || o.Bucket == "" {
		t.Errorf("Put = %+v", o)
	}
	r, err := store.Get(t.Context(), "real/20MB")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
		t.Errorf("Get: %d octets, %v; want the 20,000,000 that were put", len(got), err)
	}
	if err := store.Delete(t.Context(), "real/20MB"); err != nil {
		t.Error(err)
	}
}

func TestRealS3Refusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*objectstore.Config)
		want   error
	}{
		{"wrong secret", func(cfg *objectstore.Config) { cfg.SecretKey += "x" }, objectstore.ErrDenied},
		{"wrong access key", func(cfg *objectstore.Config) { cfg.AccessKey += "x" }, objectstore.ErrDenied},
		{"no bucket", func(cfg *objectstore.Config) { cfg.URL = bucketURL(t, cfg.URL, "no-such-bucket") }, objectstore.ErrNoBucket},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := openReal(t, c.change)
			if err := store.Check(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("Check: %v; want %v", err, c.want)
			}
			for _, size := range []int64{10, objectstore.MinPartBytes + 1} {
				_, err := store.Put(t.Context(), "real/refused", bytes.NewReader(storetest.Content(size)))
				if !errors.Is(err, c.want) || errors.Is(err, objectstore.ErrUncertain) {
					t.Errorf("Put of %d octets: %v; want %v, and certainty", size, err, c.want)
				}
			}
			if _, err := store.Get(t.Context(), "real/refused"); !errors.Is(err, c.want) {
				t.Errorf("Get: %v; want %v", err, c.want)
			}
		})
	}
}

// bucketURL is the store's URL with another bucket.
func bucketURL(t *testing.T, store, bucket string) string {
	t.Helper()
	u, err := url.Parse(store)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = bucket
	return u.String()
}
