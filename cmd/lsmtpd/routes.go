package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"lsmtpd/bridge/route"
	"lsmtpd/objectstore"
)

// routesKey is the one key that is no text: it stands in the configuration file alone.
const routesKey = "routes"

// routeKeys are the keys of a route, bound to the fields of r.
func routeKeys(r *route.Route) []*key {
	return []*key{
		patternsKey("match", "recipients, as in smtp.allow", &r.Match),
		templateKey("address", &r.Address, route.MaxAddress),
		templateKey("subject", &r.Subject, route.MaxSubject),
		templateKey("group_id", &r.GroupID, route.MaxGroupID),
		sizeKey("offload_threshold", "in the place of message.offload_threshold", &r.OffloadThreshold, 0, maxOffloadThreshold),
		rawKey("raw", &r.Raw),
	}
}

// patternsKey is a list of patterns of recipients. In some of them there are commas.
func patternsKey(name, help string, p *[]route.Pattern) *key {
	k := listKey(name, help, p, route.ParsePattern, route.Pattern.String)
	k.set = func(v string) error {
		list, err := route.ParsePatterns(v)
		if err == nil {
			*p = list
		}
		return err
	}
	return k
}

// templateKey is a text in which {rcpt.domain} may stand.
func templateKey(name string, p *route.Template, most int) *key {
	return &key{name: name, kind: "text", get: func() string { return p.String() }, set: func(v string) error {
		t, err := route.ParseTemplate(v, most)
		if err == nil {
			*p = t
		}
		return err
	}}
}

// rawKey is whether the raw message is stored, "" where the route leaves that to message.raw.
func rawKey(name string, p *route.Raw) *key {
	values := map[route.Raw]string{route.NoRaw: rawOff, route.StoreRaw: rawStore}
	text := ""
	k := enumKey(name, "in the place of message.raw", &text, rawOff, rawStore)
	k.get = func() string { return values[*p] }
	parse := k.set
	k.set = func(v string) error {
		err := parse(v)
		for raw, name := range values {
			if err == nil && v == name {
				*p = raw
			}
		}
		return err
	}
	return k
}

// loadRoutes applies the list of routes in node, whose key stands at place.
func (l *loader) loadRoutes(path, place string, node *yaml.Node) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.SequenceNode {
		l.fail("%s: %s: want a list, as in - {match: in@example.com, address: mail}", place, routesKey)
		return
	}
	before, routes := len(l.errs), make([]route.Route, len(node.Content))
	for i, n := range node.Content {
		routes[i] = l.loadRoute(path, i, n)
	}
	if len(l.errs) > before {
		return // what a route takes is not known
	}
	for i, n := range node.Content {
		if by, unreachable := route.Unreachable(routes, i); unreachable {
			l.fail("%s: can never be reached, as all that it matches goes to %s; put it before, or remove it", routePlace(path, i, n), routeNumbers(by))
		}
	}
	l.settings.routes = routes
}

// routePlace is what an error in route i begins with that was found at n.
func routePlace(path string, i int, n *yaml.Node) string {
	return fmt.Sprintf("%s:%d: %s: route %d", path, n.Line, routesKey, i+1)
}

// routeNumbers names routes as people count them.
func routeNumbers(list []int) string {
	texts := make([]string, len(list))
	for i, number := range list {
		texts[i] = fmt.Sprintf("route %d", number+1)
	}
	return strings.Join(texts, " and ")
}

// loadRoute reads route i.
func (l *loader) loadRoute(path string, i int, node *yaml.Node) route.Route {
	r := route.Route{OffloadThreshold: route.DefaultThreshold}
	if node.Kind != yaml.MappingNode {
		l.fail("%s: want match and address, as in {match: in@example.com, address: mail}", routePlace(path, i, node))
		return r
	}
	keys, names := map[string]*key{}, []string{}
	for _, k := range routeKeys(&r) {
		keys[k.name], names = k, append(names, k.name)
	}
	seen, bad := map[string]bool{}, map[string]bool{}
	for j := 0; j+1 < len(node.Content); j += 2 {
		name, value, before := node.Content[j].Value, node.Content[j+1], len(l.errs)
		place := routePlace(path, i, node.Content[j])
		switch {
		case seen[name]:
			l.fail("%s: %s: given twice; remove one of them", place, name)
		case keys[name] != nil:
			l.loadValue(place, keys[name], value)
		default:
			l.fail("%s: %s: unknown key; want one of %s", place, name, strings.Join(names, ", "))
		}
		seen[name], bad[name] = true, len(l.errs) > before
	}
	for _, need := range []struct{ name, example string }{{"match", "in@example.com"}, {"address", "mail"}} {
		if err := missing(need.name, keys[need.name].get() != "", need.example); err != nil && !bad[need.name] {
			l.fail("%s: %w", routePlace(path, i, node), err)
		}
	}
	return r
}

// routeTable is where the mail goes.
func (s *settings) routeTable() *route.Table {
	return route.NewTable(s.routes, s.broker.address, s.smtp.hostname)
}

// validateRoutes reports what is wrong with routes and broker.address together: without routes, mail needs the address.
func (s *settings) validateRoutes() error {
	if len(s.routes) == 0 {
		return missing("broker.address", s.broker.address != "", "mail")
	}
	if _, ok := s.routeTable().Lookup("postmaster"); !ok {
		return errors.New("routes: no address for <postmaster>, whose mail is always taken (RFC 5321 §4.5.1); set broker.address, or a route to an address without {rcpt.domain}")
	}
	return nil
}

// storesRaw reports whether the raw message of any mail is stored.
func (s *settings) storesRaw() bool {
	_, some := s.routeTable().StoresRaw(s.message.raw == rawStore)
	return some
}

// validateRaw reports settings of the store with which a raw message cannot be stored beside its parts.
func (s *settings) validateRaw() error {
	if !s.storesRaw() {
		return nil
	}
	const needs = "which message.raw: store, or raw: store in a route, needs"
	if least := objectstore.TogetherBytes(s.store.partBytes); s.store.memory < least {
		return fmt.Errorf("store.memory: %d octets cannot hold two parts of store.part_bytes, %d octets each, "+needs+"; want at least %d, or smaller parts", s.store.memory, s.store.partBytes, least)
	}
	if most := objectstore.MaxTogetherBytes(s.store.partBytes); strings.HasPrefix(s.store.url, "s3:") && s.smtp.maxMessageBytes > most {
		return fmt.Errorf("smtp.max_message_bytes: %d octets do not fit into an object with parts of store.part_bytes, %d octets each, "+needs+"; want at most %d, or larger parts", s.smtp.maxMessageBytes, s.store.partBytes, most)
	}
	return nil
}

// printRaw shows whether raw messages are stored.
func (s *settings) printRaw(w io.Writer) {
	all, some := s.routeTable().StoresRaw(s.message.raw == rawStore)
	switch {
	case all:
		fmt.Fprintln(w, "raw messages: stored")
	case some:
		fmt.Fprintf(w, "raw messages: stored as the routes say, and without a route that says it message.raw: %s\n", s.message.raw)
	default:
		fmt.Fprintln(w, "raw messages: not stored")
	}
}

// printRoutes shows the routes and what becomes of other mail.
func (s *settings) printRoutes(w io.Writer) {
	for i, r := range s.routes {
		fmt.Fprintf(w, "route %d: ", i+1)
		separator := ""
		for _, k := range routeKeys(&r) {
			value := k.get()
			if value == "" || k.name == "offload_threshold" && r.OffloadThreshold == route.DefaultThreshold {
				continue
			}
			fmt.Fprintf(w, "%s%s %s", separator, k.name, value)
			separator = "; "
		}
		fmt.Fprintln(w)
	}
	if target, ok := s.routeTable().Lookup("postmaster"); ok && len(s.routes) > 0 {
		fmt.Fprintf(w, "other recipients: refused with 550 5.1.1; <postmaster>: address %s\n", target.Address)
	}
}
