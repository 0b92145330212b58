package smtpd

import (
	"testing"

	"lsmtpd/bridge/route"
)

func TestRecipientsAllow(t *testing.T) {
	list, err := route.ParsePatterns(`in@example.com, example.org, invoices+*@example.com, /inv-[0-9]{1,3}@example\.com/`)
	if err != nil {
		t.Fatal(err)
	}
	some := NewRecipients(list)
	for address, want := range map[string]bool{
		"in@example.com": true, `"IN"@EXAMPLE.com.`: true, "any@example.org": true, "invoices+a@example.com": true, "INV-007@example.com": true,
		"out@example.com": false, "in@example.edu": false, "invoices+a@example.edu": false, "inv-0815@example.com": false, "in": false, "": false,
	} {
		if got := some.Allows(address); got != want {
			t.Errorf("Allows(%q): got %v, want %v", address, got, want)
		}
	}
	var none *Recipients
	for name, rs := range map[string]*Recipients{"empty": NewRecipients(nil), "nil": none} {
		for _, address := range []string{"in@example.com", "in", ""} {
			if !rs.Allows(address) {
				t.Errorf("the %s list does not allow %q", name, address)
			}
		}
	}
}
