package objectstore

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

const (
	// MinPartBytes and MaxPartBytes are S3's limits for a part of a multipart upload.
	MinPartBytes = 5 << 20
	MaxPartBytes = 5 << 30
	// DefaultPartBytes is the size of the first thousand parts.
	DefaultPartBytes = 8 << 20
	// DefaultRequestTimeout bounds one request without a body.
	DefaultRequestTimeout = 30 * time.Second
)

// Config says where objects are kept. The names in its errors are those of the settings.
type Config struct {
	// URL (store.url) is file:///var/lib/lsmtpd/objects, or
	// s3://BUCKET/PREFIX?endpoint=http://127.0.0.1:9000&region=us-east-1. PREFIX may be empty.
	// Without endpoint it is Amazon S3, and region must be given; with one, region defaults to
	// us-east-1. checksum=none leaves out the CRC32C, for a server that refuses it.
	URL string
	// AccessKey and SecretKey (store.access_key, store.secret_key) sign the requests. Both empty:
	// the standard chain, which is the environment (AWS_..., then MINIO_...), the AWS credentials
	// file, and the role of the machine.
	AccessKey, SecretKey string
	// PartBytes (store.part_bytes) is the size of a part in octets, from MinPartBytes to
	// MaxPartBytes, and at most the capacity of Pool. Zero means DefaultPartBytes.
	PartBytes int64
	// Pool (store.memory) lends the buffers of S3 uploads; a directory needs none.
	Pool *Pool
	// RequestTimeout bounds each attempt of a request to S3; one that carries octets gets 4 s more
	// for each MiB. A request is tried up to four times, in at most twice that time. It also
	// bounds the clean-up after a failure, and each wait for octets in Get. Zero means
	// DefaultRequestTimeout.
	RequestTimeout time.Duration
}

// Open makes the store that cfg describes. It checks cfg but connects to nothing and creates nothing.
func Open(cfg Config) (Store, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		// The text of a *url.Error repeats the URL, which may hold a password.
		var reason *url.Error
		if errors.As(err, &reason) {
			err = reason.Err
		}
		return nil, fmt.Errorf("store.url: not a URL (%w); want %s", err, urlForms)
	}
	if u.User != nil {
		return nil, errors.New("store.url: holds a user name or password; give them as store.access_key and store.secret_key")
	}
	if u.Fragment != "" {
		return nil, errors.New(`store.url: has a fragment; write "#" as %23`)
	}
	switch u.Scheme {
	case "file":
		return openDir(u)
	case "s3":
		return openS3(cfg, u)
	case "":
		return nil, fmt.Errorf("store.url: %q has no scheme; want %s", cfg.URL, urlForms)
	default:
		return nil, fmt.Errorf("store.url: unknown scheme %q; want %s", u.Scheme, urlForms)
	}
}

const urlForms = "file:///DIRECTORY or s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION"

func openDir(u *url.URL) (Store, error) {
	switch {
	case u.Host != "" && u.Host != "localhost":
		return nil, fmt.Errorf("store.url: file://%s names a host; want three slashes, file:///DIRECTORY", u.Host)
	case u.RawQuery != "":
		return nil, errors.New(`store.url: a file URL takes no parameters; write "?" as %3F`)
	case u.Path == "" || !strings.HasPrefix(u.Path, "/"):
		return nil, errors.New("store.url: names no directory; want file:///DIRECTORY")
	}
	root := filepath.Clean(filepath.FromSlash(u.Path))
	if root == string(filepath.Separator) {
		return nil, errors.New("store.url: is the root of the file system; want a directory of its own, file:///DIRECTORY")
	}
	return NewDir(root), nil
}
