package gcs

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"github.com/holdfast-dev/holdfast/destination/internal/portable"
)

// Delete implements [portable.Driver]. In a bucket that keeps versions each of them
// is deleted.
func (d *driver) Delete(ctx context.Context, name string) error {
	all, err := d.generations(ctx, name)
	if err != nil {
		return err
	}
	for _, g := range all {
		if err := d.deleteGeneration(ctx, name, g); err != nil {
			return err
		}
	}
	return nil
}

// generations returns the versions of an object.
func (d *driver) generations(ctx context.Context, name string) (all []int64, err error) {
	err = d.do(ctx, func(ctx context.Context) error {
		all = nil
		it := d.bucket.Objects(ctx, &storage.Query{Prefix: name, Versions: true})
		for {
			o, err := it.Next()
			if errors.Is(err, iterator.Done) {
				return nil
			}
			if err != nil {
				return err
			}
			if o.Name == name {
				all = append(all, o.Generation)
			}
		}
	})
	return all, err
}

func (d *driver) deleteGeneration(ctx context.Context, name string, generation int64) error {
	o := d.bucket.Object(name).Generation(generation)
	err := d.do(ctx, o.Delete)
	if isMissing(err) {
		return nil
	}
	if api, ok := errors.AsType[*googleapi.Error](err); ok && api.Code == http.StatusForbidden {
		if why := d.lock(ctx, o); why != "" {
			return portable.Locked(why, err)
		}
	}
	return err
}

// lock says what keeps a version from being deleted, or nothing.
func (d *driver) lock(ctx context.Context, o *storage.ObjectHandle) (why string) {
	var a *storage.ObjectAttrs
	err := d.do(ctx, func(ctx context.Context) (err error) {
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
