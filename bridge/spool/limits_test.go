package spool

import (
	"errors"
	"strings"
	"testing"
)

// TestFullSpoolDrains: what takes the place of a record needs no room of the limits, or a full spool would never empty.
func TestFullSpoolDrains(t *testing.T) {
	for name, cfg := range map[string]Config{
		"messages": {MaxMessages: 1}, "octets": {MaxBytes: growth}, "disk": {MinFreeBytes: 1},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Dir = t.TempDir()
			s := openAt(t, cfg)
			id := newID()
			w, err := s.NewRaw(id)
			if err == nil {
				_, err = w.Write(make([]byte, growth-4096))
			}
			if err = errors.Join(err, w.Commit(rawHeader(id))); err != nil {
				t.Fatal(err)
			}
			if cfg.MinFreeBytes > 0 {
				s.cfg.MinFreeBytes = 1 << 60
			}
			m := prepared(newID(), id, "mail", false)
			m.Message.Email.Preview = strings.Repeat("x", 8192)
			if err := takeNow(t, s).Replace([]Message{m}); err != nil {
				t.Fatal(err)
			}
			e := takeNow(t, s)
			if _, err := e.Rewrite(m); err != nil {
				t.Fatal(err)
			}
			e.Remove()
			if st := s.Stats(); st.Waiting != 0 || st.Bytes != 0 {
				t.Errorf("%+v, want nothing", st)
			}
		})
	}
}
