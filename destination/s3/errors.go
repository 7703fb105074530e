package s3

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/reason"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// do makes a call, again where that may help. It may take longer than others.
func (s *Store) do(ctx context.Context, longer time.Duration, call func(context.Context) error) error {
	return s.retry.DoHTTP(ctx, longer, judge, call)
}

// judge says which errors may go away.
func judge(err error) retry.Verdict {
	var res minio.ErrorResponse
	switch {
	case errors.Is(err, context.Canceled), retry.IsUntrusted(err):
		return retry.Verdict{}
	case !errors.As(err, &res):
		return retry.Verdict{Again: retry.IsNetwork(err)}
	case res.StatusCode == http.StatusNotImplemented:
		return retry.Verdict{}
	}
	return retry.Verdict{Again: res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || slices.Contains([]string{
		"SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "IncompleteBody",
		"BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", // on its way a bit has flipped
	}, res.Code)}
}

// isMissing reports whether there is no such object.
func isMissing(err error) bool {
	return slices.Contains([]string{minio.NoSuchKey, "NoSuchVersion", "NotFound"}, minio.ToErrorResponse(err).Code)
}

// isTaken reports whether the condition was refused that the key is free.
func isTaken(err error) bool {
	res := minio.ToErrorResponse(err)
	return res.StatusCode == http.StatusPreconditionFailed || res.Code == "ConditionalRequestConflict"
}

// isMismatch reports whether the provider has found a wrong checksum.
func isMismatch(err error) bool {
	return slices.Contains([]string{"BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "InvalidRequest"}, minio.ToErrorResponse(err).Code)
}

// explain gives an error its sentinel and a sentence that says what to do.
func (s *Store) explain(verb, key string, err error) error {
	return reason.Wrap(verb, key, err, s.classify)
}

func (s *Store) classify(err error) (advice string, kind error) {
	var res minio.ErrorResponse
	if !errors.As(err, &res) {
		return reason.Network(s.core.EndpointURL().Host, err)
	}
	return s.classifyAnswer(res)
}

// classifyAnswer is for errors that the provider has sent.
func (s *Store) classifyAnswer(res minio.ErrorResponse) (advice string, kind error) {
	switch res.Code {
	case minio.NoSuchBucket:
		return "create the bucket " + s.bucket + ", or correct bucket", destination.ErrNoBucket
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException":
		return "the bucket is in another region; set region", destination.ErrDenied
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "Unauthorized", "InvalidToken", "ExpiredToken",
		"XAdminNoSuchUser", "XAdminUserNotFound":
		return "the key is not known or its secret is wrong", destination.ErrDenied
	case "RequestTimeTooSkewed":
		return "the clock of this machine is wrong", destination.ErrDenied
	case "ObjectLockedByBucketPolicy":
		return "a lock of the bucket keeps it", destination.ErrLocked
	case "EntityTooLarge":
		return "", destination.ErrTooLarge
	case "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage":
		return "", destination.ErrNoSpace
	case minio.NoSuchKey, "NoSuchVersion":
		return "", destination.ErrNotExist
	}
	switch {
	case res.StatusCode == http.StatusInsufficientStorage, strings.Contains(strings.ToLower(res.Message), "cap exceeded"):
		return "", destination.ErrNoSpace
	case res.StatusCode == http.StatusForbidden, res.StatusCode == http.StatusUnauthorized:
		return "the key lacks a permission for the bucket " + s.bucket + "; docs/operations.md lists what " + s.p.Name + " needs", destination.ErrDenied
	case res.StatusCode == http.StatusNotFound:
		return "", destination.ErrNotExist
	}
	return "", nil
}
