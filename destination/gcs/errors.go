package gcs

import (
	"context"
	"errors"
	"net/http"

	"cloud.google.com/go/storage"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// Retryable implements [portable.Driver].
func (*driver) Retryable(err error) retry.Decision {
	if errors.Is(err, context.Canceled) || retry.IsUntrusted(err) {
		return retry.Decision{}
	}
	if api, ok := errors.AsType[*googleapi.Error](err); ok {
		return retry.Decision{Again: api.Code >= 500 && api.Code != http.StatusNotImplemented || api.Code == http.StatusTooManyRequests || api.Code == http.StatusRequestTimeout}
	}
	if token, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return retry.Decision{Again: token.Response == nil || token.Response.StatusCode >= 500}
	}
	return retry.Decision{Again: retry.IsNetwork(err)}
}

// IsMissing implements [portable.Driver].
func (*driver) IsMissing(err error) bool { return isMissing(err) }

func isMissing(err error) bool {
	return errors.Is(err, storage.ErrObjectNotExist) || errors.Is(err, storage.ErrBucketNotExist)
}

// IsTaken implements [portable.Driver].
func (*driver) IsTaken(err error) bool {
	api, ok := errors.AsType[*googleapi.Error](err)
	return ok && api.Code == http.StatusPreconditionFailed
}

// Classify implements [portable.Driver].
func (d *driver) Classify(err error) (advice string, kind error) {
	if errors.Is(err, storage.ErrBucketNotExist) {
		return "create the bucket " + d.name + ", or correct bucket", destination.ErrNoBucket
	}
	if errors.Is(err, storage.ErrObjectNotExist) {
		return "", destination.ErrNotExist
	}
	if _, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return "Google gives no token for credentials_file; the key may have been deleted", destination.ErrDenied
	}
	if api, ok := errors.AsType[*googleapi.Error](err); ok {
		switch api.Code {
		case http.StatusUnauthorized:
			return "the credentials are missing or wrong", destination.ErrDenied
		case http.StatusForbidden:
			return "the account lacks a permission for the bucket " + d.name + "; docs/operations.md lists what GCS needs", destination.ErrDenied
		case http.StatusNotFound:
			return "create the bucket " + d.name + ", or correct bucket", destination.ErrNoBucket
		}
		return "", nil
	}
	return portable.ClassifyNetwork(d.host, err)
}
