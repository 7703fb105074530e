package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/portable"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// Retryable implements [portable.Driver].
func (*driver) Retryable(err error) retry.Decision {
	if errors.Is(err, context.Canceled) || retry.IsUntrusted(err) {
		return retry.Decision{}
	}
	res, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		return retry.Decision{Again: retry.IsNetwork(err)}
	}
	code := res.StatusCode
	return retry.Decision{Again: code >= 500 && code != http.StatusNotImplemented || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout ||
		code < 300 || // a success that is not the one that was asked for
		bloberror.HasCode(err, bloberror.MD5Mismatch, bloberror.InvalidMD5, "InvalidOperation", bloberror.OperationTimedOut)}
}

// IsMissing implements [portable.Driver]. A missing container is told apart.
func (*driver) IsMissing(err error) bool {
	if errors.Is(err, destination.ErrNotExist) { // of Stat
		return true
	}
	res, ok := errors.AsType[*azcore.ResponseError](err)
	return ok && res.StatusCode == http.StatusNotFound && res.ErrorCode != string(bloberror.ContainerNotFound)
}

// IsTaken implements [portable.Driver]. Who commits a blob drops the blocks that
// others have staged, which they see as a bad list.
func (*driver) IsTaken(err error) bool {
	return isRefused(err) || bloberror.HasCode(err, bloberror.InvalidBlockList)
}

// isRefused reports whether the condition was refused that there is no such blob.
func isRefused(err error) bool {
	return bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet)
}

// answerError is the answer of Azure in one line; the SDK's own text has a dozen.
type answerError struct{ *azcore.ResponseError }

func (e answerError) Error() string { return fmt.Sprintf("%d %s", e.StatusCode, e.ErrorCode) }
func (e answerError) Unwrap() error { return e.ResponseError }

// brief shortens an error that is an answer of Azure.
func brief(err error) error {
	if res, ok := err.(*azcore.ResponseError); ok { //nolint:errorlint // what is wrapped keeps its text
		return answerError{res}
	}
	return err
}

// Classify implements [portable.Driver].
func (d *driver) Classify(err error) (advice string, kind error) {
	res, ok := errors.AsType[*azcore.ResponseError](err)
	switch {
	case !ok:
		return portable.ClassifyNetwork(d.host, err)
	case res.ErrorCode == string(bloberror.ContainerNotFound), res.ErrorCode == string(bloberror.ContainerBeingDeleted):
		return "create the container " + d.container + ", or correct container", destination.ErrNoBucket
	case res.StatusCode == http.StatusNotFound:
		return "", destination.ErrNotExist
	case res.ErrorCode == string(bloberror.AuthenticationFailed), res.ErrorCode == string(bloberror.AuthorizationFailure), res.StatusCode == http.StatusUnauthorized:
		return "account_name or account_key is wrong, or the clock of this machine is, or a network rule of the account keeps it out", destination.ErrDenied
	case res.StatusCode == http.StatusForbidden:
		return "the account does not allow it; docs/operations.md lists what Azure needs", destination.ErrDenied
	case res.StatusCode == http.StatusRequestEntityTooLarge:
		return "", destination.ErrTooLarge
	}
	return "", nil
}
