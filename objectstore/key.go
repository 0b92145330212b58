package objectstore

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxKeyBytes is S3's limit for a key, prefix included.
	maxKeyBytes = 1024
	// maxElementBytes leaves room for partSuffix within the 255 octets that file systems allow.
	maxElementBytes = 250
	// partSuffix ends the name of a temporary file, so no key may end in it.
	partSuffix = ".part"
)

// checkKey reports what is wrong with a key; the same rules hold for both stores. The error wraps ErrKey.
func checkKey(key string) error {
	if reason := keyFault(key); reason != "" {
		return fmt.Errorf("key %.80q %s: %w", key, reason, ErrKey)
	}
	return nil
}

func keyFault(key string) string {
	switch {
	case key == "":
		return "is empty"
	case len(key) > maxKeyBytes:
		return fmt.Sprintf("is longer than %d octets", maxKeyBytes)
	case !utf8.ValidString(key):
		return "is not UTF-8"
	case strings.ContainsFunc(key, unicode.IsControl):
		return "contains a control character"
	case strings.Contains(key, `\`):
		return "contains a backslash"
	case strings.HasPrefix(key, "/"):
		return "begins with a slash"
	case strings.HasSuffix(key, partSuffix):
		return "ends in " + partSuffix
	}
	for element := range strings.SplitSeq(key, "/") {
		switch {
		case element == "":
			return "has an empty element"
		case element == "." || element == "..":
			return "has the element " + element
		case len(element) > maxElementBytes:
			return fmt.Sprintf("has an element longer than %d octets", maxElementBytes)
		}
	}
	return ""
}

// objectURL builds the URL of an object; path is escaped where a URL demands it.
func objectURL(scheme, host, path string) string {
	u := url.URL{Scheme: scheme, Host: host, Path: "/" + strings.TrimPrefix(path, "/")}
	return u.String()
}
