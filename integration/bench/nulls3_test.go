package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// A null store must be one that minio-go cannot tell from S3, as far as Put goes.
func TestNullS3(t *testing.T) {
	ctx := t.Context()
	s, st, stop, err := startNullS3()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	u, err := url.Parse(st.url)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := url.Parse(u.Query().Get("endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := minio.New(endpoint.Host, &minio.Options{Creds: credentials.NewStaticV4(st.accessKey, st.secretKey, ""), Region: "us-east-1", MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		octets int64
	}{{"empty", 0}, {"one request", 1000}, {"parts", 11 << 20}} {
		t.Run(c.name, func(t *testing.T) {
			known := c.octets
			if c.name == "parts" {
				known = -1
			}
			body := io.LimitReader(zeros{}, c.octets)
			if _, err := client.PutObject(ctx, u.Host, "a/b c", body, known, minio.PutObjectOptions{PartSize: 5 << 20, DisableContentSha256: true}); err != nil {
				t.Fatalf("put: %v", err)
			}
			info, err := client.StatObject(ctx, u.Host, "a/b c", minio.StatObjectOptions{})
			if err != nil || info.Size != c.octets {
				t.Errorf("stat: got %d octets, error %v; want %d", info.Size, err, c.octets)
			}
			if got := s.forget(); got != c.octets {
				t.Errorf("forget: got %d octets, want %d", got, c.octets)
			}
			if _, err := client.StatObject(ctx, u.Host, "a/b c", minio.StatObjectOptions{}); minio.ToErrorResponse(err).Code != minio.NoSuchKey {
				t.Errorf("stat of nothing: got %v, want %s", err, minio.NoSuchKey)
			}
		})
	}
	t.Run("unknown upload", func(t *testing.T) {
		core := minio.Core{Client: client}
		_, err := core.PutObjectPart(ctx, u.Host, "key", "upload", 1, bytes.NewReader([]byte("x")), 1, minio.PutObjectPartOptions{})
		if code := minio.ToErrorResponse(err).Code; code != minio.NoSuchUpload {
			t.Errorf("part: got %v, want %s", err, minio.NoSuchUpload)
		}
	})
	t.Run("cut body", func(t *testing.T) {
		cut := errors.New("cut")
		_, err := client.PutObject(context.WithoutCancel(ctx), u.Host, "cut", io.MultiReader(bytes.NewReader([]byte("x")), failing{cut}), 1000, minio.PutObjectOptions{DisableContentSha256: true})
		if err == nil || s.forget() != 0 {
			t.Errorf("put: got %v, want an error and no object", err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// forget empties the store and returns how many octets of objects were in it.
func (s *nullS3) forget() (octets int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.objects {
		octets += n
	}
	clear(s.objects)
	clear(s.uploads)
	return octets
}
