package gcs

import (
	"context"
	"errors"
	"net/http"

	"cloud.google.com/go/storage"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/reason"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// judge says which errors may go away.
func judge(err error) retry.Verdict {
	if errors.Is(err, context.Canceled) || retry.IsUntrusted(err) {
		return retry.Verdict{}
	}
	if api, ok := errors.AsType[*googleapi.Error](err); ok {
		return retry.Verdict{Again: api.Code >= 500 && api.Code != http.StatusNotImplemented || api.Code == http.StatusTooManyRequests || api.Code == http.StatusRequestTimeout}
	}
	if token, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return retry.Verdict{Again: token.Response == nil || token.Response.StatusCode >= 500}
	}
	return retry.Verdict{Again: retry.IsNetwork(err)}
}

// isTaken reports whether the condition was refused that the key is free.
func isTaken(err error) bool {
	api, ok := errors.AsType[*googleapi.Error](err)
	return ok && api.Code == http.StatusPreconditionFailed
}

// explain gives an error its sentinel and a sentence that says what to do.
func (s *Store) explain(verb, key string, err error) error {
	return reason.Wrap(verb, key, err, s.classify)
}

func (s *Store) classify(err error) (advice string, kind error) {
	if errors.Is(err, storage.ErrBucketNotExist) {
		return "create the bucket " + s.name + ", or correct bucket", destination.ErrNoBucket
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
			return "the account lacks a permission for the bucket " + s.name + "; docs/operations.md lists what GCS needs", destination.ErrDenied
		case http.StatusNotFound:
			return "create the bucket " + s.name + ", or correct bucket", destination.ErrNoBucket
		}
		return "", nil
	}
	return reason.Network(s.host, err)
}
