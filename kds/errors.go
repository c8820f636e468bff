package kds

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Before asking.
var (
	// ErrSpec: a spec, a purpose or a generation is not one.
	ErrSpec = errors.New("invalid key spec")
	// ErrURL: the KDS's address is not one.
	ErrURL = errors.New("invalid KDS URL")
	// ErrClient: the client lacks something, such as its constraint.
	ErrClient = errors.New("KDS client is not set up")
	// ErrPlatform: the platform could not make evidence.
	ErrPlatform = errors.New("platform made no evidence")
	// ErrNoKDS: a key spec is configured, but no KDS URL is given.
	ErrNoKDS = errors.New("no KDS URL is given")
)

// Asking.
var (
	// ErrUnreachable: no answer came from the KDS.
	ErrUnreachable = errors.New("KDS is unreachable")
	// ErrTimeout: no answer came in time.
	ErrTimeout = errors.New("KDS did not answer in time")
	// ErrRefused: the KDS said no. See RefusedError.
	ErrRefused = errors.New("KDS refused")
)

// Judging the answer.
var (
	// ErrNotTrusted: the KDS's evidence is not valid, or misses the client's
	// constraint.
	ErrNotTrusted = errors.New("KDS is not trusted")
	// ErrWrongAnswer: the answer is not for what was asked.
	ErrWrongAnswer = errors.New("KDS answer is not for what was asked")
	// ErrDamaged: the answer is malformed, or its signature does not match.
	ErrDamaged = errors.New("KDS answer is damaged")
	// ErrMalformed: a body does not have the form of the protocol.
	ErrMalformed = errors.New("malformed message")
)

// RefusedError is an answer other than 200. It is an ErrRefused. Neither part
// is signed: anybody on the way may have made it up.
type RefusedError struct {
	Status int    // of HTTP
	Reason string // printable, at most MaxReasonBytes
	// RetryAfter is when to ask again, 0 if that was not said.
	RetryAfter time.Duration
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%v with status %d: %s", ErrRefused, e.Status, e.Reason)
}

// Is makes every RefusedError an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Temporary reports whether the same request may succeed later.
func (e *RefusedError) Temporary() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
