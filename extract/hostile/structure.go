package hostile

import (
	"fmt"
	"strconv"
	"strings"
)

// levels is how deep multiparts are nested.
const levels = 5000

// structures are hostile in their multiparts.
func structures() []Message {
	return []Message{
		{Name: "5,000 levels", pieces: func(int64) []piece { return []piece{once(nested(levels, unlike))} }},
		{Name: "5,000 levels, closed", pieces: func(int64) []piece { return []piece{once(nested(levels, unlike)), once(closed(levels, unlike))} }},
		{Name: "5,000 levels of one boundary", pieces: func(int64) []piece { return []piece{once(nested(levels, same)), once(closed(levels, same))} }},
		{Name: "5,000 levels, each boundary the beginning of the next", pieces: func(int64) []piece {
			return []piece{once(nested(900, prefixes))} // no longer boundary is read
		}},
		{Name: "5,000 levels and near misses", pieces: func(octets int64) []piece {
			return []piece{once(nested(levels, unlike)), many(nearMisses(unlike), octets)}
		}},
		kind("100 levels again and again", mixed, "--x\r\n"+nested(98, func(i int) string { return "y" + strconv.Itoa(i) })),
		kind("delivery status", "Content-Type: message/delivery-status\r\n\r\n", "Final-Recipient: rfc822; a@b\r\nAction: failed\r\n\r\n"),
		counted("100,000 parts of reports", "Content-Type: multipart/report; boundary=x\r\n\r\n", "--x\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n"),
		kind("parts like archives", mixed, "--x\r\n\r\nPK\x03\x04"+strings.Repeat("PK\x03\x04\x00", 600)+"\r\n"),
		kind("parts like compound files", mixed, "--x\r\n\r\n\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"+strings.Repeat("\x00", 3000)+"\r\n"),
		kind("parts like binary files", mixed, "--x\r\n\r\n"+strings.Repeat("\x00\x01", 1500)+"\r\n"),
		kind("parts like markup", mixed, "--x\r\n\r\n"+strings.Repeat("<!--", 750)+"\r\n"),
		counted("100,000 parts like binary files", mixed, "--x\r\n\r\n\x00\r\n"),
		counted("100,000 parts like PDF", mixed, "--x\r\n\r\n%PDF-\r\n"),
		counted("100,000 parts of nothing", mixed, "--x\r\n\r\n\r\n"),
		counted("100,000 parts", mixed, "--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nOne of many parts.\r\n"),
		counted("100,000 parts with names", mixed, "--x\r\nContent-Type: image/png; name=\"=?utf-8?q?a=C3=A4?=\"\r\nContent-Disposition: attachment; filename*0*=utf-8''%C3; filename*1*=%A4\r\n"+
			"Content-ID: <a@b>\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n"),
		counted("100,000 multiparts", mixed, "--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n"),
		counted("100,000 multiparts never begun", mixed, "--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y--\r\n"),
		counted("100,000 multiparts without boundary", mixed, "--x\r\nContent-Type: multipart/mixed\r\n\r\n--g\r\nA: b\r\n\r\n"),
		counted("100,000 multiparts whose boundary is sought in vain", mixed, "--x\r\nContent-Type: multipart/mixed\r\n\r\n--g\r\n\r\n"),
		counted("100,000 parts with text before them", mixed, "--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n"+strings.Repeat("a\r\n", 50)+"--y\r\n\r\n--y--\r\n"+strings.Repeat("b\r\n", 50)),
		counted("100,000 parts without empty line", mixed, "--x\r\nno field\r\n"),
		counted("100,000 parts of doubtful headers", mixed, "--x\r\nno field"+strings.Repeat("\r\nnone", 100)+"\r\n"),
		counted("100,000 parts of odd headers", mixed, "--x\r\n: c\r\n d\r\nä: b\r\nA\r\nB: c\r\n\r\n"),
		kind("near misses", mixed+"--x\r\n\r\n", "--x-\n--xx\n--\n-\n--x--x\n"),
		kind("near misses in lines of dashes", mixed+"--x\r\n\r\n", "\n--"),
		kind("near misses of one octet", mixed+"--x\r\n\r\n", "\n--y"),
		kind("near misses in the middle", "Content-Type: multipart/mixed; boundary=xxxx\r\n\r\n--xxxx\r\n\r\n", "\n--xyxx"),
		kind("near misses behind two octets", "Content-Type: multipart/mixed; boundary=xxx\r\n\r\n--xxx\r\n\r\n", "\n--xx"),
		kind("near misses in long lines", mixed+"--x\r\n\r\n", "\n--"+strings.Repeat("x", 2100)),
		kind("near misses by an octet after blanks", mixed+"--x\r\n\r\n", "\n--x"+strings.Repeat(" ", 2000)+"y"),
		kind("near misses of a long boundary", "Content-Type: multipart/mixed; boundary="+strings.Repeat("x", 70)+"\r\n\r\n--"+strings.Repeat("x", 70)+"\r\n\r\n", "\r\n--"+strings.Repeat("x", 69)),
		kind("line feeds", mixed+"--x\r\n\r\n", "\n"),
		kind("carriage returns", mixed+"--x\r\n\r\n", "\r"),
		kind("line ends and a dash", mixed+"--x\r\n\r\n", "\r\n-"),
		kind("no delimiter", mixed, "text\r\n"),
	}
}

// unlike is a boundary for each level, some as long as boundaries may be.
func unlike(i int) string {
	return strings.Repeat("b", 1+i%7) + string(rune('a'+i%26)) + strings.Repeat("c", i/26%60) + strings.Repeat("d", i/1560)
}

func same(int) string { return "x" }

func prefixes(i int) string { return strings.Repeat("x", i+1) }

// nested opens multiparts, each in the one before.
func nested(count int, boundary func(int) string) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%[1]s\r\n", boundary(i))
	}
	return b.String() + "\r\n"
}

// closed closes them.
func closed(count int, boundary func(int) string) string {
	var b strings.Builder
	for i := count - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary(i))
	}
	return b.String()
}

// nearMisses are lines that differ from delimiters in their last octet.
func nearMisses(boundary func(int) string) string {
	var b strings.Builder
	for i := range levels {
		fmt.Fprintf(&b, "\r\n--%s!", boundary(i))
	}
	return b.String()
}
