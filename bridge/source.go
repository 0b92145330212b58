package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"time"
)

// source is the message as it arrives. It counts and hashes the octets, holds
// the limit on them, and keeps the first error: whatever a parser or a store
// makes of it later, why a message ended is asked here.
type source struct {
	r     io.Reader
	limit int64 // 0 for none
	n     int64
	hash  hash.Hash  // nil without digests
	err   error      // sticky; io.EOF once the end of data was seen
	ended time.Time  // when that was
	atEnd func()     // called then
	raw   *rawUpload // takes what is read; nil where the raw message is not stored

	// header counts the octets read since the reader was asked for a header.
	// Past ordinaryHeader of them, grow is called before more is read.
	header   int64
	inHeader bool
	grow     func() error
}

func newSource(r io.Reader, limit int64, digest bool, grow func() error) *source {
	s := &source{r: r, limit: limit, grow: grow, atEnd: func() {}}
	if digest {
		s.hash = sha256.New()
	}
	return s
}

// Read reads on. It returns io.EOF at the end of data only.
func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.inHeader && s.header > ordinaryHeader {
		if s.err = s.grow(); s.err != nil {
			return 0, s.err
		}
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	s.header += int64(n)
	if s.hash != nil {
		s.hash.Write(p[:n])
	}
	if s.limit > 0 && s.n > s.limit {
		err = errMessageTooLarge
	}
	if err == io.EOF {
		s.ended = time.Now()
		s.atEnd()
	}
	if s.raw != nil {
		err = s.raw.feed(p[:n], err)
	}
	s.err = err
	return n, err
}

// expectHeader says whether what is read next is a header, which is kept in memory, or a body, which is not.
func (s *source) expectHeader(yes bool) { s.inHeader, s.header = yes, 0 }

// failure is why the message ended, nil at the end of data and before any end.
func (s *source) failure() error {
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

// sum is the SHA-256 of the octets so far, nil without digests.
func (s *source) sum() *string { return hexSum(s.hash) }

func hexSum(h hash.Hash) *string {
	if h == nil {
		return nil
	}
	sum := hex.EncodeToString(h.Sum(nil))
	return &sum
}
