package objectstore

import (
	"errors"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	pool := testPool(64)
	for _, url := range []string{
		"file:///var/lib/lsmtpd/objects", "file://localhost/var/objects", "file:///a%20b",
		"s3://mail?region=eu-central-1", "s3://mail/?region=eu-central-1", "s3://mail/some/prefix/?endpoint=http://127.0.0.1:9000",
		"s3://mail?endpoint=https://s3.example.com/&region=x&checksum=none", "s3://mail?endpoint=http://[::1]:9000&checksum=crc32c",
	} {
		if s, err := Open(Config{URL: url, AccessKey: "a", SecretKey: "s", Pool: pool}); s == nil || err != nil {
			t.Errorf("Open(%q): %v", url, err)
		}
	}
	// Nothing is asked of anybody before the first request.
	if _, err := Open(Config{URL: "s3://mail?region=us-east-1", Pool: pool}); err != nil {
		t.Errorf("Open without keys: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	const local = "s3://mail?endpoint=http://127.0.0.1:9000"
	pool := testPool(32) // 8 MiB
	for _, c := range []struct {
		name  string
		cfg   Config
		wants []string // in the error
	}{
		{"empty", Config{}, []string{"store.url", "no scheme", "file:///"}},
		{"a path", Config{URL: "/var/objects"}, []string{"store.url", "no scheme"}},
		{"unknown scheme", Config{URL: "gs://mail"}, []string{"store.url", `"gs"`, "s3://"}},
		{"no URL", Config{URL: "s3://ma il:secret@%zz"}, []string{"store.url", "not a URL"}},
		{"password", Config{URL: "s3://key:hush@mail"}, []string{"store.url", "store.secret_key"}},
		{"fragment", Config{URL: "file:///a#b"}, []string{"store.url", "%23"}},
		{"file with a host", Config{URL: "file://var/objects"}, []string{"store.url", "var", "file:///"}},
		{"file without a directory", Config{URL: "file://"}, []string{"store.url", "no directory"}},
		{"root of the file system", Config{URL: "file:///"}, []string{"store.url", "root of the file system"}},
		{"file with parameters", Config{URL: "file:///a?b=c"}, []string{"store.url", "%3F"}},
		{"no bucket", Config{URL: "s3:///prefix?region=x", Pool: pool}, []string{"store.url", "s3://BUCKET"}},
		{"bad bucket", Config{URL: "s3://Mail_Box?region=x", Pool: pool}, []string{"store.url", "Mail_Box"}},
		{"bad prefix", Config{URL: "s3://mail/a//b?region=x", Pool: pool}, []string{"store.url", "prefix", "empty element"}},
		{"prefix that climbs", Config{URL: "s3://mail/../b?region=x", Pool: pool}, []string{"store.url", "prefix", ".."}},
		{"neither endpoint nor region", Config{URL: "s3://mail", Pool: pool}, []string{"store.url", "region=REGION", "endpoint="}},
		{"endpoint without scheme", Config{URL: "s3://mail?endpoint=127.0.0.1:9000", Pool: pool}, []string{"store.url", "endpoint", "http://HOST:PORT"}},
		{"endpoint with a path", Config{URL: "s3://mail?endpoint=http://h/x", Pool: pool}, []string{"store.url", "endpoint"}},
		{"endpoint with a password", Config{URL: "s3://mail?endpoint=http://u:hush@h", Pool: pool}, []string{"store.url", "endpoint"}},
		{"unknown parameter", Config{URL: local + "&tls=off", Pool: pool}, []string{"store.url", `"tls"`, "endpoint, region or checksum"}},
		{"parameter twice", Config{URL: local + "&region=a&region=b", Pool: pool}, []string{"store.url", "region", "2 times"}},
		{"unknown checksum", Config{URL: local + "&checksum=md5", Pool: pool}, []string{"store.url", `"md5"`, "crc32c"}},
		{"broken parameters", Config{URL: local + "&a=%zz", Pool: pool}, []string{"store.url", "parameters"}},
		{"half the keys", Config{URL: local, AccessKey: "a", Pool: pool}, []string{"store.secret_key", "both or neither"}},
		{"the other half", Config{URL: local, SecretKey: "hush", Pool: pool}, []string{"store.access_key", "both or neither"}},
		{"part too small", Config{URL: local, PartBytes: MinPartBytes - 1, Pool: pool}, []string{"store.part_bytes", "5242880"}},
		{"part too large", Config{URL: local, PartBytes: MaxPartBytes + 1, Pool: pool}, []string{"store.part_bytes", "5368709120"}},
		{"part larger than the pool", Config{URL: local, PartBytes: 8<<20 + 1, Pool: pool}, []string{"store.memory", "store.part_bytes", "8650752"}},
		{"no pool", Config{URL: local}, []string{"store.memory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(c.cfg)
			if err == nil {
				t.Fatalf("Open(%+v) = %v, nil; want an error", c.cfg, s)
			}
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Open(%+v): %q does not say %q", c.cfg, err, want)
				}
			}
			if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "secret@") {
				t.Errorf("Open: %q tells a secret", err)
			}
		})
	}
}

func TestPartLimit(t *testing.T) {
	for _, c := range []struct {
		name          string
		part          int64
		slabs         int
		number        int
		limit, object int64
	}{
		{"first", 8 << 20, 256, 1, 8 << 20, 8000<<20 + 16000<<20 + 8*32000<<20},
		{"last of its size", 8 << 20, 256, 1000, 8 << 20, 8000<<20 + 16000<<20 + 8*32000<<20},
		{"doubled", 8 << 20, 256, 1001, 16 << 20, 8000<<20 + 16000<<20 + 8*32000<<20},
		{"up to half of the pool", 8 << 20, 256, 9999, 32 << 20, 8000<<20 + 16000<<20 + 8*32000<<20},
		{"never below the first", 8 << 20, 32, 10000, 8 << 20, 80000 << 20},
		{"never above S3's limits", 5 << 30, 1 << 20, 10000, 5 << 30, 5 << 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &S3{partBytes: c.part, pool: testPool(c.slabs), maxParts: maxParts}
			if got := s.partLimit(c.number); got != c.limit {
				t.Errorf("part %d: %d octets; want %d", c.number, got, c.limit)
			}
			if got := s.MaxObjectBytes(); got != c.object {
				t.Errorf("largest object: %d octets; want %d", got, c.object)
			}
		})
	}
}

// Of uploads that are fed together, the parts do not grow.
func TestPartLimitTogether(t *testing.T) {
	s := (&S3{partBytes: 8 << 20, pool: testPool(256), maxParts: maxParts}).Together().(*S3)
	if got := s.partLimit(9999); got != 8<<20 {
		t.Errorf("part 9999: %d octets; want 8 MiB", got)
	}
	if got := s.MaxObjectBytes(); got != 80000<<20 {
		t.Errorf("largest object: %d octets; want 80000 MiB", got)
	}
	if got := MaxTogetherBytes(8 << 20); got != s.MaxObjectBytes() {
		t.Errorf("MaxTogetherBytes: %d octets; want the same", got)
	}
	if got := TogetherBytes(8<<20 + 1); got != 16<<20+2*SlabBytes {
		t.Errorf("memory for parts of 8 MiB and an octet: %d octets", got)
	}
}

func TestSourceErrors(t *testing.T) {
	for _, n := range []int{-1, 11} {
		s := &source{r: readerFunc(func([]byte) (int, error) { return n, nil })}
		var read *ReadError
		if got, err := s.Read(make([]byte, 10)); got != 0 || !errors.As(err, &read) {
			t.Errorf("a reader that returned %d of 10: %d, %v; want a *ReadError", n, got, err)
		}
	}
}
