// The program enmime reads messages with the library of that name and tells what it found, as decode.py does: a line of
// standard input is a JSON object {"octets": base64}, a line of standard output one of {"parts": [{"id", "type", "size",
// "sha256", "name"}], "defects": [names of errors]}. It is a module of its own, so that lsmtpd does not depend on what
// it is compared with.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/jhillyerd/enmime/v2"
	"github.com/jhillyerd/enmime/v2/mediatype"
)

type question struct {
	Octets []byte `json:"octets"`
}

type part struct {
	ID     string  `json:"id"`
	Type   string  `json:"type"`
	Size   int     `json:"size"`
	SHA256 string  `json:"sha256"`
	Name   *string `json:"name"`
}

type answer struct {
	Parts   []part   `json:"parts"`
	Defects []string `json:"defects"`
}

func main() {
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	out := json.NewEncoder(os.Stdout)
	parser := enmime.NewParser(enmime.SetCustomParseMediaType(parseMediaType), enmime.DisableCharacterDetection(true))
	for {
		var q question
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(read(parser, q.Octets)); err != nil {
			log.Fatal(err)
		}
	}
}

// textAs is what a text is called within the library, which else would convert its charset.
const textAs = "octets+text/"

func parseMediaType(value string) (mediaType string, parameters map[string]string, invalid []string, err error) {
	mediaType, parameters, invalid, err = mediatype.Parse(value)
	if subtype, isText := strings.CutPrefix(mediaType, "text/"); isText {
		mediaType = textAs + subtype
	}
	return mediaType, parameters, invalid, err
}

func read(parser *enmime.Parser, octets []byte) answer {
	a := answer{Parts: []part{}, Defects: []string{}}
	root, err := parser.ReadParts(bytes.NewReader(octets))
	if err != nil {
		a.Defects = append(a.Defects, "fatal: "+err.Error())
		return a
	}
	a.add(root)
	slices.Sort(a.Defects)
	a.Defects = slices.Compact(a.Defects)
	return a
}

// add adds p, and what is below and behind it.
func (a *answer) add(p *enmime.Part) {
	for ; p != nil; p = p.NextSibling {
		for _, e := range p.Errors {
			a.Defects = append(a.Defects, e.Name)
		}
		if p.FirstChild != nil {
			a.add(p.FirstChild)
			continue
		}
		id := p.PartID
		if id == "0" {
			id = "1"
		}
		var name *string
		if p.FileName != "" {
			name = &p.FileName
		}
		sum := sha256.Sum256(p.Content)
		a.Parts = append(a.Parts, part{id, strings.Replace(p.ContentType, textAs, "text/", 1), len(p.Content), hex.EncodeToString(sum[:]), name})
	}
}
