package spool

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// State is how far an intent has come. What it means to a start that finds it after a crash:
type State string

const (
	// Uploading: no message can refer to the objects yet. They are deleted, unless a record refers to them.
	Uploading State = "uploading"
	// Publishing: a broker may hold a message that refers to the objects. They stay, and are reported as in doubt.
	Publishing State = "publishing"
	// Refused: no message refers to the objects. Their deletion is finished.
	Refused State = "refused"

	dropped State = "dropped" // ends an intent
)

// Intent is what a transaction is doing to the objects under its id.
type Intent struct {
	ID    string   `json:"id"`
	State State    `json:"state"`
	Keys  []string `json:"keys,omitempty"` // as given to objectstore.Store, without its prefix
}

// Time is when the transaction began, as its id says; zero where it is no UUIDv7.
func (i *Intent) Time() time.Time { return timeOf(i.ID) }

func timeOf(id string) time.Time {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return time.Time{}
	}
	return time.Unix(u.Time().UnixTime())
}

// apply brings an intent up to date with a later line about it; nil when that ends it.
func (i *Intent) apply(line Intent) *Intent {
	if line.State == dropped {
		return nil
	}
	if i == nil {
		i = &Intent{ID: line.ID}
	}
	i.State = line.State
	for _, k := range line.Keys {
		if !slices.Contains(i.Keys, k) {
			i.Keys = append(i.Keys, k)
		}
	}
	return i
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcDigits is how a checksum is written: so many hexadecimal digits.
const crcDigits = 8

// appendLine appends the line that stands for i in the journal: checksum, space, JSON.
func appendLine(b []byte, i Intent) []byte {
	j, err := json.Marshal(i)
	if err != nil {
		panic(err) // three texts
	}
	return appendChecked(b, j)
}

func appendChecked(b, j []byte) []byte {
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(j, castagnoli))
	return append(append(b, j...), '\n')
}

// checkedLine returns the JSON of a line without its line end, false where the checksum is not right.
func checkedLine(line []byte) ([]byte, bool) {
	if len(line) < crcDigits+1 || line[crcDigits] != ' ' {
		return nil, false
	}
	sum, err := strconv.ParseUint(string(line[:crcDigits]), 16, 32)
	j := line[crcDigits+1:]
	return j, err == nil && uint32(sum) == crc32.Checksum(j, castagnoli)
}
