package schema

// Report is what a multipart/report (RFC 6522) has for machines: the delivery
// status of RFC 3464, the disposition notification of RFC 8098 or the feedback
// report of RFC 5965.
type Report struct {
	// Type is "delivery-status", "disposition-notification" or "feedback-report".
	Type string `json:"type"`
	// PartID is the part it was read from.
	PartID string `json:"partId"`
	// OriginalPartID is the part with the message it is about, or its header; nil for none.
	OriginalPartID *string `json:"originalPartId"`
	// OriginalMessageID is the Message-ID of that message, without angle brackets, from the report or from that part; nil for none.
	OriginalMessageID *string `json:"originalMessageId"`
	// Fields are those about the message as a whole, in order, unfolded and decoded. Never nil.
	Fields []Header `json:"fields"`
	// Recipients are those the report is about. Never nil.
	Recipients []ReportRecipient `json:"recipients"`
}

// ReportRecipient is what a report says about one recipient. What it does not say is nil.
type ReportRecipient struct {
	FinalRecipient    *string `json:"finalRecipient"`    // the address, without its type "rfc822;"
	OriginalRecipient *string `json:"originalRecipient"` // the same
	// Action is in lower case: failed, delayed, delivered, relayed or expanded (RFC 3464 §2.3.3); of a disposition
	// notification the disposition type, displayed, deleted and the like (RFC 8098 §3.2.6).
	Action *string `json:"action"`
	// Status is the enhanced status code, "5.1.1" (RFC 3463).
	Status *string `json:"status"`
	// DiagnosticCode is what the other side said, without its type "smtp;"; RemoteMTA is who that was.
	DiagnosticCode *string `json:"diagnosticCode"`
	RemoteMTA      *string `json:"remoteMta"`
}
