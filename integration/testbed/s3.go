package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 is an S3 server with an empty bucket.
type S3 struct {
	*Server

	Endpoint  string // http://127.0.0.1:PORT
	Region    string
	Bucket    string
	AccessKey string
	SecretKey string
	// DataDir is where the server keeps its files; empty for a server from the environment.
	DataDir string

	// uploads finds the unfinished multipart uploads in DataDir.
	uploads func(dataDir string) ([]string, error)
}

// StoreURL returns the value of store.url for objects below prefix, which may be empty.
func (s *S3) StoreURL(prefix string) string {
	u := url.URL{Scheme: "s3", Host: s.Bucket, Path: "/" + prefix}
	u.RawQuery = url.Values{"endpoint": {s.Endpoint}, "region": {s.Region}}.Encode()
	return u.String()
}

// Proxied starts a proxy in front of the server, which ends with the test, and returns the server as it is behind that:
// its Endpoint leads to the proxy.
func (s *S3) Proxied(t testing.TB) (*S3, *Proxy) {
	t.Helper()
	p, through := proxyTo(t, s.Endpoint)
	behind := *s
	behind.Endpoint = through
	return &behind, p
}

// Client returns a client of the server. It tries every request once only, so that tests see what happens.
func (s *S3) Client() (*minio.Client, error) {
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the S3 endpoint %q is not of the form http://HOST:PORT", s.Endpoint)
	}
	return minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		Secure: u.Scheme == "https", Region: s.Region, MaxRetries: 1,
	})
}

// MultipartUploads returns the multipart uploads that were neither completed nor aborted, of all objects, as folders of
// the server's own below DataDir.
func (s *S3) MultipartUploads() ([]string, error) {
	if s.DataDir == "" {
		return nil, fmt.Errorf("list unfinished uploads in the files of the server: %w", ErrExternal)
	}
	return s.uploads(s.DataDir)
}

// externalS3 is the server of the environment variables that begin with prefix; nil where there are none.
func externalS3(ctx context.Context, prefix string) (*S3, error) {
	variable := prefix + "_URL"
	endpoint := os.Getenv(variable)
	if endpoint == "" {
		return nil, nil
	}
	s := newS3(&Server{name: variable}, endpoint)
	s.AccessKey, s.SecretKey = os.Getenv(prefix+"_ACCESS_KEY"), os.Getenv(prefix+"_SECRET_KEY")
	if err := s.answers(ctx); err != nil {
		return nil, fmt.Errorf("the S3 server of %s: %w", variable, err)
	}
	return s, nil
}

func newS3(server *Server, endpoint string) *S3 {
	return &S3{Server: server, Endpoint: endpoint, Region: "us-east-1", Bucket: "lsmtpd-test"}
}

// answers makes the bucket, or finds it.
func (s *S3) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client, err := s.Client()
	if err != nil {
		return err
	}
	err = client.MakeBucket(ctx, s.Bucket, minio.MakeBucketOptions{Region: s.Region})
	if response, ok := errors.AsType[minio.ErrorResponse](err); ok && response.StatusCode == http.StatusConflict {
		_, err = client.BucketExists(ctx, s.Bucket) // ours since the last life of the server
	}
	if err != nil {
		return fmt.Errorf("make the bucket %s: %w", s.Bucket, err)
	}
	return nil
}
