//go:build integration

package e2e

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"lsmtpd/integration/testbed"
	"lsmtpd/schema"
)

// site is what the program stands between: a broker with a queue, and a store.
type site struct {
	broker  *testbed.AMQPBroker
	queue   string
	objects objects
}

// settings are those of serve for the site.
func (s *site) settings() settings {
	return settings{"broker.url": s.broker.URL, "broker.address": s.broker.Address(s.queue)}.With(s.objects.settings())
}

// objects is a store, seen without lsmtpd.
type objects interface {
	settings() settings
	// open reads an object by what a message says of it.
	open(t *testing.T, o *schema.Stored) io.ReadCloser
	// list returns everything there is, finished objects and unfinished ones; see needUnfinished.
	list(t *testing.T) (finished, unfinished []string)
}

// artemisMinIO is one of the two pairs that every delivery is tried with; the queue and the objects are new.
func artemisMinIO(t *testing.T) *site {
	t.Helper()
	broker := testbed.Artemis(t)
	return &site{broker, broker.Queue(t), newBucket(t)}
}

// brokerJDirectory is the other.
func brokerJDirectory(t *testing.T) *site {
	t.Helper()
	broker := testbed.BrokerJ(t)
	return &site{broker, broker.Queue(t), newDirectory(t)}
}

// eachSite runs a test with both pairs.
func eachSite(t *testing.T, test func(*testing.T, *site)) {
	t.Run("Artemis and MinIO", func(t *testing.T) { test(t, artemisMinIO(t)) })
	t.Run("Broker-J and directory", func(t *testing.T) { test(t, brokerJDirectory(t)) })
}

// directory is a directory store.
type directory struct{ root string }

func newDirectory(t *testing.T) directory {
	t.Helper()
	return directory{filepath.Join(t.TempDir(), "objects")}
}

func (d directory) settings() settings { return settings{"store.url": "file://" + d.root} }

func (d directory) open(t *testing.T, o *schema.Stored) io.ReadCloser {
	t.Helper()
	path := filepath.Join(d.root, filepath.FromSlash(o.Key))
	if o.URL != "file://"+path || o.Bucket != nil || o.ETag != nil || o.VersionID != nil {
		t.Errorf("the object is %+v, want the URL file://%s and nothing of a bucket", o, path)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (d directory) list(t *testing.T) (finished, unfinished []string) {
	t.Helper()
	err := filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err): // taken away meanwhile, or not made yet
		case err != nil:
			return err
		case e.IsDir():
		case strings.HasSuffix(path, ".part"):
			unfinished = append(unfinished, path)
		default:
			finished = append(finished, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return finished, unfinished
}

// bucket is a part of a bucket that no other test uses.
type bucket struct {
	server *testbed.S3
	prefix string
}

func newBucket(t *testing.T) bucket {
	t.Helper()
	return bucket{testbed.MinIO(t), fmt.Sprintf("e2e/%016x", rand.Uint64())}
}

func (b bucket) settings() settings {
	return settings{
		"store.url": b.server.StoreURL(b.prefix), "store.access_key": b.server.AccessKey, "store.secret_key": b.server.SecretKey,
	}
}

// open gets the object by a presigned URL, as anybody could.
func (b bucket) open(t *testing.T, o *schema.Stored) io.ReadCloser {
	t.Helper()
	if o.Bucket == nil || *o.Bucket != b.server.Bucket || !strings.HasPrefix(o.Key, b.prefix+"/") || o.ETag == nil || *o.ETag == "" {
		t.Fatalf("the object is %+v, want it in %s below %s/ with an ETag", o, b.server.Bucket, b.prefix)
	}
	if want := "s3://" + b.server.Bucket + "/" + o.Key; o.URL != want {
		t.Errorf("the object's URL is %s, want %s", o.URL, want)
	}
	u, err := b.client(t).PresignedGetObject(t.Context(), *o.Bucket, o.Key, time.Hour, url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(u.String())
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		t.Fatalf("GET of %s: %s", o.URL, response.Status)
	}
	return response.Body
}

func (b bucket) list(t *testing.T) (finished, unfinished []string) {
	t.Helper()
	options := minio.ListObjectsOptions{Prefix: b.prefix + "/", Recursive: true}
	for o := range b.client(t).ListObjects(t.Context(), b.server.Bucket, options) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		finished = append(finished, o.Key)
	}
	unfinished, err := b.server.MultipartUploads()
	if err != nil && !errors.Is(err, testbed.ErrExternal) {
		t.Fatal(err)
	}
	return finished, unfinished
}

func (b bucket) client(t *testing.T) *minio.Client {
	t.Helper()
	client, err := b.server.Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// needUnfinished skips a test that has to see unfinished uploads: MinIO shows those of all keys in its files alone.
func (s *site) needUnfinished(t *testing.T) {
	t.Helper()
	if b, ok := s.objects.(bucket); ok && b.server.External() {
		t.Skip("SKIP: this needs to see unfinished uploads, which a server from the environment does not show")
	}
}
