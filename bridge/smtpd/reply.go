package smtpd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
)

// maxReplyText bounds the text of a reply line: RFC 5321 §4.5.3.1.5 has 512 octets for all of the line.
const maxReplyText = 480

// maxReplies is how much is gathered of the replies to a group of commands, octets.
const maxReplies = 16 << 10

// Replies to commands that cannot be carried out (RFC 5321 §4.2.4 and §4.3.2, codes of RFC 3463).
var (
	errUnknown    = reply(500, 5, 5, 1, "command not known")
	errSyntax     = reply(500, 5, 5, 2, "a command is printable ASCII; addresses may be in UTF-8 after SMTPUTF8")
	errTooLong    = reply(500, 5, 5, 2, fmt.Sprintf("a command has at most %d octets", maxCommandLine))
	errNoArgument = reply(501, 5, 5, 4, "the command takes no argument")
	errSequence   = reply(503, 5, 5, 1, "MAIL and RCPT first")
	errInternal   = reply(451, 4, 3, 0, "internal error, try again later")
)

// reply is an error that is the reply to a command.
func reply(code, class, subject, detail int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{class, subject, detail}, Message: text}
}

// reply gathers a reply of one or more lines. The enhanced code may be "", where RFC 2034 has none.
func (s *session) reply(code int, enhanced, text string) {
	if code >= 500 {
		s.errors++
	}
	out := s.conn.out
	for more := true; more; {
		var line string
		line, text, more = strings.Cut(text, "\n")
		out = strconv.AppendInt(out, int64(code), 10)
		if more {
			out = append(out, '-')
		} else {
			out = append(out, ' ')
		}
		if enhanced != "" {
			out = append(append(out, enhanced...), ' ')
		}
		out = append(appendText(out, line, s.mail != nil && s.mail.UTF8), "\r\n"...)
	}
	s.conn.out = out
	if len(out) > maxReplies {
		_ = s.conn.flush() // the next read returns its error
	}
}

// appendText appends text as a reply can carry it (RFC 5321 §4.2, RFC 6531 §3.7.4.2).
func appendText(out []byte, text string, utf8 bool) []byte {
	begin := len(out)
	for i := range len(text) {
		c := text[i]
		if c < ' ' || c == 0x7f || c >= 0x80 && !utf8 {
			c = '?'
		}
		if len(out)-begin == maxReplyText {
			break
		}
		out = append(out, c)
	}
	return out
}

// replyError gathers err, which is the reply itself or becomes 451.
func (s *session) replyError(err error) {
	var e *smtp.SMTPError
	if !errors.As(err, &e) {
		s.server.cfg.Logger.Error("not a reply", "error", err)
		s.reply(451, "4.3.0", "internal error, try again later")
		return
	}
	enhanced := e.EnhancedCode
	if enhanced == smtp.EnhancedCodeNotSet || enhanced == smtp.NoEnhancedCode {
		enhanced = smtp.EnhancedCode{e.Code / 100, 0, 0}
	}
	s.reply(e.Code, fmt.Sprintf("%d.%d.%d", enhanced[0], enhanced[1], enhanced[2]), e.Message)
}

// forRecipient is a reply that says whose it is.
func forRecipient(rcpt string, err error) error {
	var e *smtp.SMTPError
	if !errors.As(err, &e) {
		return err
	}
	return &smtp.SMTPError{Code: e.Code, EnhancedCode: e.EnhancedCode, Message: "<" + rcpt + "> " + e.Message}
}
