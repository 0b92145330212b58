package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"lsmtpd/bridge/publish"
	"lsmtpd/bridge/smtpd"
)

// The errors of this file quote nothing that may hold a user name or a password.

// parseListen reads one endpoint of smtp.listen.
func parseListen(v string) (smtpd.Endpoint, error) {
	e, err := smtpd.ParseEndpoint(v)
	switch {
	case err != nil && strings.Contains(v, "@"):
		return e, errors.New("an endpoint has no user part; want smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT or lmtp:///PATH")
	case err == nil && e.Network == "tcp":
		err = isHostPort(e.Address)
	}
	return e, err
}

// brokersKey is a list of URLs, shown without their user parts.
func brokersKey(name, help string, p *[]*url.URL) *key {
	k := listKey(name, help, p, parseBroker, showBroker)
	k.reveal = listKey(name, help, p, parseBroker, (*url.URL).String).get
	return k
}

// parseBroker reads one URL of broker.url.
func parseBroker(v string) (*url.URL, error) {
	if !strings.Contains(v, "://") {
		return nil, errors.New("has no scheme; want amqp://HOST:PORT or amqps://HOST:PORT")
	}
	u, err := publish.ParseURL(v)
	if err == nil && u.Port() != "" {
		err = checkPort(u.Port())
	}
	return u, err
}

// showBroker is u without its user part.
func showBroker(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
}

// isStoreURL checks what can be told of store.url alone; objectstore.Open checks the rest.
func isStoreURL(v string) error {
	const want = "want file:///DIRECTORY or s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION"
	if !strings.Contains(v, "://") {
		return fmt.Errorf("has no scheme; %s", want)
	}
	if _, err := url.Parse(v); err != nil {
		return fmt.Errorf("is not a URL; %s", want)
	}
	return nil
}
