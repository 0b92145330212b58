//go:build integration

package expected

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lsmtpd/extract"
	"lsmtpd/schema"
)

// TestEnmimeTables compares what lsmtpd reads with what the tables in enmime's tests want: of fields, addresses,
// boundaries, encodings and charsets. What they give to a function of enmime is put into a message here.
func TestEnmimeTables(t *testing.T) {
	dir := moduleDir(t, enmimeModule)
	groups := []struct {
		name string
		test func(t *testing.T, dir string)
	}{
		{"media types", testMediaTypes},
		{"encoded words", testEncodedWords},
		{"addresses", testAddresses},
		{"header fields", testHeaderFields},
		{"boundaries", testBoundaries},
		{"transfer encodings", testTransferEncodings},
		{"charsets", testCharsets},
		{"content ids", testContentIDs},
		{"errors", testErrors},
		{"reports", testReports},
	}
	ran := 0
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			g.test(t, dir)
			ran++
		})
	}
	if ran == len(groups) {
		enmimeTableExceptions.allApply(t)
	}
}

// testMediaTypes gives each value to Content-Type. There are properties for a type, a name and a charset; a boundary
// shows in what it delimits; other parameters are left in the header.
func testMediaTypes(t *testing.T, dir string) {
	const file = "mediatype/mediatype_test.go"
	parsed := enmimeTable[[]struct {
		Label, Input, MType string
		Params              map[string]string
	}](t, dir, file, "TestParseMediaType", "testCases", nil)
	for _, c := range parsed {
		if strings.Contains(c.Input, "\n\n") {
			continue // in a message, the header ends there
		}
		checkMediaType(t, "TestParseMediaType", c.Input, c.MType, c.Params)
	}
	names := map[string]any{"ctPlaceholder": "text/plain", "pvPlaceholder": "x"}
	fixed := enmimeTable[[]struct {
		Input   string
		Sep     rune
		Want    string
		Options struct{ StripMediaTypeInvalidCharacters bool }
	}](t, dir, file, "TestFixMangledMediaType", "testCases", names)
	for _, c := range fixed {
		if c.Want != "text/html>" { // the one that is not repaired without an option
			checkRepaired(t, "TestFixMangledMediaType", c.Input, c.Want)
		}
	}
	type repair struct{ Input, Want string }
	for _, test := range []string{"TestFixUnquotedSpecials", "TestFixUnEscapedQuotes"} {
		for _, c := range enmimeTable[[]repair](t, dir, file, test, "testCases", nil) {
			checkRepaired(t, test, c.Input, c.Want)
		}
	}
	type tags struct{ Has, Want string }
	for _, c := range enmimeTable[map[string]tags](t, dir, file, "TestRemoveTrailingHTMLTags", "tests", nil) {
		checkRepaired(t, "TestRemoveTrailingHTMLTags", c.Has, c.Want)
	}
}

// checkRepaired compares with a value that enmime has repaired, for Go's parser of media types to read it.
func checkRepaired(t *testing.T, test, input, want string) {
	t.Helper()
	// A parameter there is no property for stands for one there is.
	input, want = strings.ReplaceAll(input, "param1", "name"), strings.ReplaceAll(want, "param1", "name")
	mediaType, params, err := mime.ParseMediaType(want)
	if err != nil {
		return // enmime has not repaired it, or not yet all of it: nothing is expected
	}
	for name, value := range params {
		if params[name], err = new(mime.WordDecoder).DecodeHeader(value); err != nil {
			t.Fatal(err)
		}
	}
	checkMediaType(t, test, input, mediaType, params)
}

func checkMediaType(t *testing.T, test, input, mediaType string, params map[string]string) {
	t.Helper()
	body := "\r\n\r\n--" + params["boundary"] + "\r\n\r\ncontent\r\n--" + params["boundary"] + "--\r\n"
	r := readMessage(t, []byte("Content-Type: "+input+body))
	p := r.BodyStructure
	check := func(what, got, want string) {
		t.Helper()
		enmimeTableExceptions.check(t, input, test+" "+what, got, want)
	}
	check("type", p.Type, mediaType)
	check("name", orEmpty(p.Name), params["name"])
	if params["charset"] != "" {
		check("charset", strings.ToLower(orEmpty(p.Charset)), strings.ToLower(params["charset"]))
	}
	if params["boundary"] != "" {
		check("content", string(r.octets["1"]), "content")
	}
}

// testEncodedWords gives each text to Subject.
func testEncodedWords(t *testing.T, dir string) {
	check := func(test, input, want string) {
		t.Helper()
		r := readMessage(t, []byte("Subject: "+input+"\r\n\r\n"))
		enmimeTableExceptions.check(t, input, test, orEmpty(r.Subject), want)
	}
	const file = "internal/coding/headerext_test.go"
	for _, text := range enmimeTable[[]string](t, dir, file, "TestDecodePlainPassthrough", "ttable", nil) {
		check("TestDecodePlainPassthrough", text, text)
	}
	type failure struct{ Label, In string }
	for _, c := range enmimeTable[[]failure](t, dir, file, "TestDecodeFailurePassthrough", "ttable", nil) {
		if !strings.ContainsAny(c.In, "\r\n") { // no field has a line end in it
			check("TestDecodeFailurePassthrough", c.In, c.In)
		}
	}
	type decoding struct{ In, Want string }
	for _, test := range []string{"TestDecodeAsciiB64", "TestDecodeAsciiQ", "TestDecodeSpacing", "TestDecodeCharsets"} {
		for _, c := range enmimeTable[[]decoding](t, dir, file, test, "ttable", nil) {
			check(test, c.In, c.Want)
		}
	}
	type labelled struct{ Label, In, Want string }
	for _, c := range enmimeTable[[]labelled](t, dir, file, "TestRfc2047Decode", "ttable", nil) {
		check("TestRfc2047Decode", c.In, c.Want)
	}
	for input, want := range map[string]string{
		"=?UTF-8?Q?Miros=C5=82aw_Marczak?=": "Mirosław Marczak",
		"=?ABC-1?Q?FooBar?=":                "=?ABC-1?Q?FooBar?=",
		"Hello World":                       "Hello World",
	} {
		check("TestDecodeRFC2047", input, want)
	}
}

// testAddresses gives each list to To.
func testAddresses(t *testing.T, dir string) {
	check := func(test, input, want string) {
		t.Helper()
		r := readMessage(t, []byte("To: "+input+"\r\n\r\n"))
		enmimeTableExceptions.check(t, input, test, joined(r.To), want)
	}
	for _, input := range enmimeTable[[]string](t, dir, "header_test.go", "TestParseAddressListNoFailures", "testStrings", nil) {
		if r := readMessage(t, []byte("To: "+input+"\r\n\r\n")); len(r.To) != 1 || len(r.problems) != 0 {
			t.Errorf("%q: got %s, problems %v", input, joined(r.To), r.problems)
		}
	}
	type parsing struct {
		Input string
		Want  []*mail.Address
	}
	for test, file := range map[string]string{
		"TestParseAddressListResult":                "header_test.go",
		"TestEnvelopeAddressListInDifferentFormats": "envelope_test.go",
	} {
		for _, c := range enmimeTable[[]parsing](t, dir, file, test, "testCases", nil) {
			check(test, c.Input, joinedMail(c.Want))
		}
	}
	type separation struct{ Have, Want string }
	const separating = "TestCommaDelimitedAddressLists"
	for _, c := range enmimeTable[[]separation](t, dir, "internal/stringutil/addr_test.go", separating, "testData", nil) {
		want, err := mail.ParseAddressList(c.Want)
		if err != nil {
			want, err = mail.ParseAddressList(c.Want + ";") // enmime takes away the end of a group
		}
		if err != nil { // a group, and other addresses after it
			_, c.Want, _ = strings.Cut(c.Want, ":")
			want, err = mail.ParseAddressList(c.Want)
		}
		if err != nil {
			t.Fatalf("%q: %v", c.Want, err)
		}
		check(separating, c.Have, joinedMail(want))
	}
}

func joinedMail(list []*mail.Address) string {
	var addresses []schema.EmailAddress
	for _, a := range list {
		addresses = append(addresses, schema.EmailAddress{Name: &a.Name, Email: a.Address})
	}
	return joined(addresses)
}

// testHeaderFields puts each field between two others, as the test does.
func testHeaderFields(t *testing.T, dir string) {
	long := strings.Repeat("x", 16*1024)
	cases := enmimeTable[[]struct {
		Label, Input, HName, Want string
		Correct                   bool
		Extras                    []string
	}](t, dir, "header_test.go", "TestReadHeader", "ttable", map[string]any{"sdata": long})
	for _, c := range cases {
		r := readMessage(t, []byte("From: hooman\n \n being\n"+c.Input+"Subject: hi\n\nPart body\n"))
		check := func(what, got, want string) {
			t.Helper()
			enmimeTableExceptions.check(t, c.Label, "TestReadHeader "+what, got, want)
		}
		check("from", strings.Join(r.fieldValues("From"), "|"), "hooman  being")
		check("subject", strings.Join(r.fieldValues("Subject"), "|"), "hi")
		if c.HName != "" {
			check("value", strings.Join(r.fieldValues(c.HName), "|"), c.Want)
		}
		problems := slices.DeleteFunc(slices.Clone(r.problems), func(p schema.Problem) bool { return p.Code == extract.CodeAddressSyntax }) // of "hooman being"
		check("correct", fmt.Sprint(len(problems) == 0), fmt.Sprint(c.Correct))
		names := append([]string{"from", "subject"}, c.Extras...)
		if c.HName != "" {
			names = append(names, strings.ToLower(c.HName))
		}
		slices.Sort(names)
		check("fields", strings.Join(r.fieldNames(), "|"), strings.Join(slices.Compact(names), "|"))
		check("body", r.text(&r.BodyStructure.BodyProperties), "Part body\n")
	}
}

// testBoundaries makes a multipart of each input.
func testBoundaries(t *testing.T, dir string) {
	check := func(test, boundary, body, want string) {
		t.Helper()
		r := readMessage(t, []byte("Content-Type: multipart/mixed; boundary="+boundary+"\r\n\r\n"+body))
		var parts []string
		for p := range r.BodyStructure.Leaves() {
			parts = append(parts, string(r.octets[*p.PartID]))
		}
		if !strings.Contains(want, "|") {
			parts = parts[:1]
		}
		enmimeTableExceptions.check(t, body, test, strings.Join(parts, "|"), want)
	}
	type reading struct{ Input, Boundary, Want string }
	for _, c := range enmimeTable[[]reading](t, dir, "boundary_test.go", "TestBoundaryReader", "ttable", nil) {
		check("TestBoundaryReader", c.Boundary, "--"+c.Boundary+"\r\n\r\n"+c.Input, c.Want)
	}
	type several struct {
		Input, Boundary string
		Parts           []string
	}
	for _, c := range enmimeTable[[]several](t, dir, "boundary_test.go", "TestBoundaryReaderParts", "ttable", nil) {
		check("TestBoundaryReaderParts", c.Boundary, c.Input, strings.Join(c.Parts, "|"))
	}
}

// testTransferEncodings compares the octets of an encoded text with those of what enmime's cleaners make of it.
func testTransferEncodings(t *testing.T, dir string) {
	decode := func(encoding, body string) *reading {
		return readMessage(t, []byte("Content-Type: application/x-test\r\nContent-Transfer-Encoding: "+encoding+"\r\n\r\n"+body))
	}
	type cleaning struct{ Input, Want string }
	for test, garbage := range map[string]bool{"TestBase64Cleaner": false, "TestBase64CleanerErrors": true} {
		for _, c := range enmimeTable[[]cleaning](t, dir, "internal/coding/base64_test.go", test, "testCases", nil) {
			got := decode("base64", c.Input)
			enmimeTableExceptions.check(t, c.Input, test, string(got.octets["1"]), string(decode("base64", c.Want).octets["1"]))
			hasGarbage := strings.Contains(got.problemCodes(), extract.CodeBase64Garbage)
			enmimeTableExceptions.check(t, c.Input, test+" errors", fmt.Sprint(hasGarbage), fmt.Sprint(garbage))
		}
	}
	for _, c := range enmimeTable[[]cleaning](t, dir, "internal/coding/quotedprint_test.go", "TestQPCleaner", "ttable", nil) {
		want, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(c.Want)))
		if err != nil {
			t.Fatal(err)
		}
		enmimeTableExceptions.check(t, c.Input, "TestQPCleaner", string(decode("quoted-printable", c.Input).octets["1"]), string(want))
	}
}

// testCharsets gives the octets to a text of the charset.
func testCharsets(t *testing.T, dir string) {
	read := func(charset string, octets []byte) schema.BodyValue {
		return readMessage(t, append([]byte("Content-Type: text/plain; charset="+charset+"\r\n\r\n"), octets...)).values["1"]
	}
	type conversion struct {
		Charset string
		Input   []byte
		Want    string
	}
	for _, test := range []string{"TestCharsetReader", "TestConvertToUTF8String"} {
		for _, c := range enmimeTable[[]conversion](t, dir, "internal/coding/charsets_test.go", test, "testTable", nil) {
			got := read(c.Charset, c.Input)
			enmimeTableExceptions.check(t, c.Charset, test, got.Value, c.Want)
			enmimeTableExceptions.check(t, c.Charset, test+" error", fmt.Sprint(got.IsEncodingProblem), "false")
		}
	}
	for _, charset := range []string{"INVALIDcharsetZZZ", "123"} {
		got := read(charset, []byte("there is no such charset"))
		enmimeTableExceptions.check(t, charset, "TestInvalidCharsetReader", fmt.Sprint(got.IsEncodingProblem), "true")
	}
}

func testContentIDs(t *testing.T, dir string) {
	type id struct{ Input, Want string }
	for _, c := range enmimeTable[[]id](t, dir, "internal/coding/idheader_test.go", "TestFromIDHeader", "testCases", nil) {
		r := readMessage(t, []byte("Content-ID: "+c.Input+"\r\n\r\n"))
		enmimeTableExceptions.check(t, c.Input, "TestFromIDHeader", orEmpty(r.BodyStructure.CID), c.Want)
	}
}

// enmimeErrors are what enmime calls errors, in the codes of lsmtpd.
var enmimeErrors = map[string]any{
	"ErrorMissingBoundary":    extract.CodeMissingCloseDelimiter,
	"ErrorMalformedHeader":    extract.CodeHeaderSyntax,
	"ErrorPlainTextFromHTML":  "", // a note that enmime made plain text
	"ErrorMissingContentType": extract.CodeContentTypeSyntax,
	"ErrorContentEncoding":    extract.CodeUnknownEncoding,
	"ErrorCharsetConversion":  encodingProblem,
	"ErrorMalformedBase64":    extract.CodeBase64Garbage,
	"ErrorCharsetDeclaration": encodingProblem,
}

func testErrors(t *testing.T, dir string) {
	type expected struct{ File, Code string }
	for _, c := range enmimeTable[[]expected](t, dir, "error_test.go", "TestErrorEnvelopeWarnings", "files", enmimeErrors) {
		r := readFile(t, filepath.Join(dir, "testdata", "low-quality", c.File))
		codes := strings.Fields(r.problemCodes())
		for p := range r.BodyStructure.Leaves() {
			codes = append(codes, r.problemsOf(p)...)
		}
		if c.Code != "" && !slices.Contains(codes, c.Code) {
			enmimeTableExceptions.check(t, c.File, "TestErrorEnvelopeWarnings", strings.Join(codes, " "), c.Code)
		}
	}
}

// testReports compares the parts of a delivery status notification.
func testReports(t *testing.T, dir string) {
	type wanted struct {
		Explanation     struct{ Text, HTML string }
		DeliveryStatus  struct{ MessageDSNs, RecipientDSNs []textproto.MIMEHeader }
		OriginalMessage []byte
	}
	cases := enmimeTable[map[string]struct {
		Filename string
		Want     *wanted
	}](t, dir, "dsn/parse_test.go", "TestParseReport", "tests", nil)
	for _, c := range cases {
		r := readFile(t, filepath.Join(dir, "dsn", "testdata", c.Filename))
		check := func(what, got, want string) {
			t.Helper()
			enmimeTableExceptions.check(t, c.Filename, "TestParseReport "+what, got, want)
		}
		check("text", strings.Join(r.texts(r.TextBody, "text/plain"), ""), c.Want.Explanation.Text)
		check("html", strings.Join(r.texts(r.HTMLBody, "text/html"), ""), c.Want.Explanation.HTML)
		status, original := "", ""
		for _, a := range r.Attachments {
			switch a.Type {
			case "message/delivery-status":
				status = string(r.octets[*a.PartID])
			case "message/rfc822":
				original = string(r.octets[*a.PartID])
			}
		}
		want := append(c.Want.DeliveryStatus.MessageDSNs, c.Want.DeliveryStatus.RecipientDSNs...)
		check("status", fmt.Sprint(fieldGroups(t, status)), fmt.Sprint(want))
		check("original", original, string(c.Want.OriginalMessage))
	}
}

// fieldGroups are the groups of fields in a delivery status (RFC 3464 §2.1).
func fieldGroups(t *testing.T, status string) []textproto.MIMEHeader {
	t.Helper()
	var groups []textproto.MIMEHeader
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(status + "\n\n")))
	for {
		h, err := r.ReadMIMEHeader()
		if len(h) == 0 {
			return groups
		}
		if err != nil {
			t.Fatal(err)
		}
		groups = append(groups, h)
	}
}
