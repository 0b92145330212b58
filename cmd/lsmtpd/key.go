package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// key is one configuration key. All sources of configuration give text.
type key struct {
	name, help string
	kind       string // what the value is, for the usage text
	secret     bool   // never a flag
	set        func(string) error
	get        func() string
	reveal     func() string // get with what it hides or rounds; nil where it does neither
}

// exact is the value in text, in the form that equal values share. It may hold secrets: it is for comparing alone.
func (k *key) exact() string {
	if k.reveal != nil {
		return k.reveal()
	}
	return k.get()
}

// env is the key's environment variable.
func (k *key) env() string {
	return "LSMTPD_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

func textKey(name, help string, p *string, check func(string) error) *key {
	return &key{name: name, help: help, kind: "text", get: func() string { return *p }, set: func(v string) error {
		if check != nil {
			if err := check(v); err != nil {
				return err
			}
		}
		*p = v
		return nil
	}}
}

func secretKey(name, help string, p *secret) *key {
	return &key{name: name, help: help, kind: "secret", secret: true, get: func() string { return p.String() }, reveal: func() string { return string(*p) }, set: func(v string) error { *p = secret(v); return nil }}
}

// optional is check for a key whose value may be empty.
func optional(check func(string) error) func(string) error {
	return func(v string) error {
		if v == "" {
			return nil
		}
		return check(v)
	}
}

// fileKey is the path of a file that has to be readable.
func fileKey(name, help string, p *string) *key {
	k := textKey(name, help, p, optional(func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("cannot read the file: %w", err)
		}
		return f.Close()
	}))
	k.kind = "file"
	return k
}

func enumKey(name, help string, p *string, values ...string) *key {
	k := textKey(name, help, p, func(v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("%q is unknown; want one of %s", v, strings.Join(values, ", "))
		}
		return nil
	})
	k.kind = strings.Join(values, "|")
	return k
}

func intKey(name, help string, p *int64, most int64) *key { return numberKey(name, help, p, 1, most) }

// rateKey is a number of which 0 means no limit.
func rateKey(name, help string, p *int64, most int64) *key { return numberKey(name, help, p, 0, most) }

func numberKey(name, help string, p *int64, least, most int64) *key {
	return &key{name: name, help: help, kind: "number", get: func() string { return strconv.FormatInt(*p, 10) }, set: func(v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number; want %d to %d", v, least, most)
		}
		if n < least || n > most {
			return fmt.Errorf("%d is out of range; want %d to %d", n, least, most)
		}
		*p = n
		return nil
	}}
}

// sizeKey is a number of octets: 65536, 64 KiB, 1.5 GB.
func sizeKey(name, help string, p *int64, least, most int64) *key {
	size := func(n int64) string { return humanize.IBytes(uint64(n)) }
	return &key{name: name, help: help, kind: "size", get: func() string { return size(*p) }, reveal: func() string { return strconv.FormatInt(*p, 10) }, set: func(v string) error {
		n, err := humanize.ParseBytes(v)
		if err != nil || n > 1<<62 {
			return fmt.Errorf("%q is not a size; want octets, as 65536, 64KiB or 1GiB", v)
		}
		if int64(n) < least || int64(n) > most {
			return fmt.Errorf("%s is out of range; want %s to %s", v, size(least), size(most))
		}
		*p = int64(n)
		return nil
	}}
}

func durationKey(name, help string, p *time.Duration, least, most time.Duration) *key {
	return &key{name: name, help: help, kind: "duration", get: func() string { return p.String() }, set: func(v string) error {
		d, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("%q is not a duration; want a number with its unit, as 90s or 5m", v)
		}
		if d < least || d > most {
			return fmt.Errorf("%s is out of range; want %s to %s", v, least, most)
		}
		*p = d
		return nil
	}}
}

func boolKey(name, help string, p *bool) *key {
	return &key{name: name, help: help, kind: "bool", get: func() string { return strconv.FormatBool(*p) }, set: func(v string) error {
		if v != "true" && v != "false" {
			return fmt.Errorf("%q is not a truth value; want true or false", v)
		}
		*p = v == "true"
		return nil
	}}
}

// listKey is a comma-separated list; in YAML also a sequence.
func listKey[T any](name, help string, p *[]T, parse func(string) (T, error), show func(T) string) *key {
	return &key{name: name, help: help, kind: "list",
		get: func() string {
			texts := make([]string, len(*p))
			for i, v := range *p {
				texts[i] = show(v)
			}
			return strings.Join(texts, ",")
		},
		set: func(v string) error {
			var list []T
			for _, text := range strings.Split(v, ",") {
				if text = strings.TrimSpace(text); text == "" {
					continue
				}
				one, err := parse(text)
				if err != nil {
					return err
				}
				list = append(list, one)
			}
			*p = list
			return nil
		}}
}

var hostnamePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?$`)

func isHostname(v string) error {
	if !hostnamePattern.MatchString(v) {
		return fmt.Errorf("%q is not a host name; want one like mx.example.org", v)
	}
	return nil
}

func isAbsolute(v string) error {
	if !filepath.IsAbs(v) {
		return fmt.Errorf("%q is not an absolute path; want one like /var/lib/lsmtpd/spool", v)
	}
	return nil
}

func isHostPort(v string) error {
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return fmt.Errorf("%q is not an address; want HOST:PORT, as 127.0.0.1:9090", v)
	}
	return checkPort(port)
}

func checkPort(port string) error {
	const most = 1<<16 - 1
	if n, err := strconv.ParseUint(port, 10, 64); err != nil || n > most {
		return fmt.Errorf("%q is not a port; want a number up to %d", port, most)
	}
	return nil
}
