package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/holdfast-dev/holdfast/destination"
	"github.com/holdfast-dev/holdfast/destination/internal/reason"
	"github.com/holdfast-dev/holdfast/destination/internal/retry"
)

// judge says which errors may go away.
func judge(err error) retry.Verdict {
	if errors.Is(err, context.Canceled) || retry.IsUntrusted(err) {
		return retry.Verdict{}
	}
	res, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		return retry.Verdict{Again: retry.IsNetwork(err)}
	}
	code := res.StatusCode
	return retry.Verdict{Again: code >= 500 && code != http.StatusNotImplemented || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout ||
		code < 300 || // a success that is not the one that was asked for
		bloberror.HasCode(err, bloberror.MD5Mismatch, bloberror.InvalidMD5, "InvalidOperation", bloberror.OperationTimedOut)}
}

// isMissing reports whether there is no such blob; of a container that is missing
// it does not.
func isMissing(err error) bool {
	res, ok := errors.AsType[*azcore.ResponseError](err)
	return ok && res.StatusCode == http.StatusNotFound && res.ErrorCode != string(bloberror.ContainerNotFound)
}

// isTaken reports whether the condition was refused that the key is free.
func isTaken(err error) bool {
	return bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet)
}

// isBadList reports whether blocks that were staged are gone.
func isBadList(err error) bool { return bloberror.HasCode(err, bloberror.InvalidBlockList) }

// explain gives an error its sentinel and a sentence that says what to do.
func (s *Store) explain(verb, key string, err error) error {
	return reason.Wrap(verb, key, err, s.classify)
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

func (s *Store) classify(err error) (advice string, kind error) {
	res, ok := errors.AsType[*azcore.ResponseError](err)
	switch {
	case !ok:
		return reason.Network(s.host, err)
	case res.ErrorCode == string(bloberror.ContainerNotFound), res.ErrorCode == string(bloberror.ContainerBeingDeleted):
		return "create the container " + s.name + ", or correct container", destination.ErrNoBucket
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
