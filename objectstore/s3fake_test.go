package objectstore

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeS3 is a server that speaks as much of S3 as Put and its friends use, distrusts what it is
// sent, and fails when it is told to.
type fakeS3 struct {
	t      *testing.T
	bucket string
	server *httptest.Server
	closed chan struct{}

	mu      sync.Mutex
	ids     int
	objects map[string][]byte
	uploads map[string]*fakeUpload
	faults  map[string][]fault3 // by operation, in the order of requests
	calls   map[string]int

	// Set before the first request.
	mute    bool   // knows no checksums
	hanging func() // called when a request is being left without an answer
}

type fakeUpload struct {
	key     string
	started time.Time
	parts   map[int][]byte
}

// fault3 is how one request fails.
type fault3 struct {
	status int    // answer with it, and with code
	code   string // with status 200: an error in the body of an answer of success
	kind   string // "hang", "reset": before anything is done; "lost": done, but never answered; "cut", "stall": half a body; "etag": a wrong one; "early": answered before the body is read
}

func newFakeS3(t *testing.T) *fakeS3 {
	f := &fakeS3{
		t: t, bucket: "mail", closed: make(chan struct{}),
		objects: map[string][]byte{}, uploads: map[string]*fakeUpload{}, faults: map[string][]fault3{}, calls: map[string]int{},
	}
	f.server = httptest.NewServer(f)
	t.Cleanup(func() {
		close(f.closed)
		f.server.Close()
	})
	return f
}

// fail lets the next requests of an operation fail, one after the other.
func (f *fakeS3) fail(operation string, faults ...fault3) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[operation] = append(f.faults[operation], faults...)
}

// residue lists all objects and uploads.
func (f *fakeS3) residue() (left []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.objects {
		left = append(left, "object "+key)
	}
	for _, u := range f.uploads {
		left = append(left, "upload "+u.key)
	}
	slices.Sort(left)
	return left
}

// operation names a request.
func operation(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "begin"
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "complete"
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "part"
	case r.Method == http.MethodPut:
		return "put"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "abort"
	case r.Method == http.MethodDelete:
		return "delete"
	case r.Method == http.MethodGet && q.Has("uploads"):
		return "list"
	case r.Method == http.MethodHead:
		return "head"
	case r.Method == http.MethodGet:
		return "get"
	}
	return "unknown"
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := operation(r)
	f.mu.Lock()
	f.calls[op]++
	var fault fault3
	if queue := f.faults[op]; len(queue) > 0 {
		fault, f.faults[op] = queue[0], queue[1:]
	}
	f.mu.Unlock()
	switch {
	case fault.kind == "hang":
		// A handler that does not read never learns that the client has gone.
		_, _ = io.Copy(io.Discard, r.Body)
		if f.hanging != nil {
			f.hanging()
		}
		select {
		case <-r.Context().Done():
		case <-f.closed:
		}
		panic(http.ErrAbortHandler)
	case fault.kind == "reset":
		_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		panic(http.ErrAbortHandler)
	case fault.status != 0:
		if fault.kind != "early" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		refuse(w, fault.status, fault.code)
		return
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		f.t.Errorf("%s: not signed", op)
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if bucket != f.bucket {
		refuse(w, 404, "NoSuchBucket")
		return
	}
	answer := httptest.NewRecorder()
	f.serve(answer, r, op, key)
	switch fault.kind {
	case "lost":
		panic(http.ErrAbortHandler)
	case "lost, then silence":
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "etag":
		answer.Header().Set("ETag", `"00000000000000000000000000000000"`)
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	body := answer.Body.Bytes()
	if fault.kind == "cut" || fault.kind == "stall" {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body)
	if fault.kind == "stall" {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?>\n<Error><Code>%s</Code><Message>told to</Message></Error>", code)
}

// serve does what a request asks for.
func (f *fakeS3) serve(w http.ResponseWriter, r *http.Request, op, key string) {
	octets, err := f.receive(w, r, op)
	if err != nil {
		refuse(w, 400, err.Error())
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.URL.Query().Get("uploadId")
	u := f.uploads[id]
	if id != "" && (u == nil || u.key != key) {
		refuse(w, 404, "NoSuchUpload")
		return
	}
	switch op {
	case "put":
		f.objects[key] = octets
		w.Header().Set("ETag", etag(octets))
	case "begin":
		f.ids++
		id := fmt.Sprintf("upload-%d", f.ids)
		f.uploads[id] = &fakeUpload{key: key, started: time.Now(), parts: map[int][]byte{}}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>", f.bucket, key, id)
	case "part":
		number, _ := strconv.Atoi(r.URL.Query().Get("partNumber"))
		u.parts[number] = octets
		w.Header().Set("ETag", etag(octets))
	case "complete":
		f.complete(w, u, id, octets)
	case "abort":
		delete(f.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case "delete":
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case "list":
		f.list(w, r.URL.Query().Get("prefix"))
	case "get", "head":
		content, ok := f.objects[key]
		if !ok {
			refuse(w, 404, "NoSuchKey")
			return
		}
		w.Header().Set("ETag", etag(content))
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content)
	default:
		f.t.Errorf("unexpected request %s %s", r.Method, r.URL)
		refuse(w, 501, "NotImplemented")
	}
}

// receive reads a body and checks what is said about it.
func (f *fakeS3) receive(w http.ResponseWriter, r *http.Request, op string) ([]byte, error) {
	octets, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("IncompleteBody")
	}
	if op != "put" && op != "part" {
		return octets, nil
	}
	if r.ContentLength != int64(len(octets)) {
		f.t.Errorf("%s: Content-Length %d, body %d octets", op, r.ContentLength, len(octets))
	}
	if got := r.Header.Get("X-Amz-Content-Sha256"); got != "UNSIGNED-PAYLOAD" {
		f.t.Errorf("%s: X-Amz-Content-Sha256 %q; want UNSIGNED-PAYLOAD", op, got)
	}
	sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(octets, castagnoli)))
	if got := r.Header.Get("X-Amz-Checksum-Crc32c"); !f.mute && got != sum {
		f.t.Errorf("%s: CRC32C %q; want %q", op, got, sum)
		return nil, fmt.Errorf("BadDigest")
	}
	if !f.mute {
		w.Header().Set("X-Amz-Checksum-Crc32c", sum)
	}
	return octets, nil
}

func etag(octets []byte) string {
	sum := md5.Sum(octets)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (f *fakeS3) complete(w http.ResponseWriter, u *fakeUpload, id string, request []byte) {
	var asked struct {
		Part []struct {
			PartNumber           int
			ETag, ChecksumCRC32C string
		}
	}
	if err := xml.Unmarshal(request, &asked); err != nil {
		refuse(w, 400, "MalformedXML")
		return
	}
	if len(asked.Part) != len(u.parts) {
		f.t.Errorf("complete: %d parts of %d", len(asked.Part), len(u.parts))
	}
	var whole []byte
	for i, p := range asked.Part {
		octets, ok := u.parts[p.PartNumber]
		switch {
		case p.PartNumber != i+1:
			refuse(w, 400, "InvalidPartOrder")
			return
		case !ok || `"`+strings.Trim(p.ETag, `"`)+`"` != etag(octets):
			refuse(w, 400, "InvalidPart")
			return
		case i < len(asked.Part)-1 && len(octets) < MinPartBytes:
			refuse(w, 400, "EntityTooSmall")
			return
		case (p.ChecksumCRC32C == "") != f.mute:
			f.t.Errorf("complete: part %d has the checksum %q", p.PartNumber, p.ChecksumCRC32C)
		}
		whole = append(whole, octets...)
	}
	delete(f.uploads, id)
	f.objects[u.key] = whole
	fmt.Fprintf(w, "<CompleteMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><ETag>%s</ETag></CompleteMultipartUploadResult>",
		f.bucket, u.key, strings.Trim(etag(whole), `"`))
}

func (f *fakeS3) list(w http.ResponseWriter, prefix string) {
	fmt.Fprintf(w, "<ListMultipartUploadsResult><Bucket>%s</Bucket>", f.bucket)
	for id, u := range f.uploads {
		if strings.HasPrefix(u.key, prefix) {
			fmt.Fprintf(w, "<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>%s</Initiated></Upload>", u.key, id, u.started.UTC().Format(time.RFC3339))
		}
	}
	fmt.Fprint(w, "</ListMultipartUploadsResult>")
}
