package smtpd

import "lsmtpd/bridge/route"

// Recipients tells whose mail is taken. It is safe for concurrent use.
type Recipients struct{ patterns *route.Patterns }

// NewRecipients puts a list together for looking up.
func NewRecipients(list []route.Pattern) *Recipients {
	return &Recipients{route.NewPatterns(list)}
}

// Allows reports whether mail to address, a mailbox without angle brackets, is taken. An empty list takes all mail,
// and so does a nil one.
func (rs *Recipients) Allows(address string) bool {
	return rs == nil || rs.patterns.Len() == 0 || rs.patterns.Match(address)
}
