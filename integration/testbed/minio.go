package testbed

import (
	"context"
	"path/filepath"
	"testing"
)

// minioVersion is what the module's @latest was when this was written; the project has no other kind of release tag
// that "go install" understands.
const minioVersion = "v0.0.0-20260212201848-7aac2a2c5b7c"

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
		if s, err := externalS3(bed.ctx, "LSMTPD_TEST_S3"); s != nil || err != nil {
			return s, err
		}
		s, err := startMinIO(bed.ctx)
		if err == nil {
			share(s.Server)
		}
		return s, err
	})
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
	s.DataDir, s.uploads = filepath.Join(server.dir, "data"), minioUploads
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

// minioUploads looks where MinIO has a folder per object, in it one per upload with its description: its API lists
// uploads only for an object whose name is known.
func minioUploads(dataDir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dataDir, ".minio.sys", "multipart", "*", "*", "xl.meta"))
	for i, meta := range found {
		found[i] = filepath.Dir(meta)
	}
	return found, err
}

// installMinIO returns the path of the program.
func installMinIO(ctx context.Context) (string, error) {
	return goProgram(ctx, "github.com/minio/minio", minioVersion)
}
