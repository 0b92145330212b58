package main

import (
	"bufio"
	"crypto/rand"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// nullBucket is the only bucket of a null store.
const nullBucket = "null"

// nullETag is the ETag of everything: there is no content that it could be of.
const nullETag = `"d41d8cd98f00b204e9800998ecf8427e"`

// nullS3 is an S3 server that throws away what it is sent and remembers only how long it was, so that a store costs
// next to nothing. It speaks as much of S3 as objectstore needs for Put, and answers all else with NotImplemented.
// Signatures and checksums are not looked at.
type nullS3 struct {
	mu      sync.Mutex
	uploads map[string]map[int]int64 // octets of each part, by upload id
	objects map[string]int64         // octets
}

// startNullS3 serves one until stop is called, and returns its store.
func startNullS3() (s *nullS3, st store, stop func() error, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, store{}, nil, err
	}
	s = &nullS3{uploads: map[string]map[int]int64{}, objects: map[string]int64{}}
	u := url.URL{Scheme: "s3", Host: nullBucket, Path: "/", RawQuery: url.Values{"endpoint": {"http://" + ln.Addr().String()}, "region": {"us-east-1"}}.Encode()}
	return s, store{url: u.String(), accessKey: "null", secretKey: "null-secret"}, serveHTTP(ln, s), nil
}

// ServeHTTP answers a request.
func (s *nullS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	id := q.Get("uploadId")
	switch {
	case bucket != nullBucket || key == "":
		refuseS3(w, http.StatusNotFound, "NoSuchBucket")
	case r.Method == http.MethodPut && id != "":
		s.part(w, r, id, q.Get("partNumber"))
	case r.Method == http.MethodPut:
		s.put(w, r, key)
	case r.Method == http.MethodPost && q.Has("uploads"):
		s.begin(w, key)
	case r.Method == http.MethodPost && id != "":
		s.complete(w, r, key, id)
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		delete(s.uploads, id)
		delete(s.objects, key)
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodHead:
		s.head(w, key)
	default:
		refuseS3(w, http.StatusNotImplemented, "NotImplemented")
	}
}

// refuseS3 answers with an error of S3.
func refuseS3(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	answer(w, "<Error><Code>%s</Code><Message>a null store</Message></Error>", code)
}

// answer writes XML. Whoever is gone needs none.
func answer(w io.Writer, format string, args ...any) {
	_, _ = io.WriteString(w, xml.Header)
	_, _ = fmt.Fprintf(w, format, args...)
}

// nullBuffers are what bodies are read into.
var nullBuffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// receive reads a body and throws it away.
func receive(r *http.Request) (int64, error) {
	buffer := nullBuffers.Get().(*[256 << 10]byte)
	defer nullBuffers.Put(buffer)
	// A struct of the writer alone: io.Discard would bring a buffer of its own, which is small.
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r.Body}, buffer[:])
	if err == nil && n != r.ContentLength {
		err = fmt.Errorf("%d octets of %d", n, r.ContentLength)
	}
	return n, err
}

func (s *nullS3) put(w http.ResponseWriter, r *http.Request, key string) {
	n, err := receive(r)
	if err != nil {
		refuseS3(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	s.mu.Lock()
	s.objects[key] = n
	s.mu.Unlock()
	w.Header().Set("ETag", nullETag)
}

func (s *nullS3) begin(w http.ResponseWriter, key string) {
	id := rand.Text()
	s.mu.Lock()
	s.uploads[id] = map[int]int64{}
	s.mu.Unlock()
	answer(w, "<InitiateMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>", nullBucket, key, id)
}

func (s *nullS3) part(w http.ResponseWriter, r *http.Request, id, number string) {
	part, err := strconv.Atoi(number)
	if err != nil {
		refuseS3(w, http.StatusBadRequest, "InvalidArgument")
		return
	}
	n, err := receive(r)
	if err != nil {
		refuseS3(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	s.mu.Lock()
	parts := s.uploads[id]
	if parts != nil {
		parts[part] = n
	}
	s.mu.Unlock()
	if parts == nil {
		refuseS3(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	w.Header().Set("ETag", nullETag)
}

// complete makes an object of the parts that the request lists.
func (s *nullS3) complete(w http.ResponseWriter, r *http.Request, key, id string) {
	var list struct{ Part []struct{ PartNumber int } }
	if err := xml.NewDecoder(bufio.NewReader(r.Body)).Decode(&list); err != nil {
		refuseS3(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := s.uploads[id]
	var whole int64
	for _, p := range list.Part {
		n, ok := parts[p.PartNumber]
		if !ok {
			refuseS3(w, http.StatusBadRequest, "InvalidPart")
			return
		}
		whole += n
	}
	delete(s.uploads, id)
	s.objects[key] = whole
	answer(w, "<CompleteMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><ETag>%s</ETag></CompleteMultipartUploadResult>", nullBucket, key, strings.Trim(nullETag, `"`))
}

func (s *nullS3) head(w http.ResponseWriter, key string) {
	s.mu.Lock()
	n, ok := s.objects[key]
	s.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", nullETag)
	w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
}
