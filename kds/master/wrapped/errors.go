package wrapped

import "errors"

var (
	// ErrOptions: something that Open needs is missing.
	ErrOptions = errors.New("wrapped master keys are not set up")
	// ErrNone: there is no record, and none was to be made.
	ErrNone = errors.New("there is no wrapped master key")
	// ErrCreate: the generation that was to be made is not the next one.
	ErrCreate = errors.New("that generation cannot be made")
	// ErrRecord: a record is damaged or missing, or is another service's.
	ErrRecord = errors.New("wrapped master key is damaged or another one")
	// ErrUnwrap: the wrapping key does not open a record.
	ErrUnwrap = errors.New("wrapped master key does not open: another key wrapped it, or it is damaged")
)
