//go:build integration

package faults

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"lsmtpd/integration/testbed"
)

// store is where the objects are, seen without lsmtpd. Keys are as lsmtpd gives them to its store, without a prefix.
type store interface {
	settings() settings
	// keys are those of all objects.
	keys(ctx context.Context) (map[string]bool, error)
	// uploads are the unfinished ones.
	uploads() ([]string, error)
	// key is the key of an object that a message calls so.
	key(inMessage string) (string, error)
	digest(ctx context.Context, key string) (sum string, octets int64, err error)
}

// bucket is the bucket of an S3 server that the round has to itself.
type bucket struct {
	server *testbed.S3
	client *minio.Client
	past   *testbed.S3 // as lsmtpd sees it, maybe through a proxy
}

const prefix = "faults"

// newBucket starts a MinIO of the test's own.
func newBucket(t *testing.T) *bucket {
	t.Helper()
	server := testbed.PrivateMinIO(t)
	client, err := server.Client()
	must(t, err)
	return &bucket{server: server, client: client, past: server}
}

// proxied puts a proxy between lsmtpd and the store.
func (b *bucket) proxied(t *testing.T) (p *testbed.Proxy) {
	t.Helper()
	b.past, p = b.server.Proxied(t)
	return p
}

func (b *bucket) settings() settings {
	return settings{"store.url": b.past.StoreURL(prefix), "store.access_key": b.server.AccessKey, "store.secret_key": b.server.SecretKey}
}

func (b *bucket) keys(ctx context.Context) (map[string]bool, error) {
	all := map[string]bool{}
	for o := range b.client.ListObjects(ctx, b.server.Bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return nil, o.Err
		}
		all[strings.TrimPrefix(o.Key, prefix+"/")] = true
	}
	return all, nil
}

func (b *bucket) uploads() ([]string, error) { return b.server.MultipartUploads() }

func (b *bucket) key(inMessage string) (string, error) {
	key, found := strings.CutPrefix(inMessage, prefix+"/")
	if !found {
		return "", fmt.Errorf("the key %q is not below %s/", inMessage, prefix)
	}
	return key, nil
}

func (b *bucket) digest(ctx context.Context, key string) (string, int64, error) {
	o, err := b.client.GetObject(ctx, b.server.Bucket, prefix+"/"+key, minio.GetObjectOptions{})
	if err != nil {
		return "", 0, err
	}
	defer o.Close()
	return digest(o)
}

func digest(r io.Reader) (string, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// directory is a directory store.
type directory struct{ root string }

func newDirectory(t *testing.T) directory {
	t.Helper()
	return directory{filepath.Join(t.TempDir(), "objects")}
}

func (d directory) settings() settings { return settings{"store.url": "file://" + d.root} }

// files are those whose names end, or do not end, as an unfinished one does.
func (d directory) files(unfinished bool) (list []string, err error) {
	err = filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err): // taken away meanwhile, or not made yet
		case err != nil:
			return err
		case !e.IsDir() && strings.HasSuffix(path, ".part") == unfinished:
			key, err := filepath.Rel(d.root, path)
			list = append(list, key)
			return err
		}
		return nil
	})
	return list, err
}

func (d directory) keys(context.Context) (map[string]bool, error) {
	list, err := d.files(false)
	all := map[string]bool{}
	for _, key := range list {
		all[key] = true
	}
	return all, err
}

func (d directory) uploads() ([]string, error) { return d.files(true) }

func (d directory) key(inMessage string) (string, error) { return inMessage, nil }

func (d directory) digest(_ context.Context, key string) (string, int64, error) {
	f, err := os.Open(filepath.Join(d.root, key))
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return digest(f)
}
