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
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// do makes a call, again where that may help. It may take longer than others.
func (d *driver) do(ctx context.Context, longer time.Duration, call func(context.Context) error) error {
	return d.retry.DoHTTP(ctx, longer, d.Retryable, call)
}

// Retryable implements [portable.Driver].
func (*driver) Retryable(err error) retry.Decision {
	var res minio.ErrorResponse
	switch {
	case errors.Is(err, context.Canceled), retry.IsUntrusted(err):
		return retry.Decision{}
	case !errors.As(err, &res):
		return retry.Decision{Again: retry.IsNetwork(err)}
	case res.StatusCode == http.StatusNotImplemented:
		return retry.Decision{}
	}
	return retry.Decision{Again: res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || slices.Contains([]string{
		"SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "IncompleteBody",
		"BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", // on its way a bit has flipped
	}, res.Code)}
}

// IsMissing implements [portable.Driver].
func (*driver) IsMissing(err error) bool { return isMissing(err) }

func isMissing(err error) bool {
	return slices.Contains([]string{minio.NoSuchKey, "NoSuchVersion", "NotFound"}, minio.ToErrorResponse(err).Code)
}

// IsTaken implements [portable.Driver].
func (*driver) IsTaken(err error) bool {
	res := minio.ToErrorResponse(err)
	return res.StatusCode == http.StatusPreconditionFailed || res.Code == "ConditionalRequestConflict"
}

// isMismatch reports whether the provider has found a wrong checksum.
func isMismatch(err error) bool {
	return slices.Contains([]string{"BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "InvalidRequest"}, minio.ToErrorResponse(err).Code)
}

// Classify implements [portable.Driver].
func (d *driver) Classify(err error) (advice string, kind error) {
	var res minio.ErrorResponse
	if !errors.As(err, &res) {
		return portable.ClassifyNetwork(d.core.EndpointURL().Host, err)
	}
	return d.classifyAnswer(res)
}

// classifyAnswer is for errors that the provider has sent.
func (d *driver) classifyAnswer(res minio.ErrorResponse) (advice string, kind error) {
	switch res.Code {
	case minio.NoSuchBucket:
		return "create the bucket " + d.bucket + ", or correct bucket", destination.ErrNoBucket
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
		if d.anonymous() {
			return "no access key is configured and none was found in AWS_ACCESS_KEY_ID, ~/.aws/credentials or the role of this machine; set access_key_id and secret_access_key", destination.ErrDenied
		}
		return "the key lacks a permission for the bucket " + d.bucket + "; docs/operations.md lists what " + d.p.Name + " needs", destination.ErrDenied
	case res.StatusCode == http.StatusNotFound:
		return "", destination.ErrNotExist
	}
	return "", nil
}

// anonymous reports whether no access key was found anywhere.
func (d *driver) anonymous() bool {
	v, err := d.creds.GetWithContext(d.core.CredContext())
	return err == nil && v.SignerType.IsAnonymous()
}
