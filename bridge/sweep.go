package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"lsmtpd/bridge/spool"
	"lsmtpd/objectstore"
)

// FindingKind says what Sweep has found.
type FindingKind string

const (
	// FoundInDoubt is an object that a message may refer to which a broker may hold. It stays.
	FoundInDoubt FindingKind = "in-doubt"
	// FoundUnsent is an object to which, as an intent proves, no message refers.
	FoundUnsent FindingKind = "unsent"
	// FoundUpload is an old multipart upload, or temporary file, that no live intent names.
	FoundUpload FindingKind = "upload"
)

// Finding is one object, or what was to become one, that Sweep has found.
type Finding struct {
	Kind          FindingKind
	TransactionID string // or that of the delivery under whose id the object is
	Key           string // as given to the store
	Since         time.Time
	Deleted       bool
	Err           error // why it could not be deleted
}

// Sweeper removes from a store what lsmtpd has left there and nobody needs: what the intents of its own spool prove
// unsent, and old unfinished uploads. It infers nothing from what else is in the store, so that it is safe beside other
// instances on the same bucket.
type Sweeper struct {
	Store     objectstore.Store
	SpoolDir  string        // whose intents are read; "" for none
	OlderThan time.Duration // of uploads; far longer than any message takes
	Delete    bool          // else the findings are only told
	Logger    *slog.Logger
}

// Run calls report for each finding. An instance that serves on the spool directory sees to its own unsent objects: then
// only what is in doubt is told, which may be of transactions that are under way. It returns an error where something
// could not be looked at or deleted.
func (s *Sweeper) Run(ctx context.Context, report func(Finding)) error {
	named := map[string]bool{}
	var errs []error
	tell := func(f Finding) {
		report(f)
		errs = append(errs, f.Err)
	}
	if s.SpoolDir != "" {
		if err := s.sweepIntents(ctx, named, tell); err != nil {
			return err
		}
	}
	errs = append(errs, s.sweepUploads(ctx, named, tell))
	return errors.Join(errs...)
}

// sweepIntents goes through the intents, and notes the keys that they name.
func (s *Sweeper) sweepIntents(ctx context.Context, named map[string]bool, tell func(Finding)) (err error) {
	owned, err := spool.Owned(s.SpoolDir)
	if err != nil {
		return err
	}
	var list, others []spool.Intent
	done := func(string) {}
	if s.Delete && !owned {
		own, err := spool.Open(spool.Config{Dir: s.SpoolDir, Logger: s.Logger})
		if err != nil {
			return err
		}
		list, others, done = own.Orphans(), own.Intents(), own.Done
		defer func() { err = errors.Join(err, own.Close()) }()
	} else if list, others, err = spool.ReadIntents(s.SpoolDir); err != nil {
		return err
	}
	for _, i := range slices.Concat(list, others) {
		for _, key := range i.Keys {
			named[key] = true
		}
	}
	slices.SortFunc(list, func(a, b spool.Intent) int { return a.Time().Compare(b.Time()) })
	for _, i := range list {
		if i.State == spool.Publishing {
			for _, key := range i.Keys {
				tell(Finding{Kind: FoundInDoubt, TransactionID: i.ID, Key: key, Since: i.Time()})
			}
			continue
		}
		if !owned && s.sweepIntent(ctx, i, tell) {
			done(i.ID)
		}
	}
	return nil
}

// sweepIntent deletes the objects of an intent that proves them unsent. It reports whether all of them are gone.
func (s *Sweeper) sweepIntent(ctx context.Context, i spool.Intent, tell func(Finding)) bool {
	gone := s.Delete
	for _, key := range i.Keys {
		f := Finding{Kind: FoundUnsent, TransactionID: i.ID, Key: key, Since: i.Time()}
		if s.Delete {
			f.Err = objectstore.Discard(ctx, s.Store, key)
			f.Deleted = f.Err == nil
		}
		tell(f)
		gone = gone && f.Deleted
	}
	return gone
}

// ownKeys are the keys of lsmtpd: in a bucket that others use as well, theirs are left alone.
var ownKeys = regexp.MustCompile(`^[0-9]{4}/[0-9]{2}/[0-9]{2}/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[^/]+$`)

// sweepUploads goes through what was begun and never ended. A store that lists uploads by exact key only shows none here.
func (s *Sweeper) sweepUploads(ctx context.Context, named map[string]bool, tell func(Finding)) error {
	left, err := s.Store.Abandoned(ctx, "")
	if err != nil {
		return fmt.Errorf("list unfinished uploads: %w", err)
	}
	for _, l := range left {
		id := ownKeys.FindStringSubmatch(l.Key)
		if id == nil || named[l.Key] || l.Started.IsZero() || time.Since(l.Started) < s.OlderThan {
			continue
		}
		f := Finding{Kind: FoundUpload, TransactionID: id[1], Key: l.Key, Since: l.Started}
		if s.Delete {
			f.Err = s.Store.Abort(ctx, l)
			f.Deleted = f.Err == nil
		}
		tell(f)
	}
	return nil
}
