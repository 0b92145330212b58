package extract

import (
	"bytes"

	"github.com/segmentio/asm/base64"
)

// base64Decoder undoes base64 (RFC 2045 §6.8) leniently: octets outside the
// alphabet are skipped, and data behind padding begins a new run. Its flags
// say what was met; the caller clears them.
type base64Decoder struct {
	garbage, resumed, truncated bool

	padded  bool // the last group of four was padded, so the data should end
	missing int  // padding still due to that group
}

// compactLines copies src without its line ends to dst and returns how many octets that are.
func compactLines(dst, src []byte) int {
	n := 0
	for len(src) > 0 {
		line := src
		if i := bytes.IndexByte(src, '\n'); i >= 0 {
			line, src = src[:i], src[i+1:]
		} else {
			src = nil
		}
		if k := len(line); k > 0 && line[k-1] == '\r' {
			line = line[:k-1]
		}
		n += copy(dst[n:], line)
	}
	return n
}

// decode decodes from src, which holds no line feeds, into dst, and returns
// the octets written and consumed. It may write to src what it has consumed,
// and keeps what is left of a group of four there, unless final says that no more comes.
func (d *base64Decoder) decode(dst, src []byte, final bool) (n, used int) {
	for n == 0 {
		block := src[used:]
		if k := min(len(block)/4, len(dst)/3) * 4; k > 0 {
			block = block[:k]
		} else if final && len(block) > 0 {
			// The last group is not complete.
		} else if final {
			d.truncated = d.truncated || d.missing > 0
			d.missing = 0
			return n, used
		} else {
			return n, used
		}
		if n = d.fast(dst, block); n > 0 {
			return n, used + len(block)
		}
		var kept int
		n, kept = d.slow(dst, block)
		used += len(block) - kept
		if final && used+kept == len(src) {
			n += d.flush(dst[n:], src[used:])
			used = len(src)
		}
	}
	return n, used
}

// fast decodes a block that has nothing unusual in it, or returns 0.
func (d *base64Decoder) fast(dst, block []byte) int {
	if len(block)%4 != 0 || d.missing > 0 {
		return 0
	}
	want := len(block) / 4 * 3
	n, err := base64.StdEncoding.Decode(dst[:want], block)
	padded := block[len(block)-1] == '='
	if err != nil || n != want && !padded || n < want-2 {
		return 0
	}
	d.resumed = d.resumed || d.padded
	d.padded = padded
	return n
}

// slow decodes a block octet by octet. The alphabet octets of an incomplete
// group are moved to the end of the block; kept is how many.
func (d *base64Decoder) slow(dst, block []byte) (n, kept int) {
	var group [4]byte
	for _, c := range block {
		if base64Values[c] != noValue {
			if d.padded {
				d.resumed, d.padded, d.missing = true, false, 0
			}
			group[kept] = c
			if kept++; kept == 4 {
				n += putGroup(dst[n:], group[:4])
				kept = 0
			}
			continue
		}
		switch {
		case c == '\r' || c == ' ' || c == '\t':
		case c == '=' && kept >= 2:
			n += putGroup(dst[n:], group[:kept])
			d.padded, d.missing, kept = true, 3-kept, 0
		case c == '=' && kept == 0 && d.missing > 0:
			d.missing--
		default:
			d.garbage = true
		}
	}
	copy(block[len(block)-kept:], group[:kept])
	return n, kept
}

// flush decodes the group the data ends in.
func (d *base64Decoder) flush(dst, group []byte) int {
	d.truncated = d.truncated || len(group) > 0 || d.missing > 0
	d.missing = 0
	if len(group) < 2 {
		return 0
	}
	return putGroup(dst, group)
}

// putGroup decodes two to four octets of the alphabet.
func putGroup(dst, group []byte) int {
	var v uint32
	for i := range 4 {
		v <<= 6
		if i < len(group) {
			v |= uint32(base64Values[group[i]])
		}
	}
	n := len(group) - 1
	for i := range n {
		dst[i] = byte(v >> (16 - 8*i))
	}
	return n
}

const noValue = 0xff

// base64Values maps an octet of the alphabet to its value, any other to noValue.
var base64Values = func() (values [256]byte) {
	for i := range values {
		values[i] = noValue
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		values[c] = byte(i)
	}
	return values
}()
