package smtpd_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"testing"
	"time"
)

func TestScratch(t *testing.T) {
	if os.Getenv("SCRATCH") == "" {
		t.Skip()
	}
	list, err := parseDialogues(dialogueFolder)
	if err != nil {
		t.Fatal(err)
	}
	config := testTLS(t)
	for _, d := range list {
		c := config
		if !d.options.tls {
			c = nil
		}
		for _, theirs := range []bool{false, true} {
			rec := &recorder{maxBytes: d.options.bytes, maxRecipients: d.options.recipients}
			var addr string
			var stop func()
			if theirs {
				addr, stop = startGosmtp(t, d.options, rec.backend(), c)
			} else {
				addr, stop = startOurs(t, d.options, rec.backend(), c)
			}
			r := &run{dialogue: d, gosmtp: theirs}
			r.conn, _ = net.Dial("tcp", addr)
			r.r = bufio.NewReader(r.conn)
			for _, s := range d.steps {
				if s.kind != "S" {
					if err := r.step(s); err != nil {
						fmt.Printf("ANN %s:%d:%v:ERR %v\n", d.file, s.line, theirs, err)
					}
					continue
				}
				r.send()
				want := s.text
				if theirs && s.differ != nil {
					want = s.differ.want
				}
				if want == "none" {
					continue
				}
				got := r.reply(150 * time.Millisecond)
				if !alike(got, want, theirs && s.differ == nil) {
					fmt.Printf("ANN %s:%d:%v:%s\n", d.file, s.line, theirs, got)
				}
				if theirs && s.differ != nil && s.differ.stop {
					break
				}
			}
			r.conn.Close()
			stop()
		}
	}
}
