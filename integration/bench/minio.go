package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// minioTimeout bounds the start of MinIO, bucket included.
const minioTimeout = 30 * time.Second

const (
	minioUser     = "lsmtpd-bench"
	minioPassword = "lsmtpd-bench-secret"
	minioBucket   = "lsmtpd-bench"
)

// findMinIO returns the path of the program: in the test bed's cache, which its tests fill, or in PATH.
func findMinIO() (string, error) {
	cache := os.Getenv("LSMTPD_TESTBED_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "lsmtpd-testbed")
	}
	found, err := filepath.Glob(filepath.Join(cache, "minio-*", "minio"))
	if err == nil && len(found) > 0 {
		return slices.Max(found), nil // the versions begin with their date
	}
	path, err := exec.LookPath("minio")
	if err != nil {
		return "", fmt.Errorf("no MinIO in %s, nor in PATH; name one by --minio, or another S3 server by --s3", cache)
	}
	return path, nil
}

// startMinIO starts MinIO with its data in dir, makes a bucket, and returns its store. The caller stops it.
func startMinIO(ctx context.Context, program, dir string) (*child, store, error) {
	port, err := freePort()
	if err != nil {
		return nil, store{}, err
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	c, err := start("minio", program,
		[]string{"server", filepath.Join(dir, "data"), "--address", addr, "--certs-dir", filepath.Join(dir, "certs")},
		[]string{"MINIO_ROOT_USER=" + minioUser, "MINIO_ROOT_PASSWORD=" + minioPassword, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME=" + dir})
	if err != nil {
		return nil, store{}, err
	}
	if err := makeBucket(ctx, c, addr); err != nil {
		return nil, store{}, errors.Join(err, c.stop())
	}
	u := url.URL{Scheme: "s3", Host: minioBucket, Path: "/", RawQuery: url.Values{"endpoint": {"http://" + addr}, "region": {"us-east-1"}}.Encode()}
	return c, store{url: u.String(), accessKey: minioUser, secretKey: minioPassword}, nil
}

// makeBucket waits until the server answers that it has made the bucket.
func makeBucket(ctx context.Context, c *child, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, minioTimeout)
	defer cancel()
	s3, err := minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4(minioUser, minioPassword, ""), Region: "us-east-1", MaxRetries: 1})
	if err != nil {
		return err
	}
	var last error
	err = c.until(ctx, "has a bucket", func() bool {
		last = s3.MakeBucket(ctx, minioBucket, minio.MakeBucketOptions{Region: "us-east-1"})
		return last == nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// freePort returns a port that nothing listens on at 127.0.0.1.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, errors.Join(err, ln.Close())
}
