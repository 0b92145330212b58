package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

const (
	// maxIdleConns lets as many requests at once keep their connections.
	maxIdleConns = 64
	// writeBufferBytes is what one write to a connection carries; the transport's own is 4 KiB.
	writeBufferBytes = 64 << 10
	// dialTimeout bounds the connecting within a request.
	dialTimeout = 10 * time.Second
	// credentialsTimeout bounds the question for the role of a machine that has none.
	credentialsTimeout = 5 * time.Second
)

// S3 keeps objects in a bucket.
type S3 struct {
	core           *minio.Core
	bucket, prefix string // prefix is empty or ends in a slash
	pool           *Pool
	partBytes      int64
	maxParts       int
	checksum       bool
	timeout        time.Duration
	slowest        int64     // octets a second that a request is given time for
	together       *claimant // of uploads that are fed together; nil where each is fed alone
}

func openS3(cfg Config, u *url.URL) (*S3, error) {
	s := &S3{bucket: u.Host, pool: cfg.Pool, partBytes: cfg.PartBytes, timeout: cfg.RequestTimeout, slowest: slowestRate, maxParts: maxParts}
	if s.partBytes == 0 {
		s.partBytes = DefaultPartBytes
	}
	if s.timeout == 0 {
		s.timeout = DefaultRequestTimeout
	}
	if err := s3utils.CheckValidBucketNameStrict(s.bucket); err != nil {
		return nil, fmt.Errorf("store.url: bucket %q: %w; want s3://BUCKET/PREFIX", s.bucket, err)
	}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		if err := checkKey(prefix); err != nil {
			return nil, fmt.Errorf("store.url: prefix: %w", err)
		}
		s.prefix = prefix + "/"
	}
	if s.partBytes < MinPartBytes || s.partBytes > MaxPartBytes {
		return nil, fmt.Errorf("store.part_bytes: %d is out of range; want %d to %d", s.partBytes, MinPartBytes, int64(MaxPartBytes))
	}
	if s.timeout < 0 {
		return nil, fmt.Errorf("store: request timeout %v is negative", s.timeout)
	}
	if err := s.pool.checkPart(s.partBytes); err != nil {
		return nil, err
	}
	where, err := parseEndpoint(u.RawQuery)
	if err != nil {
		return nil, err
	}
	s.checksum = where.checksum
	keys, err := signingKeys(cfg)
	if err != nil {
		return nil, err
	}
	s.core, err = minio.NewCore(where.host, &minio.Options{
		Creds:     keys,
		Secure:    where.secure,
		Region:    where.region,
		Transport: newTransport(),
		// One attempt: try does the retrying, which knows what an unanswered request may have left.
		MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("store.url: endpoint: %w", err)
	}
	return s, nil
}

// endpoint is what the parameters of an s3 URL say.
type endpoint struct {
	host, region string
	secure       bool
	checksum     bool
}

func parseEndpoint(query string) (endpoint, error) {
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return endpoint{}, fmt.Errorf("store.url: parameters: %w", err)
	}
	for name, values := range parameters {
		if name != "endpoint" && name != "region" && name != "checksum" {
			return endpoint{}, fmt.Errorf("store.url: unknown parameter %q; want endpoint, region or checksum", name)
		}
		if len(values) > 1 {
			return endpoint{}, fmt.Errorf("store.url: parameter %s is given %d times; want it once", name, len(values))
		}
	}
	e := endpoint{host: "s3.amazonaws.com", secure: true, region: parameters.Get("region")}
	switch checksum := parameters.Get("checksum"); checksum {
	case "", "crc32c":
		e.checksum = true
	case "none":
	default:
		return endpoint{}, fmt.Errorf("store.url: unknown checksum %q; want crc32c or none", checksum)
	}
	if !parameters.Has("endpoint") {
		if e.region == "" {
			return endpoint{}, errors.New("store.url: neither endpoint nor region; want region=REGION for Amazon S3, or endpoint=http://HOST:PORT")
		}
		return e, nil
	}
	u, err := url.Parse(parameters.Get("endpoint"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, errors.New("store.url: endpoint is not a plain address; want endpoint=http://HOST:PORT or endpoint=https://HOST:PORT")
	}
	e.host, e.secure = u.Host, u.Scheme == "https"
	if e.region == "" {
		e.region = "us-east-1" // what servers other than Amazon's expect; given, it saves asking for it
	}
	return e, nil
}

func signingKeys(cfg Config) (*credentials.Credentials, error) {
	switch {
	case cfg.AccessKey != "" && cfg.SecretKey != "":
		return credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""), nil
	case cfg.AccessKey != "":
		return nil, errors.New("store.secret_key: is empty, but store.access_key is set; want both or neither")
	case cfg.SecretKey != "":
		return nil, errors.New("store.access_key: is empty, but store.secret_key is set; want both or neither")
	}
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{},
		&credentials.EnvMinio{},
		&credentials.FileAWSCredentials{},
		&credentials.IAM{Client: &http.Client{Transport: newTransport(), Timeout: credentialsTimeout}},
	}), nil
}

// newTransport has no time-out for the response's header: every request has a deadline of its own,
// and completing a large object may take long.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConns:          4 * maxIdleConns,
		MaxIdleConnsPerHost:   maxIdleConns,
		IdleConnTimeout:       time.Minute,
		WriteBufferSize:       writeBufferBytes,
		DisableCompression:    true,
	}
}

// name is the full key in the bucket.
func (s *S3) name(key string) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	return s.prefix + key, checkKey(s.prefix + key)
}

// Together implements Store.
func (s *S3) Together() Store {
	t := *s
	t.together = &claimant{claim: 2 * slabsFor(s.partBytes)}
	return &t
}

// buffer returns an empty buffer for a part of an upload.
func (s *S3) buffer(limit int64) *buffer {
	b := s.pool.buffer(limit)
	if s.together != nil {
		b.claimant = s.together
	}
	return b
}

// Get implements Store.
func (s *S3) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	name, err := s.name(key)
	if err != nil {
		return nil, fmt.Errorf("objectstore: get: %w", err)
	}
	// The request lives as long as its body is read, so its deadline is a watchdog.
	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	watchdog := time.AfterFunc(s.timeout, func() {
		cancel(fmt.Errorf("%w: no answer within %v", ErrUnavailable, s.timeout))
	})
	octets, _, _, err := s.core.GetObject(ctx, s.bucket, name, minio.GetObjectOptions{})
	if err != nil {
		watchdog.Stop()
		defer cancel(nil)
		if parent.Err() != nil {
			return nil, fmt.Errorf("objectstore: get %s: %w", name, context.Cause(parent))
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("objectstore: get %s: %w", name, s.fault(err))
	}
	return &download{octets: octets, ctx: ctx, cancel: cancel, watchdog: watchdog, timeout: s.timeout}, nil
}

// download is the body of a GET that ends when no octet arrives for too long.
type download struct {
	octets   io.ReadCloser
	ctx      context.Context
	cancel   context.CancelCauseFunc
	watchdog *time.Timer
	timeout  time.Duration
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	d.watchdog.Reset(d.timeout)
	n, err := d.octets.Read(p)
	// Nobody waits for octets while the caller works on these.
	d.watchdog.Stop()
	if err != nil && err != io.EOF && d.ctx.Err() != nil {
		err = context.Cause(d.ctx)
	}
	return n, err
}

// Close implements io.Closer.
func (d *download) Close() error {
	d.watchdog.Stop()
	d.cancel(nil)
	return d.octets.Close()
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, key string) error {
	name, err := s.name(key)
	if err != nil {
		return fmt.Errorf("objectstore: delete: %w", err)
	}
	if err := s.remove(ctx, name); err != nil {
		return fmt.Errorf("objectstore: delete %s: %w", name, err)
	}
	return nil
}

func (s *S3) remove(ctx context.Context, name string) error {
	err := s.try(ctx, s.timeout, func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.bucket, name, minio.RemoveObjectOptions{})
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Check implements Store. It aborts a multipart upload that does not exist: the server answers so
// only to somebody who knows the keys, and who may write in a bucket that exists.
func (s *S3) Check(ctx context.Context) error {
	err := s.try(ctx, s.timeout, func(ctx context.Context) error {
		return s.core.AbortMultipartUpload(ctx, s.bucket, s.prefix+"lsmtpd-check", "lsmtpd-check")
	})
	var answer *fault
	if errors.As(err, &answer) && answer.code == noSuchUpload {
		return nil
	}
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("endpoint in store.url does not answer as S3 does: %w", err)
	}
	if err != nil {
		return fmt.Errorf("objectstore: check bucket %s: %w", s.bucket, err)
	}
	return nil
}

// Abandoned implements Store.
func (s *S3) Abandoned(ctx context.Context, prefix string) ([]Leftover, error) {
	var left []Leftover
	var keyMarker, idMarker string
	for {
		var page minio.ListMultipartUploadsResult
		err := s.try(ctx, s.timeout, func(ctx context.Context) (err error) {
			page, err = s.core.ListMultipartUploads(ctx, s.bucket, s.prefix+prefix, keyMarker, idMarker, "", 1000)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("objectstore: list uploads of %s: %w", s.prefix+prefix, err)
		}
		for _, u := range page.Uploads {
			key, ok := strings.CutPrefix(u.Key, s.prefix)
			if ok && strings.HasPrefix(key, prefix) {
				left = append(left, Leftover{Key: key, UploadID: u.UploadID, Started: u.Initiated})
			}
		}
		if !page.IsTruncated || (page.NextKeyMarker == keyMarker && page.NextUploadIDMarker == idMarker) {
			return left, nil
		}
		keyMarker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

// Abort implements Store.
func (s *S3) Abort(ctx context.Context, l Leftover) error {
	name, err := s.name(l.Key)
	if err != nil {
		return fmt.Errorf("objectstore: abort: %w", err)
	}
	if err := s.abort(ctx, name, l.UploadID); err != nil {
		return fmt.Errorf("objectstore: abort upload of %s: %w", name, err)
	}
	return nil
}

func (s *S3) abort(ctx context.Context, name, id string) error {
	err := s.try(ctx, s.timeout, func(ctx context.Context) error {
		return s.core.AbortMultipartUpload(ctx, s.bucket, name, id)
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
