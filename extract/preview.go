package extract

import (
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// maxPreview is the longest preview in characters, RFC 8621 §4.1.4.
const maxPreview = 256

// Preview is the beginning of a text in at most 256 characters, white space
// collapsed. With isHTML the text is that of an HTML document: without tags,
// comments, scripts, styles and title.
func Preview(text string, isHTML bool) string {
	var p previewer
	if !isHTML {
		p.write(text)
		return p.out.String()
	}
	z := html.NewTokenizer(strings.NewReader(text))
	hidden := "" // the element whose content is left out
	for p.count < maxPreview {
		switch z.Next() {
		case html.ErrorToken:
			return p.out.String()
		case html.TextToken:
			if hidden == "" {
				p.write(html.UnescapeString(string(z.Raw())))
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			if isHiddenElement(string(name)) && hidden == "" {
				hidden = string(name)
			}
			p.separate(string(name))
		case html.SelfClosingTagToken:
			name, _ := z.TagName()
			p.separate(string(name))
		case html.EndTagToken:
			name, _ := z.TagName()
			if string(name) == hidden {
				hidden = ""
			}
			p.separate(string(name))
		}
	}
	return p.out.String()
}

func isHiddenElement(name string) bool {
	switch name {
	case "script", "style", "title", "noscript", "template":
		return true
	}
	return false
}

// previewer collects the characters of a preview.
type previewer struct {
	out   strings.Builder
	count int  // characters written
	space bool // one is due before the next character
}

func (p *previewer) write(text string) {
	for _, c := range text {
		if p.count >= maxPreview {
			return
		}
		switch {
		case unicode.IsSpace(c) || c == '\u034f' || c == '\u2800':
			p.space = true
		case c != '\uFFFD' && unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			// Invisible: soft hyphens, zero-width and direction marks, which fill what follows the first line of advertisements.
		default:
			if p.space && p.count > 0 {
				if p.count++; p.count >= maxPreview {
					return
				}
				p.out.WriteByte(' ')
			}
			p.space = false
			p.out.WriteRune(c)
			p.count++
		}
	}
}

// separate notes a tag: words on both sides of one that is not inline stand apart.
func (p *previewer) separate(tag string) {
	switch tag {
	case "a", "abbr", "b", "big", "code", "em", "font", "i", "img", "ins", "del", "mark", "s", "small", "span", "strong", "sub", "sup", "tt", "u", "wbr":
		return
	}
	p.space = true
}
