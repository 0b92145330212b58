package testbed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const versityGWVersion = "v1.8.0"

// VersityGW returns the versitygw, an S3 server, that the tests of this test binary share. Its files are a folder per
// bucket in DataDir and in that the objects, each as a file whose path is the key.
func VersityGW(t testing.TB) *S3 {
	t.Helper()
	needMain(t)
	s, err := sharedVersityGW()
	if err == nil {
		err = s.revive()
	}
	if err != nil {
		unavailable(t, "versitygw", err)
	}
	return s
}

// PrivateVersityGW starts a versitygw like the shared one that is the test's own and ends with it.
func PrivateVersityGW(t testing.TB) *S3 {
	t.Helper()
	needMain(t)
	s, err := startVersityGW(t.Context())
	if err != nil {
		unavailable(t, "versitygw", err)
	}
	s.private(t)
	return s
}

func sharedVersityGW() (*S3, error) {
	return bed.versityGW.get(func() (*S3, error) {
		if s, err := externalS3(bed.ctx, "LSMTPD_TEST_VERSITYGW"); s != nil || err != nil {
			return s, err
		}
		s, err := startVersityGW(bed.ctx)
		if err == nil {
			share(s.Server)
		}
		return s, err
	})
}

func startVersityGW(ctx context.Context) (*S3, error) {
	program, err := installVersityGW(ctx)
	if err != nil {
		return nil, err
	}
	server, err := newServer("versitygw")
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
	s.uploads = func(dataDir string) ([]string, error) { return versityGWUploads(filepath.Join(dataDir, s.Bucket)) }
	// What it has to remember of an object is in files, because not every file system has attributes for it.
	sidecar := filepath.Join(server.dir, "sidecar")
	if err := errors.Join(os.Mkdir(s.DataDir, 0o755), os.Mkdir(sidecar, 0o755)); err != nil {
		return nil, err
	}
	server.command = Command{
		Path: program, Dir: server.dir,
		Args: []string{"--port", loopback(port), "--region", s.Region, "posix", "--sidecar", sidecar, s.DataDir},
		Env:  []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey},
	}
	server.ready = s.answers
	return s, server.start(ctx)
}

// versityGWUploads looks where versitygw has a folder per object with unfinished uploads, in it one per upload.
func versityGWUploads(bucket string) ([]string, error) {
	return filepath.Glob(filepath.Join(bucket, ".sgwtmp", "multipart", "*", "*"))
}

// installVersityGW returns the path of the program.
func installVersityGW(ctx context.Context) (string, error) {
	return goProgram(ctx, "github.com/versity/versitygw/cmd/versitygw", versityGWVersion)
}
