package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"lsmtpd/bridge/spool"
	"lsmtpd/schema"
)

// export writes the messages of records to new files. The records stay.
func (p *spooler) export(dir string, ids []string) error {
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return usageError{fmt.Errorf("--out: %w", err)}
	}
	return p.each(dir, ids, func(f spool.File) error {
		if f.Record == nil {
			return fmt.Errorf("%s: %w", f.Name, f.Err)
		}
		name := f.Record.ID + ".json"
		if f.Record.Kind == spool.Raw {
			name = f.Record.ID + ".eml"
		}
		file, err := create(p.out, name)
		if err != nil {
			return err
		}
		n, err := io.Copy(file, f.Record.Payload())
		if err = errors.Join(err, f.Record.Verify(), file.Close()); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", f.Name, err), os.Remove(file.Name()))
		}
		_, err = fmt.Fprintf(p.console.out, "%s  %s\n", file.Name(), size(n))
		return err
	})
}

// stored is where the octets of a message's blobs are that are in the store.
func stored(m *schema.Message) map[string]string {
	urls := map[string]string{}
	for id, b := range m.Blobs {
		if b.Stored != nil {
			urls[id] = b.Stored.URL
		}
	}
	return urls
}
