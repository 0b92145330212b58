package objectstore

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"sync"
)

// castagnoli is the polynomial of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// buffer collects one part of an object in slabs of a pool.
type buffer struct {
	pool     *Pool
	claimant *claimant // alone, or shared with other uploads
	alone    claimant

	limit int64  // octets it may come to hold
	size  int64  // octets it holds
	crc   uint32 // CRC32C of them
	slabs [][]byte

	held   int  // slabs lent; guarded by pool.mu
	sealed bool // needs no more; guarded by pool.mu
}

// buffer returns an empty buffer for a part of up to limit octets. The caller releases it.
func (p *Pool) buffer(limit int64) *buffer {
	b := &buffer{pool: p, limit: limit, alone: claimant{claim: slabsFor(limit)}}
	b.claimant = &b.alone
	return b
}

// fill reads until the buffer is full or src ends (then end is true), and seals it. It waits for
// memory before it reads, so that a source nobody can store is not read.
func (b *buffer) fill(ctx context.Context, src *source) (end bool, err error) {
	for b.size < b.limit {
		at := int(b.size % SlabBytes)
		if at == 0 && b.size == int64(len(b.slabs))*SlabBytes {
			if err := b.pool.grow(ctx, b); err != nil {
				return false, err
			}
		}
		free := b.slabs[b.size/SlabBytes][at:]
		free = free[:min(int64(len(free)), b.limit-b.size)]
		n, err := src.Read(free)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err == io.EOF {
			end = true
			break
		}
		if err != nil {
			return false, err
		}
		b.crc = crc32.Update(b.crc, castagnoli, free[:n])
		b.size += int64(n)
	}
	b.pool.seal(b)
	return end, nil
}

// release gives the memory back. It may be called again.
func (b *buffer) release() { b.pool.release(b) }

// errDetached is what a body returns once its request is over.
var errDetached = errors.New("objectstore: request is over")

// body reads a buffer as the body of one request. An HTTP transport may read a body still after
// the request has returned; detach ends that, so that the slabs can be lent to somebody else.
type body struct {
	mu sync.Mutex
	b  *buffer // nil when detached
	at int64
}

func (b *buffer) body() *body { return &body{b: b} }

// Read implements io.Reader.
func (r *body) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b == nil {
		return 0, errDetached
	}
	if r.at == r.b.size {
		return 0, io.EOF
	}
	slab := r.b.slabs[r.at/SlabBytes][r.at%SlabBytes:]
	n := copy(p, slab[:min(int64(len(slab)), r.b.size-r.at)])
	r.at += int64(n)
	return n, nil
}

// Seek implements io.Seeker, by which the client recognises a body that it can send again.
func (r *body) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b == nil {
		return 0, errDetached
	}
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.b.size
	}
	if offset < 0 || offset > r.b.size {
		return 0, errors.New("objectstore: seek beyond the body")
	}
	r.at = offset
	return offset, nil
}

// detach ends all reading; the buffer may be released afterwards.
func (r *body) detach() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.b = nil
}
