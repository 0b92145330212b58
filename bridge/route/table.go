package route

import "slices"

// DefaultThreshold stands for the offload threshold that is set for all mail.
const DefaultThreshold = -1

// Raw says whether the raw message is stored.
type Raw int

const (
	// DefaultRaw stands for what is set for all mail.
	DefaultRaw Raw = iota
	// NoRaw asks for the parts alone.
	NoRaw
	// StoreRaw asks for the raw message in the store.
	StoreRaw
)

// Stores reports whether the raw message is stored where byDefault is set for all mail.
func (r Raw) Stores(byDefault bool) bool { return r == StoreRaw || r == DefaultRaw && byDefault }

// Destination is where a delivery goes; it is comparable: recipients with equal Destinations share a delivery.
type Destination struct {
	Address string // of the AMQP link's target
	Subject string // the message's subject property, "" for none
	GroupID string // the message's group-id property, "" for none
}

// Target is what a recipient's route asks for.
type Target struct {
	Destination
	OffloadThreshold int64 // octets, a larger part goes to the store; DefaultThreshold for the default
	Raw              Raw   // whether the raw message is stored
}

// Route maps recipients to a destination.
//
// It matches a recipient that a pattern of Match matches and that its Address can be made for: a recipient without a
// domain (an address literal), or with one that makes the address longer than MaxAddress, is left to the routes
// behind. Subject and GroupID do not decide about mail: where they cannot be made, the message has none.
type Route struct {
	Match            []Pattern
	Address          Template
	Subject, GroupID Template
	OffloadThreshold int64 // octets; DefaultThreshold for the default
	Raw              Raw
}

func (r *Route) matches(m mailbox) bool {
	return slices.ContainsFunc(r.Match, func(p Pattern) bool { return p.matches(m) })
}

// target is what r asks for a recipient in domain, false where its address cannot be made.
func (r *Route) target(domain string) (Target, bool) {
	address, ok := r.Address.expand(domain)
	if !ok {
		return Target{}, false
	}
	subject, _ := r.Subject.expand(domain)
	groupID, _ := r.GroupID.expand(domain)
	return Target{Destination{address, subject, groupID}, r.OffloadThreshold, r.Raw}, true
}

// Table tells the routes of recipients. It does not change, and is safe for concurrent use.
type Table struct {
	routes     []Route
	patterns   *Patterns // of all routes, by the number of the route
	fallback   Target
	hostname   string
	postmaster Target
	passes     bool // postmaster is something
}

// NewTable puts routes together for looking up; they must not be changed any more. Without any, all mail goes to the address fallback. Else only mail for
// the postmaster can go there, and fallback may be ""; hostname is the domain in which the postmaster is ours.
func NewTable(routes []Route, fallback, hostname string) *Table {
	t := &Table{routes: routes, patterns: NewPatterns(nil), hostname: foldDomain(hostname),
		fallback: Target{Destination{Address: fallback}, DefaultThreshold, DefaultRaw}}
	for number, r := range routes {
		for _, p := range r.Match {
			t.patterns.add(p, number)
		}
	}
	t.postmaster, t.passes = t.findPostmaster()
	return t
}

// Lookup returns what is asked for rcpt, a mailbox without angle brackets, or false where no route matches: 550 5.1.1.
//
// Mail for the postmaster, without a domain or at the hostname, always passes (RFC 5321 §4.5.1): where no route
// matches postmaster at the hostname, it goes to the fallback, and where there is none, as the first route says. Only
// where all routes have templates that become too long with the hostname is there nowhere for it to go.
func (t *Table) Lookup(rcpt string) (Target, bool) {
	if len(t.routes) == 0 {
		return t.fallback, true
	}
	m, ok := parseMailbox(rcpt)
	if !ok {
		m = mailbox{local: foldLocalPart(rcpt), domain: t.hostname} // only the postmaster's needs no domain
	} else if target, ok := t.find(m); ok {
		return target, true
	}
	if t.passes && m.local == "postmaster" && m.domain == t.hostname {
		return t.postmaster, true
	}
	return Target{}, false
}

// find is what the first route asks for that matches m.
func (t *Table) find(m mailbox) (Target, bool) {
	for number := t.patterns.first(m); number < len(t.routes); number = t.next(m, number) {
		if target, ok := t.routes[number].target(m.domain); ok {
			return target, true
		}
	}
	return Target{}, false
}

// next is the number of the next route behind number with a pattern that matches m, or none. It looks at all of them:
// few addresses cannot be made.
func (t *Table) next(m mailbox, number int) int {
	for number++; number < len(t.routes); number++ {
		if t.routes[number].matches(m) {
			return number
		}
	}
	return none
}

// findPostmaster is what is asked for mail for the postmaster.
func (t *Table) findPostmaster() (Target, bool) {
	m := mailbox{local: "postmaster", domain: t.hostname, text: "postmaster@" + t.hostname}
	if target, ok := t.find(m); ok {
		return target, true
	}
	if t.fallback.Address != "" {
		return t.fallback, true
	}
	for i := range t.routes {
		if target, ok := t.routes[i].target(t.hostname); ok {
			return target, true
		}
	}
	return Target{}, false
}

// StoresRaw reports whether the raw message is stored of all mail, whatever its recipients, and of any; byDefault is
// what is set for all mail.
func (t *Table) StoresRaw(byDefault bool) (all, some bool) {
	if len(t.routes) == 0 || t.postmaster == t.fallback {
		all, some = byDefault, byDefault
	} else {
		all = true
	}
	for i := range t.routes {
		stores := t.routes[i].Raw.Stores(byDefault)
		all, some = all && stores, some || stores
	}
	return all, some
}

// Addresses are those that mail can go to and that are known before it comes, each once: those of the routes that are
// no templates, and the fallback where it is used.
func (t *Table) Addresses() []string {
	var list []string
	add := func(address string) {
		if !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	for i := range t.routes {
		if r := &t.routes[i]; r.Address.isStatic() {
			add(r.Address.String())
		}
	}
	if len(t.routes) == 0 || t.postmaster == t.fallback {
		add(t.fallback.Address)
	}
	return list
}
