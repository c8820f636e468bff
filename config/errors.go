package config

import "errors"

var (
	// ErrInvalid: a text is not a configuration.
	ErrInvalid = errors.New("invalid configuration")
	// ErrSize: a text is not a size, or not one within the limits.
	ErrSize = errors.New("invalid size")
)
