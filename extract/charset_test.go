package extract

import (
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
)

// encodedAs is text in a charset of the WHATWG.
func encodedAs(t *testing.T, charset, text string) string {
	t.Helper()
	e, err := htmlindex.Get(charset)
	if err != nil {
		t.Fatal(err)
	}
	s, err := encoding.ReplaceUnsupported(e.NewEncoder()).String(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGuess reads texts of which no charset is said.
func TestGuess(t *testing.T) {
	for _, tt := range []struct{ charset, text string }{
		{"windows-1252", "Sehr geehrte Damen und Herren, anbei erhalten Sie die Rechnung für den Monat März. Mit freundlichen Grüßen"},
		{"windows-1252", "Grüße aus München"},
		{"windows-1252", "Café"},
		{"windows-1252", "Price: 100 €, “quoted” – text"},
		{"windows-1252", "El niño comió mañana en España; ¿cuándo será la reunión?"},
		{"windows-1251", "Здравствуйте! Пожалуйста, найдите во вложении счёт за март."},
		{"gbk", "尊敬的客户，您好！请查收附件中的发票，谢谢。"},
		{"big5", "尊敬的客戶，您好！請查收附件中的發票，謝謝。"},
		{"euc-kr", "안녕하세요. 첨부된 청구서를 확인해 주십시오. 감사합니다."},
		{"shift_jis", "お世話になっております。請求書を添付しましたのでご確認ください。"},
		{"euc-jp", "お世話になっております。請求書を添付しましたのでご確認ください。"},
		{"iso-2022-jp", "お世話になっております。請求書を添付しましたのでご確認ください。"},
		{"iso-8859-2", "Dzień dobry, w załączeniu przesyłam fakturę za miesiąc marzec. Proszę o płatność."},
		{"windows-1253", "Καλημέρα σας, σας στέλνω συνημμένο το τιμολόγιο του μήνα."},
		{"windows-1254", "Sayın müşterimiz, ekte faturanızı bulabilirsiniz. İyi günler dileriz, teşekkürler."},
		{"windows-1255", "שלום רב, מצורפת החשבונית לחודש מרץ. תודה רבה."},
		{"windows-1256", "السلام عليكم، نرفق لكم الفاتورة لشهر مارس. شكرا جزيلا."},
	} {
		octets := encodedAs(t, tt.charset, tt.text)
		for _, said := range []string{"", "us-ascii", "unknown-8bit", "x-unknown"} {
			if got := textOf([]byte(octets), said, "text/plain", true); got.Value != tt.text || !got.IsEncodingProblem {
				t.Errorf("%s said to be %q: got %q %v, want %q", tt.charset, said, got.Value, got.IsEncodingProblem, tt.text)
			}
		}
		if got := textOf([]byte(octets), "utf-8", "text/plain", true); tt.charset != "iso-2022-jp" && (got.Value != tt.text || !got.IsEncodingProblem) {
			t.Errorf("%s said to be utf-8: got %q, want %q", tt.charset, got.Value, tt.text)
		}
	}
}

// TestCharsetNames decodes by names that senders write.
func TestCharsetNames(t *testing.T) {
	tests := []struct{ names, octets, want string }{
		{"cp932 MS932 windows-932 x-sjis x-ms-cp932 sjis windows-31j shift-jis", "\x83\x5c", "ソ"},
		{"eucJP x-euc-jp eucjp-ms", "\xa4\xa2", "あ"},
		{"ISO-2022-JP ISO-2022-JP-1 iso-2022-jp-ms csISO2022JP cp50221", "\x1b$B$\"\x1b(B", "あ"},
		{"iso-2022-kr", "\x1b$)C\x0e0!\x0f", "가"},
		{"iso-2022-cn iso-2022-cn-ext", "\x1b$)A\x0e2b\x0f", "测"},
		{"hz-gb-2312 HZ", "~{2b~}", "测"},
		{"gb2312 gbk x-gbk cp936 gb_2312-80 gb18030 gb18030-2000 euc-cn", "\xb2\xe2", "测"},
		{"big5 x-x-big5 big5-hkscs cp950 big-5", "\xa4\xa4", "中"},
		{"euc-kr ks_c_5601-1987 cp949 uhc windows-949 x-windows-949 ksc5601", "\xb0\xa1", "가"},
		{"cp850 cp-850 ibm850 x-cp850", "\x84", "ä"},
		{"cp437 ibm437", "\x84", "ä"},
		{"cp852 ibm852", "\x84", "ä"},
		{"cp858", "\xd5", "€"},
		{"cp1252 win1252 windows1252 windows-1252 x-cp1252 cp-1252 x-ansi ansi WINDOWS_1252 windows-1252;x=y", "\x80", "€"},
		{"iso-8859-1 ISO8859-1 iso_8859-1 latin1 latin-1 8859_1 x-iso-8859-1 charset=iso-8859-1 'iso-8859-1' us-ascii-x-none", "\xe4", "ä"},
		{"iso-8859-15 latin9 latin-9 iso8859-15", "\xa4", "€"},
		{"cp1251 win-1251 x-cp1251", "\xef", "п"},
		{"koi8-r koi8r x-koi8-r koi8", "\xd0", "п"},
		{"tis-620 tis620 windows-874 iso-8859-11 x-iso-8859-11", "\xa1", "ก"},
		{"macintosh x-mac-roman mac-roman MacRoman", "\x8a", "ä"},
		{"utf-7 UTF7 unicode-1-1-utf-7 x-utf-7", "+AOQ-", "ä"},
		{"utf-16 utf-16be", "\x00\xe4", "ä"},
		{"utf-16le", "\xe4\x00", "ä"},
		{"utf_8 utf8mb4 x-utf-8 UTF8", "ä", "ä"},
	}
	for _, tt := range tests {
		for name := range strings.FieldsSeq(tt.names) {
			if name == "us-ascii-x-none" {
				continue
			}
			e := lookUpCharset(name)
			if e == nil {
				t.Errorf("%s is not known", name)
				continue
			}
			if got, exact := decodeBytes(e, []byte(tt.octets), true); string(got) != tt.want || !exact {
				t.Errorf("%q as %s: got %q, want %q", tt.octets, name, got, tt.want)
			}
		}
	}
	for _, name := range []string{"", "x-unknown", "unknown-8bit", "unknown", "replacement", "x-user-defined", "none", strings.Repeat("x", 65)} {
		if lookUpCharset(name) != nil {
			t.Errorf("%q is known", name)
		}
	}
}

// TestHints reads texts whose charset is said elsewhere in the message.
func TestHints(t *testing.T) {
	tests := []struct{ name, message, want string }{
		{"an enclosing multipart", lines("Content-Type: multipart/mixed; charset=gbk; boundary=x", "", "--x", "Content-Type: multipart/mixed; boundary=y", "", "--y", "", "\xc4\xe3\xba\xc3", "--y--", "--x--"), "你好"},
		{"its escape sequences", lines("Content-Type: multipart/signed; charset=hz-gb-2312; boundary=x", "", "--x", "Content-Type: text/plain", "", "~{2b~}", "--x--"), "测"},
		{"HTML", lines("Content-Type: text/html", "", "<meta charset=\"windows-1251\">\xcf\xf0\xe8"), "<meta charset=\"windows-1251\">При"},
		{"HTML, http-equiv", lines("Content-Type: text/html; charset=x-unknown", "", "<meta http-equiv=content-type content=\"text/html; charset=windows-1251\">\xcf\xf0\xe8"),
			"<meta http-equiv=content-type content=\"text/html; charset=windows-1251\">При"},
		{"byte order mark", lines("Content-Type: text/plain", "", "\xff\xfea\x00\xe4\x00"), "aä"},
		{"a text before", lines("Content-Type: multipart/mixed; boundary=x", "", "--x", "Content-Type: text/plain; charset=koi8-r", "", "\xd0", "--x", "", "\xcd\xcf\xd3\xcb\xd7\xc1, \xf0\xd2\xc9\xd7\xc5\xd4", "--x--"), "п|москва, Привет"},
		{"soft line breaks of HZ", lines("Content-Type: text/plain; charset=hz-gb-2312", "", "~{2b~} a~", "b~~", "c"), "测 ab~\nc"},
		{"a wrong guess for the subject", lines("Subject: \xb2\xf1\xb5\xc4\xa4\xce\xa4\xaa\xc3\xce\xa4\xe9\xa4\xbb", "Content-Type: text/plain", "", encodedAs(t, "euc-jp", "お世話になっております。請求書を添付しましたのでご確認ください。")), "お世話になっております。請求書を添付しましたのでご確認ください。"},
		{"charset twice", lines("Content-Type: text/plain; charset=\"charset=gbk\"", "", "\xc4\xe3"), "你"},
		{"nothing but the form of its octets", lines("Content-Type: text/plain", "", "\x1b$B$\"\x1b(B"), "あ"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRead(t, tt.message, Limits{})
			var texts []string
			for _, id := range got.IDs {
				texts = append(texts, got.Texts[id].Value)
			}
			if text := strings.Join(texts, "|"); text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
}

// TestHeaderHints reads fields of raw octets, whose charset only the message's own Content-Type tells.
func TestHeaderHints(t *testing.T) {
	got := mustRead(t, "Subject: \xf0\xd2\xc9\xd7\xc5\xd4\r\nFrom: \xf0\xd2\xc9 <a@example.org>\r\nContent-Type: text/plain; charset=koi8-r; name=\"\xf0\xd2\xc9.txt\"\r\n\r\n", Limits{})
	if subject, from := *got.Email.Subject, *got.Email.From[0].Name; subject != "Привет" || from != "При" {
		t.Errorf("got subject %q, from %q", subject, from)
	}
	if name := got.Structure.Name; name == nil || *name != "При.txt" {
		t.Errorf("got name %v", name)
	}
}
