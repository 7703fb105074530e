package gcs

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/reason"
)

// Delete implements [destination.Store]. In a bucket that keeps versions each of
// them is deleted.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := destination.CheckKey(key); err != nil {
		return err
	}
	all, err := s.generations(ctx, key)
	for _, g := range all {
		if err == nil {
			err = s.deleteGeneration(ctx, key, g)
		}
	}
	if err != nil {
		return s.explain("delete", key, err)
	}
	return nil
}

// generations returns the versions of an object.
func (s *Store) generations(ctx context.Context, key string) (all []int64, err error) {
	err = s.do(ctx, func(ctx context.Context) error {
		all = nil
		it := s.bucket.Objects(ctx, &storage.Query{Prefix: s.prefix + key, Versions: true})
		for {
			o, err := it.Next()
			if errors.Is(err, iterator.Done) {
				return nil
			}
			if err != nil {
				return err
			}
			if o.Name == s.prefix+key {
				all = append(all, o.Generation)
			}
		}
	})
	return all, err
}

func (s *Store) deleteGeneration(ctx context.Context, key string, generation int64) error {
	o := s.object(key).Generation(generation)
	err := s.do(ctx, o.Delete)
	if isMissing(err) {
		return nil
	}
	if api, ok := errors.AsType[*googleapi.Error](err); ok && api.Code == http.StatusForbidden {
		if why := s.lock(ctx, o); why != "" {
			return reason.Locked(why, err)
		}
	}
	return err
}

// lock says what keeps a version from being deleted, or nothing.
func (s *Store) lock(ctx context.Context, o *storage.ObjectHandle) (why string) {
	var a *storage.ObjectAttrs
	err := s.do(ctx, func(ctx context.Context) (err error) {
		a, err = o.Attrs(ctx)
		return err
	})
	until := time.Time{}
	if err == nil {
		until = a.RetentionExpirationTime
		if a.Retention != nil && a.Retention.RetainUntil.After(until) {
			until = a.Retention.RetainUntil
		}
	}
	switch {
	case err != nil:
		return "" // nobody knows; the refusal itself is reported
	case a.TemporaryHold || a.EventBasedHold:
		return "it is under a hold"
	case until.After(time.Now()):
		return "it is retained until " + until.UTC().Format(time.RFC3339)
	}
	return ""
}
