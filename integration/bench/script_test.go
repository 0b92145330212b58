package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
)

// spoken is all that a script sends.
func spoken(s script) string {
	var b strings.Builder
	for _, st := range s {
		for range st.rounds {
			b.Write(st.send)
		}
	}
	return b.String()
}

// expected is how many lines of replies a script wants.
func expected(s script) (lines int) {
	for _, st := range s {
		lines += len(st.want) * st.rounds
	}
	return lines
}

func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		name   string
		block  []byte
		lines  [2]int // least and most
		dotted [2]int // lines that begin with a dot
	}{
		{"base64", base64Block(), [2]int{13443, 13445}, [2]int{0, 0}},
		{"text", textBlock(), [2]int{24_000, 26_000}, [2]int{3000, 3300}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if len(c.block) != blockOctets {
				t.Errorf("length: got %d, want %d", len(c.block), blockOctets)
			}
			text := string(c.block)
			pairs := strings.Count(text, "\r\n")
			if pairs < c.lines[0] || pairs > c.lines[1] || pairs != strings.Count(text, "\n") || pairs != strings.Count(text, "\r") || !strings.HasSuffix(text, "\r\n") {
				t.Errorf("lines: got %d that end in CRLF, want %v, and no other CR or LF", pairs, c.lines)
			}
			dotted := strings.Count("\r\n"+text, "\r\n.")
			if dotted < c.dotted[0] || dotted > c.dotted[1] {
				t.Errorf("lines that begin with a dot: got %d, want %v", dotted, c.dotted)
			}
			if got := len(stuff(c.block)); got != len(c.block)+dotted {
				t.Errorf("stuffed: got %d octets, want %d", got, len(c.block)+dotted)
			}
		})
	}
}

func TestStuff(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"a\r\n", "a\r\n"}, {".\r\n", "..\r\n"}, {"..\r\n.\r\n", "...\r\n..\r\n"}, {"a.\r\n.b\r\n\r\n.\r\n", "a.\r\n..b\r\n\r\n..\r\n"},
	} {
		if got := string(stuff([]byte(c.lines))); got != c.want {
			t.Errorf("stuff(%q): got %q, want %q", c.lines, got, c.want)
		}
		r := textproto.NewReader(bufio.NewReader(strings.NewReader(c.want + ".\r\n")))
		if got, err := r.ReadDotBytes(); err != nil || string(got) != strings.ReplaceAll(c.lines, "\r\n", "\n") {
			t.Errorf("%q, unstuffed: got %q, error %v; want %q", c.want, got, err, c.lines)
		}
	}
}

// What a script says must be whole mails of the size that it says: a server that gets something else would be measured
// by something else.
func TestScripts(t *testing.T) {
	block, small := textBlock(), []byte(header+".a dot\r\n")
	const mails = 32
	for _, c := range []struct {
		name          string
		script        script
		mails, octets int // octets of each mail
		replies       int
	}{
		{"large DATA", largeData(block, 3), 1, len(header) + 3*blockOctets, 4},
		{"large BDAT", largeChunks(block, 3, 1<<20), 1, len(header) + 3*blockOctets, 3 + 3 + 1},
		{"large BDAT, small chunks", largeChunks(block, 3, 64<<10), 1, len(header) + 3*blockOctets, 3 + 3*16 + 1},
		{"small DATA", smallData(small, mails), mails, len(small), 4 * mails},
		{"small BDAT", smallChunks(small, mails), mails, len(small), 3 * mails},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := expected(c.script); got != c.replies {
				t.Errorf("replies: got %d, want %d", got, c.replies)
			}
			said := spoken(c.script)
			var got []int
			for in := bufio.NewReader(strings.NewReader(said)); ; {
				octets, ok := readMail(t, textproto.NewReader(in))
				if !ok {
					break
				}
				got = append(got, octets)
			}
			if len(got) != c.mails {
				t.Fatalf("mails: got %d, want %d", len(got), c.mails)
			}
			for i, octets := range got {
				if octets != c.octets {
					t.Errorf("mail %d: got %d octets, want %d", i, octets, c.octets)
				}
			}
		})
	}
}

// readMail reads a mail as a server would, and returns its length; false at the end of the script.
func readMail(t *testing.T, r *textproto.Reader) (octets int, ok bool) {
	t.Helper()
	for {
		line, err := r.ReadLine()
		if err != nil {
			return 0, false
		}
		var n int
		switch {
		case strings.HasPrefix(line, "MAIL "), strings.HasPrefix(line, "RCPT "):
		case line == "DATA":
			text, err := r.ReadDotBytes()
			if err != nil {
				t.Fatalf("DATA: %v", err)
			}
			return len(text) + bytes.Count(text, []byte{'\n'}), true // it has made LF of CRLF
		case strings.HasPrefix(line, "BDAT "):
			if _, err := fmt.Sscanf(line, "BDAT %d", &n); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if got, err := r.R.Discard(n); err != nil {
				t.Fatalf("%q: %d octets, then %v", line, got, err)
			}
			if octets += n; strings.HasSuffix(line, " LAST") {
				return octets, true
			}
		default:
			t.Fatalf("command %q", line)
		}
	}
}

// A sink must answer what a script wants, and a client must see what is not wanted.
func TestSay(t *testing.T) {
	said := smallData([]byte(header+"text\r\n"), 3)
	wrong := script{{send: []byte("NOOP\r\n"), want: []string{"250"}, rounds: 1}}
	for _, c := range []struct {
		name       string
		says, does script
		fails      bool
	}{
		{"as wanted", said, said, false},
		{"streamed", smallChunks([]byte(header), 32), smallChunks([]byte(header), 32), false},
		{"another reply", wrong, script{{send: wrong[0].send, want: []string{"550"}, rounds: 1}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() {
				conn, err := ln.Accept()
				if err == nil {
					err = sink(conn, c.does)
					_ = conn.Close()
				}
				served <- err
			}()
			_, err = saySeveral(t.Context(), ln.Addr().String(), 1, c.says)
			if (err != nil) != c.fails {
				t.Errorf("say: got error %v, want one: %v", err, c.fails)
			}
			if err := <-served; err != nil && !c.fails {
				t.Errorf("sink: %v", err)
			}
			_ = ln.Close()
		})
	}
}

// sendChunks waits for as many replies as chunker makes chunks.
func TestChunker(t *testing.T) {
	m := attachmentMessage(5 << 20)
	size := m.size()
	var wire bytes.Buffer
	w := bufio.NewWriterSize(chunker{&wire}, chunkOctets)
	m(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	wire.WriteString("BDAT 0 LAST\r\n")
	text := wire.Bytes()
	if got, ok := readMail(t, textproto.NewReader(bufio.NewReader(bytes.NewReader(text)))); !ok || int64(got) != size {
		t.Errorf("octets: got %d, want %d", got, size)
	}
	if got, want := int64(bytes.Count(text, []byte("BDAT "))-1), (size+chunkOctets-1)/chunkOctets; got != want {
		t.Errorf("chunks: got %d, want %d", got, want)
	}
}
