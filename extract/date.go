package extract

import (
	"strconv"
	"strings"
	"time"
)

const maxDate = 256 // octets of a Date that are looked at

// parseDate reads a Date: the forms of RFC 5322 §3.3 and §4.3, and what else has
// a day, a month and a year in it. Exact is false where it is none of the RFC's.
// A date without a zone is UTC, one without a time begins its day. Years beyond
// 1 to 9999, which JSON does not have, are not read.
func parseDate(value string) (t time.Time, exact, ok bool) {
	s := strings.TrimSpace(unfolded(value))
	if len(s) > maxDate {
		return time.Time{}, false, false
	}
	if t, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", s); err == nil && s[len(s)-2] < '6' { // nearly all
		t, ok = inRange(t)
		return t, ok, ok
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			t, ok = inRange(t)
			return t, false, ok
		}
	}
	d := dateReader{day: -1, year: -1, hour: -1, exact: true}
	for word := range strings.FieldsFuncSeq(joinTime(stripComments(s)), func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '"' }) {
		d.word(word)
	}
	t, ok = d.time()
	return t, d.exact && d.zone != nil && ok, ok
}

// inRange is t in whole seconds, at a fixed offset, if JSON has it.
func inRange(t time.Time) (time.Time, bool) {
	_, offset := t.Zone()
	year, utc := t.Year(), t.UTC().Year()
	if year < 1 || year > 9999 || utc < 1 || utc > 9999 || offset <= -24*3600 || offset >= 24*3600 {
		return time.Time{}, false
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.FixedZone("", offset)), true
}

// joinTime takes out the blanks around the colons of a time, which RFC 5322 §4.3 allows.
func joinTime(s string) string {
	if !strings.Contains(s, " :") && !strings.Contains(s, ": ") {
		return s
	}
	parts := strings.Split(s, ":")
	for i := range parts {
		if parts[i] = strings.TrimRight(parts[i], " \t"); i > 0 {
			parts[i] = strings.TrimLeft(parts[i], " \t")
		}
	}
	return strings.Join(parts, ":")
}

// dateReader collects the pieces of a date. They tell what they are by their form, and numbers by their order.
type dateReader struct {
	day, year            int // -1 before they came
	month                time.Month
	hour, minute, second int // hour -1 before it came
	zone                 *time.Location
	exact                bool // nothing came that the RFC does not have
}

// word takes the next piece.
func (d *dateReader) word(w string) {
	switch {
	case !isSevenBit(w): // it is none of a date's, and may change its length with its case
		d.exact = false
	case (w[0] == '+' || w[0] == '-') && d.setOffset(w):
	case w[0] >= '0' && w[0] <= '9':
		d.number(w)
	case d.setMonth(w):
	case isWeekday(w):
		d.exact = d.exact && d.day < 0
	case strings.EqualFold(w, "AM") || strings.EqualFold(w, "PM"):
		d.half(w)
	default:
		d.exact = d.setZone(w) && d.exact
	}
}

// number takes a piece that begins with a digit.
func (d *dateReader) number(w string) {
	if strings.Contains(w, ":") || strings.Count(w, ".") == 2 && d.day >= 0 {
		d.setTime(w)
		return
	}
	if parts := strings.FieldsFunc(w, func(r rune) bool { return r == '-' || r == '/' || r == '.' }); len(parts) == 3 {
		d.exact = false
		if n, err := strconv.Atoi(parts[1]); err == nil && len(parts[0]) == 4 && n >= 1 && n <= 12 {
			d.month = time.Month(n) // 2006-01-02
			parts = []string{parts[2], parts[0]}
		} else if d.setMonth(parts[1]) {
			parts = []string{parts[0], parts[2]} // 2-Jan-2006
		} else {
			return // which is the month nobody knows
		}
		for _, p := range parts {
			d.number(p)
		}
		return
	}
	n, err := strconv.Atoi(strings.TrimRight(w, "."))
	switch {
	case err != nil:
		d.exact = false
	case d.day < 0 && len(w) <= 3:
		d.day = n
	case d.year < 0:
		d.setYear(n, len(w))
	case d.hour >= 0 && d.zone == nil && len(w) == 4:
		d.exact = false
		d.setOffset("+" + w)
	default:
		d.exact = false
	}
}

// setYear takes a year; those of two and three digits as RFC 5322 §4.3 has it.
func (d *dateReader) setYear(n, digits int) {
	switch {
	case digits <= 2 && n < 50:
		n += 2000
	case digits <= 3:
		n += 1900
	}
	d.year = n
}

// setTime takes 15:04:05, with or without seconds and what is behind their point.
func (d *dateReader) setTime(w string) {
	lower := strings.ToLower(w)
	if half := lower[max(len(w)-2, 0):]; half == "am" || half == "pm" {
		defer d.half(half)
		w = w[:len(w)-2]
	} else if zone := strings.IndexAny(w, "+-"); zone > 0 {
		d.exact = d.setOffset(w[zone:]) && false
		w = w[:zone]
	} else if lower[len(w)-1] == 'z' {
		d.exact = d.setZone("Z") && false
		w = w[:len(w)-1]
	}
	if !strings.Contains(w, ":") {
		w = strings.ReplaceAll(w, ".", ":")
		d.exact = false
	}
	w, fraction, _ := strings.Cut(w, ".")
	var n [3]int
	parts := strings.Split(w, ":")
	d.exact = d.exact && fraction == "" && d.hour < 0 && len(parts) <= 3
	for i, p := range parts[:min(len(parts), 3)] {
		var err error
		if n[i], err = strconv.Atoi(p); err != nil {
			d.exact = false
			return
		}
	}
	d.hour, d.minute, d.second = n[0], n[1], n[2]
}

// half takes AM or PM.
func (d *dateReader) half(w string) {
	d.exact = false
	pm := strings.EqualFold(w, "pm")
	switch {
	case pm && d.hour >= 1 && d.hour < 12:
		d.hour += 12
	case !pm && d.hour == 12:
		d.hour = 0
	}
}

func (d *dateReader) setMonth(w string) bool {
	if d.month != 0 {
		return false
	}
	w = strings.TrimRight(w, ".")
	for m := time.January; m <= time.December; m++ {
		if name := m.String(); len(w) >= 3 && strings.EqualFold(name[:3], w[:3]) && (len(w) <= 4 || strings.EqualFold(name, w)) {
			d.exact = d.exact && len(w) == 3 && d.day >= 0
			d.month = m
			return true
		}
	}
	return false
}

// setOffset takes +0100, +01:00 or +01.
func (d *dateReader) setOffset(w string) bool {
	digits := strings.Replace(w[1:], ":", "", 1)
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || d.zone != nil || len(digits) > 4 {
		d.exact = false
		return false
	}
	d.exact = d.exact && len(w) == 5 && n%100 < 60
	if len(digits) <= 2 {
		n *= 100
	}
	seconds := int(n/100*3600 + n%100*60)
	if w[0] == '-' {
		seconds = -seconds
	}
	d.zone = time.FixedZone("", seconds)
	return true
}

// zoneHours are the names of zones in RFC 5322 §4.3. All others mean -0000 there: nobody knows which they are.
var zoneHours = map[string]int{"GMT": 0, "UT": 0, "UTC": 0, "Z": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}

// setZone takes a zone by its name, and GMT+0100. False for what is none of the RFC's.
func (d *dateReader) setZone(w string) bool {
	name := strings.ToUpper(w)
	if i := strings.IndexAny(w, "+-"); i > 0 && d.setOffset(w[i:]) {
		return false
	}
	hours, known := zoneHours[name]
	if d.zone == nil && isZoneName(name) {
		d.zone = time.FixedZone("", hours*3600)
	}
	return known || len(name) == 1 && name != "J" && isZoneName(name)
}

func isZoneName(s string) bool {
	for _, c := range s {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(s) <= 5
}

// time is the date that was read.
func (d *dateReader) time() (time.Time, bool) {
	if d.day < 1 || d.month == 0 || d.year < 0 {
		return time.Time{}, false
	}
	if d.hour < 0 {
		d.hour, d.exact = 0, false
	}
	zone := d.zone
	if zone == nil {
		zone = time.FixedZone("", 0)
	}
	if d.hour > 23 || d.minute > 59 || d.second > 60 { // 60 is a leap second
		return time.Time{}, false
	}
	if t := time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC); t.Day() != d.day {
		return time.Time{}, false
	}
	return inRange(time.Date(d.year, d.month, d.day, d.hour, d.minute, d.second, 0, zone))
}

func isWeekday(s string) bool {
	s = strings.TrimRight(s, ".")
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := d.String(); len(s) >= 3 && strings.EqualFold(name[:3], s[:3]) && (len(s) <= 5 || strings.EqualFold(name, s)) {
			return true
		}
	}
	return false
}
