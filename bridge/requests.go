package bridge

import (
	"context"
	"path"
	"strings"
	"time"

	"lsmtpd/bridge/spool"
	"lsmtpd/schema"
)

// requestsEvery is how often the spool is asked whether an operator wants something of it.
const requestsEvery = 2 * time.Second

// watchRequests carries out what operators ask of the spool, until ctx ends.
func (b *Bridge) watchRequests(ctx context.Context) {
	for ; ctx.Err() == nil; pause(ctx, requestsEvery) {
		if err := b.cfg.Spool.Requests(b.abandon); err != nil {
			b.log.Warn("a request of lsmtpd spool could not be carried out yet", "error", err)
		}
	}
}

// abandon lets a record be removed. Its objects stay, because other deliveries of the transaction may refer to them,
// and are in doubt from then on, so that lsmtpd sweep lists them.
func (b *Bridge) abandon(r *spool.Record) error {
	if r.Kind == spool.Raw {
		return nil
	}
	m, err := r.Message()
	if err != nil {
		return err
	}
	var keys []string
	for _, blob := range m.Blobs {
		if blob.Stored != nil {
			keys = append(keys, ownKey(blob.Stored))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	b.log.Warn("a record is removed, and its objects stay", "transaction", r.TransactionID, "delivery", r.ID, "objects", len(keys))
	return b.cfg.Spool.Doubt(r.ID, keys)
}

// ownKey is the key of an object as it was given to the store: YYYY/MM/DD/ID/NAME, without the store's prefix.
func ownKey(o *schema.Stored) string {
	elements := strings.Split(o.Key, "/")
	const own = 5
	return path.Join(elements[max(len(elements)-own, 0):]...)
}
