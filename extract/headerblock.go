package extract

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"lsmtpd/schema"
)

const (
	maxFieldName  = 998      // octets of a line in which the colon of a field is looked for
	maxHeaderLine = 8 << 10  // octets of a line at least that are looked at, or moved, at once
	headerPeek    = 4 << 10  // octets looked ahead where a header block is malformed
	maxHeaderKept = 32 << 10 // octets of a header buffer the pool keeps
)

// block is the state of the header block being read.
type block struct {
	midLine bool   // buf[pos] is inside a line
	started bool   // a line has been read
	fields  bool   // one of them was a field
	skip    bool   // lines that are no fields are to be skipped
	ended   bool   // the end has come
	raw     []byte // what was kept of it so far
}

// headerPiece returns the next octets of the header block, a line or some of
// it; they are not consumed before the call of advance. Blank says that they
// are the line that ends the block. Without any octets the block has ended
// otherwise: at a delimiter, at the end of the source, or because the body begins.
func (r *Reader) headerPiece() (piece []byte, blank bool, err error) {
	for !r.block.ended {
		if r.block.midLine {
			piece, err = r.headerLine()
			return piece, false, err
		}
		if r.block.ended, err = r.atDelimiter(); r.block.ended || err != nil {
			break
		}
		line, err := r.headerLine()
		if err != nil {
			return nil, false, err
		}
		if len(line) == 0 {
			r.block.ended = true
			break
		}
		if isEmptyLine(line) {
			r.block.ended = true
			return line, true, nil
		}
		again, err := r.checkHeaderLine(line)
		if err != nil {
			return nil, false, err
		}
		if !again {
			return r.moreFields(line), false, nil
		}
	}
	return nil, false, err
}

// moreFields adds to a line of a field the lines behind it that are surely of
// fields, or to be skipped, as far as they are in the window: one by one they
// would cost more than they are.
func (r *Reader) moreFields(line []byte) []byte {
	b, n := r.buf[r.pos:r.end], len(line)
	if !r.block.fields || line[n-1] != '\n' {
		return line
	}
	for n < len(b) && n < maxHeaderLine {
		rest := b[n:min(len(b), n+maxHeaderLine)]
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			r.work += int64(len(rest))
			break
		}
		r.work += int64(i + 1)
		if c := rest[0]; c == '-' || c == '\r' || c == '\n' || !r.block.skip && !isBlank(c) && plainName(rest[:i]) == 0 {
			break
		}
		n += i + 1
	}
	return b[:n]
}

// plainName is the length of the field name of RFC 5322 with a colon behind it that line begins with, or 0.
func plainName[T []byte | string](line T) int {
	for i := 0; i < len(line) && i < maxFieldName; i++ {
		if c := line[i]; c == ':' {
			return i
		} else if c <= ' ' || c >= 0x7f {
			break
		}
	}
	return 0
}

// atDelimiter reports that the line buf[pos] begins is a delimiter, and sets r.hit.
func (r *Reader) atDelimiter() (bool, error) {
	if len(r.levels) == 0 {
		return false, nil
	}
	for {
		d, more := r.delimiterAt(r.pos, r.end, r.atEOF())
		if !more {
			r.hit = d
			return d.level >= 0, nil
		}
		if err := r.fill(); err != nil && err != io.EOF {
			return false, err
		}
	}
}

// headerLine returns what is left of the line at buf[pos], or some of it where
// it is long; nothing at the end of the source. A CR LF is never divided.
func (r *Reader) headerLine() ([]byte, error) {
	searched := 0
	for {
		b := r.buf[r.pos:r.end]
		if i := bytes.IndexByte(b[searched:], '\n'); i >= 0 {
			r.work += int64(i + 1)
			return b[:searched+i+1], nil
		}
		r.work += int64(len(b) - searched)
		searched = len(b)
		if r.atEOF() {
			return b, nil
		}
		if len(b) >= maxHeaderLine {
			return bytes.TrimSuffix(b, []byte("\r")), nil
		}
		if err := r.fill(); err != nil && err != io.EOF {
			return nil, err
		}
	}
}

// advance consumes n octets of piece, and says so to the state of the block.
func (r *Reader) advance(piece []byte, n int) {
	r.pos += n
	r.traced()
	if n > 0 {
		r.block.started = true
		r.block.midLine = piece[n-1] != '\n'
	}
}

// checkHeaderLine decides what a line means that begins no field: it is
// skipped, or the body begins with it. The same question comes up where a block
// begins with a name no field should have: it may be the first sentence of a
// text without any header. Again says that headerPiece must look again.
func (r *Reader) checkHeaderLine(line []byte) (again bool, err error) {
	if plainName(line) > 0 || isBlank(line[0]) && r.block.fields { // nearly all
		r.block.fields = true
		return false, nil
	}
	odd := !isStrictField(bytes.TrimLeft(line, " \t"))
	if isField(line) && (!odd || r.block.fields || r.block.skip) {
		r.block.fields = true
		return false, nil
	}
	if r.block.skip || isBlank(line[0]) && r.block.started || !r.block.started && isMboxFrom(line) {
		return false, nil
	}
	ahead, whole, err := r.peek(headerPeek)
	if err != nil {
		return false, err
	}
	if r.bodyBegins(ahead, whole) {
		r.block.ended = true
	}
	r.block.skip = true
	return true, nil
}

// bodyBegins looks at what follows in a header block from a line on that is no
// field. A field, or an empty line after fields there were, means that only
// this line is wrong; otherwise it is the first of the body. So it is before a
// delimiter, that of an open multipart or one this very header announces.
func (r *Reader) bodyBegins(ahead []byte, whole bool) bool {
	end := r.pos + len(ahead)
	announced := false
	for at := r.pos; at < end; {
		if len(r.levels) > 0 {
			if d, _ := r.delimiterAt(at, end, whole); d.level >= 0 {
				return true
			}
		}
		line := r.buf[at:end]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		if isEmptyLine(line) {
			return !r.block.fields
		}
		if !announced && bytes.HasPrefix(line, lineDashes[1:]) {
			boundary := bytes.TrimRight(line[2:], " \t\r\n")
			if announced = true; len(boundary) > 0 && bytes.Contains(r.block.raw, boundary) {
				return true
			}
		}
		// Behind lines that are none, a field must be one that headers really have.
		if isStrictField(line) && (r.block.fields || isKnownField(line)) {
			return false
		}
		at += len(line)
	}
	return whole || !r.block.fields
}

// readPartHeader reads the header block of the part n into mem.header and
// describes n by it. Whole is false when the block is larger than what is left
// of the limit: mem.header then holds its beginning, and the rest comes in the window.
func (r *Reader) readPartHeader(n *node) (whole bool, err error) {
	r.block = block{}
	r.traceTo(SpanHeader, n)
	raw := r.mem.header[:0]
	left := r.limits.MaxHeaderBytes - r.fields
	blank := false
	for !blank {
		var piece []byte
		r.block.raw = raw
		if piece, blank, err = r.headerPiece(); err != nil {
			return false, err
		}
		if len(piece) == 0 {
			break
		}
		if !blank && int64(len(raw)+len(piece)) > left {
			r.mem.header = raw
			r.lineStart = false
			r.traceOpaque(n)
			return false, nil
		}
		raw = appendDoubling(raw, piece)
		r.advance(piece, len(piece))
	}
	r.lineStart = true
	r.mem.header = raw
	r.fields += int64(len(raw))
	f := parseFields(string(raw))
	r.describe(n, f.raw)
	f.report(&r.problems, n.problemID())
	if !blank && r.hit.level >= 0 {
		r.problems.add(n.problemID(), CodeMissingBlankLine, "a delimiter ends the header")
		r.hit.level = -1 // it is found again where the body should begin: until then the window may move
	} else if !blank && !r.atHeaderEnd() {
		r.noteMissingBlankLine(n.problemID())
	}
	n.Headers = f.fields
	return true, nil
}

// appendDoubling is append, with fewer copies of what is large.
func appendDoubling(b, more []byte) []byte {
	if len(b)+len(more) > cap(b) {
		b = slices.Grow(b, max(len(b), len(more)))
	}
	return append(b, more...)
}

// noteMissingBlankLine notes that the body began with a line in the header block.
func (r *Reader) noteMissingBlankLine(partID *string) {
	if r.block.fields {
		r.problems.add(partID, CodeMissingBlankLine, "no empty line ends the header: the body begins with the first line that is no field")
	} else {
		r.problems.add(partID, CodeMissingHeader, "there is no header field: all is body")
	}
}

// fieldList is a parsed header block.
type fieldList struct {
	raw     []schema.Header // names and values as they came
	fields  []schema.Header // in the Raw form of RFC 8621
	exact   bool            // fields and an empty line, each with CRLF, are the block
	flaws   int             // lines that are no field or have an odd name
	flaw    string          // the first of them
	mbox    bool            // an mbox "From " line was skipped
	leading bool            // leading empty lines were skipped
	bare    bool            // lines end in LF alone
	octets  bool            // there are octets that are not UTF-8
	nul     bool            // there are NULs
}

func (f *fieldList) report(p *problems, partID *string) {
	if f.leading {
		p.add(partID, CodeLeadingBlankLines, "empty lines before the header were skipped")
	}
	if f.mbox {
		p.add(partID, CodeMboxFrom, "the mbox line before the header was skipped")
	}
	if f.flaws > 0 {
		p.add(partID, CodeHeaderSyntax, f.flaw)
	}
	if f.octets {
		p.add(partID, CodeHeaderCharset, "octets in the header that are not UTF-8")
	}
	if f.nul {
		p.add(partID, CodeHeaderNUL, "NULs in the header were dropped")
	}
	if f.bare {
		p.addOnce(CodeBareNewline, "lines of a header end in LF alone")
	}
}

func (f *fieldList) addFlaw(what, line string) {
	if f.flaws++; f.flaws == 1 {
		f.flaw = what + ": " + line[:min(len(line), maxProblemDetail)]
	}
}

// parseFields parses a header block, with or without the empty line that ends
// it. Names and values are substrings of s wherever they can be.
func parseFields(s string) fieldList {
	whole := s
	f := fieldList{exact: strings.HasSuffix(s, "\r\n\r\n") || s == "\r\n"}
	f.raw = make([]schema.Header, 0, min(strings.Count(s, "\n"), strings.Count(s, ":"))+1)
	for first := true; len(s) > 0; first = false {
		if n := f.addPlain(s); n > 0 {
			s = s[n:]
			continue
		}
		unfolded, joined, bare := fieldLength(s)
		f.bare = f.bare || bare
		line := s[:unfolded]
		s = s[unfolded:]
		if joined {
			f.exact = false
			f.addFlaw("a line that is not indented was taken to go on with the field before it", line)
		}
		if isLineEnd(line) {
			if s != "" {
				f.leading = true
				f.exact = false
			}
			continue
		}
		f.addLine(line, first)
	}
	f.fields = f.raw
	if !isClean(whole) {
		f.clean()
	}
	return f
}

// addPlain adds the field s begins with if it is as nearly all are: a name of
// RFC 5322, a value on one line or properly folded, CRLF. It returns its length, 0 for another.
func (f *fieldList) addPlain(s string) int {
	colon := plainName(s)
	if colon <= 0 {
		return 0
	}
	for end := colon; ; {
		i := strings.IndexByte(s[end:], '\n')
		if end += i; i < 1 || s[end-1] != '\r' || strings.HasSuffix(strings.TrimRight(s[colon:end-1], " \t"), ";") {
			return 0
		}
		end++
		if end == len(s) || !isBlank(s[end]) {
			f.raw = append(f.raw, schema.Header{Name: s[:colon], Value: s[colon+1 : end-2]})
			return end
		}
	}
}

// addLine adds the field in line, with its folding and final line end.
func (f *fieldList) addLine(line string, first bool) {
	if first && isMboxFrom([]byte(line[:min(len(line), 16)])) {
		f.mbox, f.exact = true, false
		return
	}
	value := strings.TrimSuffix(line, "\n")
	if value = strings.TrimSuffix(value, "\r"); len(value)+2 != len(line) {
		f.exact = false
	}
	if n := plainName(value); n > 0 {
		f.raw = append(f.raw, schema.Header{Name: value[:n], Value: value[n+1:]})
		return
	}
	colon := strings.IndexByte(value[:min(len(value), maxFieldName)], ':')
	name := ""
	if colon > 0 {
		name = strings.Trim(value[:colon], " \t\r\n")
		if first {
			name = strings.TrimPrefix(name, string(byteOrderMark)) // of an editor
		}
	}
	if name == "" || !isFieldName(name) {
		f.exact = false
		f.addFlaw("a line that is no field was skipped", value)
		return
	}
	if len(name) != colon {
		f.exact = false
	}
	if isBlank(line[0]) {
		f.addFlaw("a line that begins with blanks was taken for a field", value)
	}
	if !isStrictName(name) {
		f.addFlaw("an odd field name was kept", name)
	}
	f.raw = append(f.raw, schema.Header{Name: name, Value: value[colon+1:]})
}

// clean makes fields of raw: valid UTF-8, without NUL. What must be changed is in one string.
func (f *fieldList) clean() {
	var changed []byte
	change := func(s string) int {
		if isClean(s) {
			return 0
		}
		f.octets = f.octets || !isValid(s)
		f.nul = f.nul || strings.IndexByte(s, 0) >= 0
		n := len(changed)
		changed = appendCleaned(changed, s)
		return len(changed) - n + 1
	}
	sizes := make([][2]int, len(f.raw))
	for i := range f.raw {
		sizes[i] = [2]int{change(f.raw[i].Name), change(f.raw[i].Value)}
	}
	f.exact = f.exact && !f.octets && !f.nul
	f.fields = slices.Clone(f.raw)
	rest := string(changed)
	take := func(s *string, size int) {
		if size > 0 {
			*s, rest = rest[:size-1], rest[size-1:]
		}
	}
	for i := range f.fields {
		take(&f.fields[i].Name, sizes[i][0])
		take(&f.fields[i].Value, sizes[i][1])
	}
}

// appendCleaned appends cleaned(s).
func appendCleaned(b []byte, s string) []byte {
	b = slices.Grow(b, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 0:
		case c < utf8.RuneSelf:
			b = append(b, c)
		case i+1 == len(s) || s[i+1]&0xc0 != 0x80: // continues with nothing
			b = append(b, "\uFFFD"...)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n - 1
		}
	}
	return b
}

// fieldLength is the length of the first line of s and the lines folded onto
// it. QUIRK: gateways wrap lines without indenting what follows: where one ends
// with a semicolon, a known parameter goes on with it, and joined says so. Bare
// says that a line ends in LF alone.
func fieldLength(s string) (length int, joined, bare bool) {
	for n := 0; ; {
		i := strings.IndexByte(s[n:], '\n')
		if i < 0 {
			return len(s), joined, bare
		}
		bare = bare || n+i == 0 || s[n+i-1] != '\r'
		start, last := n, n+i-1 // of what is no blank
		for last >= start && (isBlank(s[last]) || s[last] == '\r') {
			last--
		}
		n += i + 1
		switch {
		case n == len(s) || isLineEnd(s[:n]):
			return n, joined, bare
		case isBlank(s[n]):
		case last >= start && s[last] == ';' && beginsParameter(s[n:min(len(s), n+maxParameterName)]):
			joined = true
		default:
			return n, joined, bare
		}
	}
}

// isEmptyLine reports a line that ends a header block.
func isEmptyLine(line []byte) bool {
	return len(line) > 0 && line[len(line)-1] == '\n' && isLineEnd(line)
}

// isLineEnd reports that s has nothing but CR and LF.
func isLineEnd[T []byte | string](s T) bool {
	for i := range len(s) {
		if s[i] != '\r' && s[i] != '\n' {
			return false
		}
	}
	return true
}

// isField reports a line that can be read as a field, however odd its name.
func isField(line []byte) bool {
	colon := bytes.IndexByte(line[:min(len(line), maxFieldName)], ':')
	if colon < 0 {
		return false
	}
	name := strings.Trim(string(line[:colon]), " \t\r\n")
	return name != "" && isFieldName(name)
}

// isStrictField reports a line that begins with a field name of RFC 5322, blanks behind it allowed (§4.5).
func isStrictField(line []byte) bool {
	if plainName(line) > 0 {
		return true
	}
	colon := bytes.IndexByte(line[:min(len(line), maxFieldName)], ':')
	return colon > 0 && isStrictName(strings.TrimRight(string(line[:colon]), " \t"))
}

// isFieldName allows anything in a name but control characters.
func isFieldName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isStrictName is the field-name of RFC 5322 §3.6.8.
func isStrictName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return name != ""
}

// isMboxFrom reports the line an mbox file has before each message.
func isMboxFrom(line []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimPrefix(line, []byte(">")), []byte("From "))
	return ok && !bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte(":"))
}

func isClean(s string) bool {
	return strings.IndexByte(s, 0) < 0 && isValid(s)
}

// cleaned is s in the Raw form of RFC 8621 §4.1.2.1.
func cleaned(s string) string {
	return strings.ReplaceAll(toValid(s), "\x00", "")
}
