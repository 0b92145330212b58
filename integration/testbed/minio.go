package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// minioVersion is what the module's @latest was when this was written; the project has no other kind of release tag
// that "go install" understands.
const minioVersion = "v0.0.0-20260212201848-7aac2a2c5b7c"

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
}

// StoreURL returns the value of store.url for objects below prefix, which may be empty.
func (s *S3) StoreURL(prefix string) string {
	u := url.URL{Scheme: "s3", Host: s.Bucket, Path: "/" + prefix}
	u.RawQuery = url.Values{"endpoint": {s.Endpoint}, "region": {s.Region}}.Encode()
	return u.String()
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

// MultipartUploads returns the multipart uploads that were neither completed nor aborted, as folders of MinIO's own
// below DataDir: its API lists them only for an object whose name is known.
func (s *S3) MultipartUploads() ([]string, error) {
	if s.DataDir == "" {
		return nil, fmt.Errorf("list unfinished uploads in the files of the server: %w", ErrExternal)
	}
	// A folder per object, in it one per upload with its description.
	found, err := filepath.Glob(filepath.Join(s.DataDir, ".minio.sys", "multipart", "*", "*", "xl.meta"))
	for i, meta := range found {
		found[i] = filepath.Dir(meta)
	}
	return found, err
}

// MinIO returns the MinIO server that the tests of this test binary share.
func MinIO(t testing.TB) *S3 {
	t.Helper()
	needMain(t)
	s, err := sharedMinIO()
	if err == nil {
		err = s.revive()
	}
	if err != nil {
		unavailable(t, "MinIO", err)
	}
	return s
}

// PrivateMinIO starts a MinIO server like the shared one that is the test's own and ends with it.
func PrivateMinIO(t testing.TB) *S3 {
	t.Helper()
	needMain(t)
	s, err := startMinIO(t.Context())
	if err != nil {
		unavailable(t, "MinIO", err)
	}
	s.private(t)
	return s
}

func sharedMinIO() (*S3, error) {
	return bed.minio.get(func() (*S3, error) {
		const variable = "LSMTPD_TEST_S3_URL"
		if external := os.Getenv(variable); external != "" {
			return externalS3(bed.ctx, variable, external)
		}
		s, err := startMinIO(bed.ctx)
		if err == nil {
			share(s.Server)
		}
		return s, err
	})
}

// externalS3 is a server at an endpoint from the environment variable called variable.
func externalS3(ctx context.Context, variable, endpoint string) (*S3, error) {
	s := newS3(&Server{name: variable}, endpoint)
	s.AccessKey, s.SecretKey = os.Getenv("LSMTPD_TEST_S3_ACCESS_KEY"), os.Getenv("LSMTPD_TEST_S3_SECRET_KEY")
	if err := s.answers(ctx); err != nil {
		return nil, fmt.Errorf("the S3 server of %s: %w", variable, err)
	}
	return s, nil
}

func newS3(server *Server, endpoint string) *S3 {
	return &S3{Server: server, Endpoint: endpoint, Region: "us-east-1", Bucket: "lsmtpd-test"}
}

func startMinIO(ctx context.Context) (*S3, error) {
	program, err := installMinIO(ctx)
	if err != nil {
		return nil, err
	}
	server, err := newServer("minio")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := newS3(server, "http://"+loopback(port))
	s.AccessKey, s.SecretKey = "lsmtpd-test", "lsmtpd-test-secret"
	s.DataDir = filepath.Join(server.dir, "data")
	server.command = Command{
		Path: program, Dir: server.dir,
		Args: []string{"server", s.DataDir, "--address", loopback(port), "--certs-dir", filepath.Join(server.dir, "certs")},
		// Without the browser there is no second port, which would be open on all interfaces.
		Env: []string{"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME=" + server.dir},
	}
	server.ready = s.answers
	return s, server.start(ctx)
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

// installMinIO returns the path of the program.
func installMinIO(ctx context.Context) (string, error) {
	dir, err := installed(ctx, "minio-"+minioVersion, func(ctx context.Context, dir string) error {
		_, err := runTool(ctx, Command{Path: "go", Dir: dir, Args: []string{"install", "github.com/minio/minio@" + minioVersion},
			Env: []string{"GOBIN=" + dir, "CGO_ENABLED=0", "GOFLAGS="}})
		return err
	})
	return filepath.Join(dir, "minio"), err
}
