package extract

// maxBlanks is the longest run of blanks that may turn out to be transport
// padding at the end of a line; a longer one is content.
const maxBlanks = 256

// maxCarried is more than a decoder leaves undecoded while it waits for input.
const maxCarried = 1024

// quotedDecoder undoes quoted-printable (RFC 2045 §6.7) leniently: lines of any
// length ended by CRLF or LF, lower-case digits, octets that should have been
// escaped; an "=" that begins nothing is kept and sets invalid, which the caller clears.
type quotedDecoder struct {
	invalid bool
	blanks  int // so many octets of src are blanks known to be content
}

// more is the length of a token that cannot be told before more octets come.
const more = -1

// decode decodes from src into dst and returns the octets written and
// consumed. It leaves what it cannot tell yet, unless final says that no more comes.
func (d *quotedDecoder) decode(dst, src []byte, final bool) (n, used int) {
	for used < len(src) && n < len(dst) {
		if d.blanks > 0 {
			k := copy(dst[n:], src[used:used+d.blanks])
			n, used, d.blanks = n+k, used+k, d.blanks-k
			continue
		}
		if k, o := d.quick(dst[n:], src[used:]); o > 0 {
			n, used = n+k, used+o
			continue
		}
		switch src[used] {
		case '=':
			k, c, literal := d.escape(src[used:], final)
			if k == more {
				return n, used
			}
			used += k
			if literal {
				dst[n] = c
				n++
			}
		case ' ', '\t':
			k, dropped := trailingBlanks(src[used:], final)
			if k == more {
				return n, used
			}
			if dropped {
				used += k
			} else {
				d.blanks = k
			}
		default:
			k := plainRun(src[used:], len(dst)-n)
			n += copy(dst[n:], src[used:used+k])
			used += k
		}
	}
	return n, used
}

// quick decodes what src begins with as long as there are "=" or blanks in it
// at short intervals, and the two octets behind tell what they mean. It returns as decode does.
func (d *quotedDecoder) quick(dst, src []byte) (n, used int) {
	for used+2 < len(src) && n < len(dst) {
		c, next, third := src[used], src[used+1], src[used+2]
		if c == '=' {
			if hi, lo := hexValues[next], hexValues[third]; hi|lo < 16 {
				dst[n] = hi<<4 | lo
				n, used = n+1, used+3
				continue
			}
		} else if !isBlank(c) {
			if isPlain(next) && isPlain(third) {
				break
			}
			dst[n] = c
			n, used = n+1, used+1
			continue
		}
		switch {
		case next > ' ' || isBlank(next) && third > ' ' || next == '\r' && third != '\n':
			d.invalid = d.invalid || c == '='
			dst[n] = c
			n, used = n+1, used+1
		case next == '\n' && c == '=':
			used += 2
		case next == '\r' && c == '=':
			used += 3
		case next == '\n' || next == '\r':
			used++ // the line end is no blank's to hide
		default:
			return n, used
		}
	}
	return n, used
}

// plainRun is the length, at most limit, of what s begins with that stands for
// itself: at least the first octet, up to an "=" or blanks that may be padding.
func plainRun(s []byte, limit int) int {
	end := min(len(s), limit)
	i := 1
	for i < end {
		switch s[i] {
		case '=':
			return i
		case ' ', '\t':
			if i+1 >= len(s) {
				return i
			}
			switch s[i+1] {
			case '=', ' ', '\t', '\r', '\n':
				return i
			}
		}
		i++
	}
	return i
}

// trailingBlanks measures the run of blanks s begins with, and says whether it
// ends a line or the data, so that it is dropped.
func trailingBlanks(s []byte, final bool) (length int, dropped bool) {
	for length < len(s) && length < maxBlanks && isBlank(s[length]) {
		length++
	}
	if length == maxBlanks {
		return length, false
	}
	_, end := lineEnd(s[length:], final)
	if end == more {
		return more, false
	}
	return length, end > 0 || length == len(s)
}

// escape reads what s begins with, an "=": the octet it stands for, or a soft
// line break, or itself. It returns how many octets of s that are.
func (d *quotedDecoder) escape(s []byte, final bool) (length int, c byte, literal bool) {
	if len(s) >= 3 {
		if hi, lo := hexValue(s[1]), hexValue(s[2]); hi|lo < 16 {
			return 3, hi<<4 | lo, true
		}
	} else if !final && (len(s) == 1 || hexValue(s[1]) < 16) {
		return more, 0, false
	}
	blanks := 0
	for 1+blanks < len(s) && blanks < maxBlanks && isBlank(s[1+blanks]) {
		blanks++
	}
	atEnd, end := lineEnd(s[1+blanks:], final)
	if end == more {
		return more, 0, false
	}
	if end > 0 || atEnd {
		return 1 + blanks + end, 0, false
	}
	d.invalid = true
	return 1, '=', true
}

// lineEnd is the length of the line end s begins with, 0 for none, or more. AtEnd says that s is empty and the data ends.
func lineEnd(s []byte, final bool) (atEnd bool, length int) {
	switch {
	case len(s) == 0 && final:
		return true, 0
	case len(s) == 0:
		return false, more
	case s[0] == '\n':
		return false, 1
	case s[0] != '\r':
		return false, 0
	case len(s) == 1 && !final:
		return false, more
	case len(s) == 1:
		return true, 1
	case s[1] == '\n':
		return false, 2
	}
	return false, 0
}

func isPlain(c byte) bool { return c != '=' && !isBlank(c) }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// hexValue is the value of a hexadecimal digit, or 0xff.
func hexValue(c byte) byte { return hexValues[c] }

var hexValues = func() (values [256]byte) {
	for i := range values {
		values[i] = 0xff
	}
	for i, c := range []byte("0123456789ABCDEF") {
		values[c] = byte(i)
	}
	for i, c := range []byte("abcdef") {
		values[c] = byte(10 + i)
	}
	return values
}()
