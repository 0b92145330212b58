package extract

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lsmtpd/schema"
)

// reportOf reads a message and its report.
func reportOf(t *testing.T, message string) (*schema.Report, string) {
	t.Helper()
	r := NewReader(strings.NewReader(message), Limits{})
	defer r.Close()
	octets := map[string][]byte{}
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		if IsReportPart(p.BodyPart) {
			octets[*p.PartID] = b
		}
	}
	report := r.Report(func(id string) []byte { return octets[id] })
	return report, reading{Problems: r.Problems()}.codes()
}

func report(kind, about string, fields ...string) string {
	l := append([]string{"Content-Type: multipart/report; boundary=x", "", "--x", "", "Sorry.", "--x", "Content-Type: message/" + kind, ""}, fields...)
	return lines(append(l, "", "--x", "Content-Type: "+about, "", "Subject: a", "Message-ID: <1@example.org>", "", "text", "--x--", "")...)
}

func TestReport(t *testing.T) {
	tests := []struct {
		name, message string
		want          *schema.Report
		codes         string
	}{
		{name: "none", message: mixed("--x", "", "a", "--x--")},
		{name: "delivery status", message: report("delivery-status", "message/rfc822",
			"Reporting-MTA: dns; mx.example.org", "Arrival-Date: Mon, 23 Nov 2026 14:19:05 +0100", "",
			"Final-Recipient: rfc822; <nobody@example.org>", "Original-Recipient: rfc822;someone@example.org", "Action: Failed", "Status: 5.1.1 (no such user)",
			"Remote-MTA: dns; mail.example.org", "Diagnostic-Code: smtp; 550 5.1.1", "\tno such mailbox", "",
			"Final-Recipient: rfc822; other@example.org", "Action: delayed", "Status: 4.4.1"),
			want: &schema.Report{Type: "delivery-status", PartID: "2", OriginalPartID: new("3"), OriginalMessageID: new("1@example.org"),
				Fields: []schema.Header{{Name: "Reporting-MTA", Value: "dns; mx.example.org"}, {Name: "Arrival-Date", Value: "Mon, 23 Nov 2026 14:19:05 +0100"}},
				Recipients: []schema.ReportRecipient{
					{FinalRecipient: new("nobody@example.org"), OriginalRecipient: new("someone@example.org"), Action: new("failed"), Status: new("5.1.1"),
						DiagnosticCode: new("550 5.1.1 no such mailbox"), RemoteMTA: new("mail.example.org")},
					{FinalRecipient: new("other@example.org"), Action: new("delayed"), Status: new("4.4.1")},
				}}},
		{name: "no empty line between the groups, and a line that is no field", message: report("delivery-status", "text/rfc822-headers", "Reporting-MTA: dns; a", "no field", "Final-Recipient: b@example.org"),
			want: &schema.Report{Type: "delivery-status", PartID: "2", OriginalPartID: new("3"), OriginalMessageID: new("1@example.org"),
				Fields: []schema.Header{{Name: "Reporting-MTA", Value: "dns; a"}, {Name: "Final-Recipient", Value: "b@example.org"}}, Recipients: []schema.ReportRecipient{{FinalRecipient: new("b@example.org")}}},
			codes: "2:report-syntax"},
		{name: "disposition notification", message: report("disposition-notification", "text/plain", "Final-Recipient: rfc822; a@example.org", "Original-Message-ID: <2@example.org>",
			"Disposition: manual-action/MDN-sent-manually; Displayed/error"),
			want: &schema.Report{Type: "disposition-notification", PartID: "2", OriginalMessageID: new("2@example.org"),
				Fields: []schema.Header{{Name: "Final-Recipient", Value: "rfc822; a@example.org"}, {Name: "Original-Message-ID", Value: "<2@example.org>"},
					{Name: "Disposition", Value: "manual-action/MDN-sent-manually; Displayed/error"}},
				Recipients: []schema.ReportRecipient{{FinalRecipient: new("a@example.org"), Action: new("displayed")}}}},
		{name: "feedback report", message: report("feedback-report", "message/rfc822", "Feedback-Type: abuse", "User-Agent: a/1", "Version: 1", "Original-Rcpt-To: <a@example.org>", "Original-Rcpt-To: <b@example.org>"),
			want: &schema.Report{Type: "feedback-report", PartID: "2", OriginalPartID: new("3"), OriginalMessageID: new("1@example.org"),
				Fields:     []schema.Header{{Name: "Feedback-Type", Value: "abuse"}, {Name: "User-Agent", Value: "a/1"}, {Name: "Version", Value: "1"}, {Name: "Original-Rcpt-To", Value: "<a@example.org>"}, {Name: "Original-Rcpt-To", Value: "<b@example.org>"}},
				Recipients: []schema.ReportRecipient{{OriginalRecipient: new("a@example.org")}, {OriginalRecipient: new("b@example.org")}}}},
		{name: "the message alone", message: lines("Content-Type: message/delivery-status", "", "Reporting-MTA: dns; a", "", "Final-Recipient: rfc822; b@example.org", ""),
			want: &schema.Report{Type: "delivery-status", PartID: "1", Fields: []schema.Header{{Name: "Reporting-MTA", Value: "dns; a"}}, Recipients: []schema.ReportRecipient{{FinalRecipient: new("b@example.org")}}}},
		{name: "empty", message: lines("Content-Type: message/delivery-status", "", ""),
			want: &schema.Report{Type: "delivery-status", PartID: "1", Fields: []schema.Header{}, Recipients: []schema.ReportRecipient{}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, codes := reportOf(t, tt.message)
			if d := cmp.Diff(tt.want, got); d != "" || codes != tt.codes {
				t.Errorf("problems %q, want %q; report (-want +got):\n%s", codes, tt.codes, d)
			}
		})
	}
}

// TestReportIsBounded reads a report of more than is listed.
func TestReportIsBounded(t *testing.T) {
	got, codes := reportOf(t, report("delivery-status", "text/plain", strings.Repeat("X: "+strings.Repeat("y", 2000)+"\r\n", 20)+strings.Repeat("\r\nFinal-Recipient: a@example.org\r\n", 200)))
	if len(got.Fields) != 20 || len(got.Fields[0].Value) != maxReportValue || len(got.Recipients) != maxReportRecipients || codes != "2:report-syntax" {
		t.Errorf("got %d fields, the first of %d octets, and %d recipients, %q", len(got.Fields), len(got.Fields[0].Value), len(got.Recipients), codes)
	}
}
