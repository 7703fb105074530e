// Package fault gives errors a code that every service understands and a
// message that is fit for users.
//
// Libraries return sentinel errors; services turn them into faults. An error
// without a code is internal: its text is logged and never shown.
package fault

import (
	"errors"
	"fmt"
)

// Code is a class of error and the word for it in the REST contract. Programs
// act on codes, people read messages.
type Code string

// Codes. Their HTTP statuses are in services/gateway/errors.go.
const (
	Invalid             Code = "invalid_request"
	Unauthenticated     Code = "unauthenticated"
	Forbidden           Code = "forbidden"
	BackupNotFound      Code = "backup_not_found"
	ProjectNotFound     Code = "project_not_found"
	NotFound            Code = "not_found"
	MethodNotAllowed    Code = "method_not_allowed"
	Conflict            Code = "conflict"
	IdempotencyMismatch Code = "idempotency_mismatch"
	TooLarge            Code = "too_large"
	UnsupportedMedia    Code = "unsupported_media_type"
	BadRange            Code = "range_not_satisfiable"
	RateLimited         Code = "rate_limited"
	BackupFailed        Code = "backup_failed"
	RestoreFailed       Code = "restore_failed"
	BadArchive          Code = "archive_unreadable" // the archive is not at its destination, or not as it was stored
	Unavailable         Code = "unavailable"
	Internal            Code = "internal"
)

// Error is an error with a code and a message that is safe to show to users.
type Error struct {
	Code    Code
	Message string
	Err     error // cause; logged, never shown
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error with a code and a message for users.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error with a code and a message for users that keeps cause for
// the log.
func Wrap(cause error, code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: cause}
}

// CodeOf returns the code of err, or Internal if it has none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// MessageOf returns what users may read of err.
func MessageOf(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Code != Internal {
		return e.Message
	}
	return "Internal error"
}

// Permanent reports whether trying the same again cannot help.
func Permanent(err error) bool {
	switch CodeOf(err) {
	case Internal, Unavailable, RateLimited:
		return false
	default:
		return true
	}
}
