package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A script is one side of an SMTP session after EHLO, made beforehand, so that saying it costs little: octets to send,
// and the replies to them.
type script []step

// step is what is sent at once, and what is answered.
type step struct {
	send     []byte
	want     []string // what the lines of the replies begin with
	rounds   int      // how often it is sent
	streamed bool     // all rounds are sent without waiting for replies
}

// scriptTimeout bounds the saying of a script.
const scriptTimeout = 2 * time.Minute

// say says a script, and fails on replies that it does not expect.
func (c *client) say(s script) error {
	if err := c.conn.SetDeadline(time.Now().Add(scriptTimeout)); err != nil {
		return err
	}
	for i, st := range s {
		if err := c.sayStep(st); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

func (c *client) sayStep(st step) error {
	if !st.streamed {
		for range st.rounds {
			if _, err := c.conn.Write(st.send); err != nil {
				return errors.Join(err, c.hear(st, 1)) // a reply may say why
			}
			if err := c.hear(st, 1); err != nil {
				return err
			}
		}
		return nil
	}
	heard := make(chan error, 1)
	go func() {
		err := c.hear(st, st.rounds)
		if err != nil {
			_ = c.conn.SetDeadline(time.Now()) // there is no use in going on
		}
		heard <- err
	}()
	var err error
	for i := 0; i < st.rounds && err == nil; i++ {
		_, err = c.conn.Write(st.send)
	}
	return errors.Join(<-heard, err)
}

// hear reads the replies to so many rounds of a step.
func (c *client) hear(st step, rounds int) error {
	for range rounds {
		for _, want := range st.want {
			line, err := c.replies.R.ReadSlice('\n')
			if err != nil {
				return fmt.Errorf("wait for %q: %w", want, err)
			}
			if !bytes.HasPrefix(line, []byte(want)) {
				return fmt.Errorf("reply %q: want %q", line, want)
			}
		}
	}
	return nil
}

// saySeveral says the script on so many connections at once, and returns the time from there to the last reply.
func saySeveral(ctx context.Context, addr string, connections int, s script) (time.Duration, error) {
	return together(ctx, addr, connections, func(c *client) error { return c.say(s) })
}

// blockOctets is the length of what large messages are repetitions of.
const blockOctets = 1 << 20

// base64Block is a block of base64 in lines of 76 octets.
func base64Block() []byte {
	const line = lineOctets/3*4 + 2
	block := base64Lines(blockOctets / line)
	return endBlock(block)
}

// textBlock is a block of lines of 40 octets on average. Every eighth begins with a dot.
func textBlock() []byte {
	random := rand.New(rand.NewPCG(4, 5321))
	block := make([]byte, 0, blockOctets)
	for lines := 0; ; lines++ {
		line := make([]byte, 10+random.IntN(61))
		for i := range line {
			line[i] = "etaoin shrdlu, cmfwyp."[random.IntN(22)]
		}
		switch {
		case lines%8 == 0:
			line[0] = '.'
		case line[0] == '.':
			line[0] = 'e'
		}
		if len(block)+len(line)+2 > blockOctets-2 {
			return endBlock(block)
		}
		block = append(append(block, line...), '\r', '\n')
	}
}

// endBlock makes a block as long as it must be by a last line.
func endBlock(block []byte) []byte {
	last := blockOctets - len(block) - 2
	return append(append(block, strings.Repeat("=", last)...), '\r', '\n')
}

// stuff doubles the dots at the beginning of lines (RFC 5321 §4.5.2).
func stuff(lines []byte) []byte {
	stuffed := bytes.ReplaceAll(lines, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(lines, []byte{'.'}) {
		stuffed = append([]byte{'.'}, stuffed...)
	}
	return stuffed
}

const (
	envelope = "MAIL FROM:<a@example.org>\r\nRCPT TO:<in@example.com>\r\n"
	header   = fields + "Content-Type: text/plain\r\n\r\n"
)

// queued is the reply to a message of so many octets.
func queued(octets int) string { return fmt.Sprintf("250 2.0.0 queued as %d\r\n", octets) }

// largeData is one mail of a header and so many blocks, by DATA.
func largeData(block []byte, blocks int) script {
	return script{
		{send: []byte(envelope + "DATA\r\n"), want: []string{"250", "250", "354"}, rounds: 1},
		{send: []byte(header), rounds: 1},
		{send: stuff(block), rounds: blocks, streamed: true},
		{send: []byte(".\r\n"), want: []string{queued(len(header) + blocks*len(block))}, rounds: 1},
	}
}

// largeChunks is one mail of a header and so many blocks, by BDAT in chunks that fill a block.
func largeChunks(block []byte, blocks, chunk int) script {
	var send []byte
	var want []string
	for at := 0; at < len(block); at += chunk {
		send = append(fmt.Appendf(send, "BDAT %d\r\n", chunk), block[at:at+chunk]...)
		want = append(want, "250")
	}
	return script{
		{send: []byte(envelope + fmt.Sprintf("BDAT %d\r\n", len(header)) + header), want: []string{"250", "250", "250"}, rounds: 1},
		{send: send, want: want, rounds: blocks, streamed: true},
		{send: []byte("BDAT 0 LAST\r\n"), want: []string{queued(len(header) + blocks*len(block))}, rounds: 1},
	}
}

// smallData is so many mails by DATA, as RFC 2920 §3.1 lets a client send them: DATA ends a group of commands, and the
// message begins the next one.
func smallData(text []byte, mails int) script {
	commands, end, done := []byte(envelope+"DATA\r\n"), append(stuff(text), ".\r\n"...), queued(len(text))
	return script{
		{send: commands, want: []string{"250", "250", "354"}, rounds: 1},
		{send: append(bytes.Clone(end), commands...), want: []string{done, "250", "250", "354"}, rounds: mails - 1},
		{send: end, want: []string{done}, rounds: 1},
	}
}

// smallChunks is so many mails by BDAT, 16 of them in each write, sent without waiting for a reply.
func smallChunks(text []byte, mails int) script {
	const together = 16
	one := append([]byte(envelope+fmt.Sprintf("BDAT %d LAST\r\n", len(text))), text...)
	want := []string{"250", "250", queued(len(text))}
	var wants []string
	for range together {
		wants = append(wants, want...)
	}
	return script{{send: bytes.Repeat(one, together), want: wants, rounds: (mails + together - 1) / together, streamed: true}}
}
