package extract

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"lsmtpd/schema"
)

var update = flag.Bool("update", false, "write what is read from testdata/*.eml to the .json files beside them")

// golden is what is wanted of a message in testdata.
type golden struct {
	Exact     bool                        `json:"exact"`
	Email     schema.Email                `json:"email"`
	Structure *schema.BodyPart            `json:"structure"`
	Octets    map[string]string           `json:"octets"` // of each part; in base64 behind "base64:" where not UTF-8
	Texts     map[string]schema.BodyValue `json:"texts"`
	Previews  map[string]string           `json:"previews"`
	Problems  []schema.Problem            `json:"problems"`
}

func goldenOf(got reading) golden {
	g := golden{
		Exact: got.Exact, Email: got.Email, Structure: got.Structure, Problems: append(got.Problems, got.TextProblems...),
		Octets: map[string]string{}, Texts: map[string]schema.BodyValue{}, Previews: map[string]string{},
	}
	i := 0
	walk(got.Structure, func(p *schema.BodyPart) {
		if p.SubParts != nil {
			return
		}
		id, octets := got.IDs[i], got.Parts[i]
		i++
		if g.Octets[id] = octets; !utf8.ValidString(octets) {
			g.Octets[id] = "base64:" + base64.StdEncoding.EncodeToString([]byte(octets))
		}
		if strings.HasPrefix(p.Type, "text/") {
			g.Texts[id] = got.Texts[id]
			g.Previews[id] = Preview(g.Texts[id].Value, p.Type == "text/html")
		}
	})
	return g
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages in testdata: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".eml"), func(t *testing.T) {
			message, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(goldenOf(mustRead(t, string(message), Limits{})), "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := strings.TrimSuffix(name, ".eml") + ".json"
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s (-want +got):\n%s", file, d)
			}
		})
	}
}
