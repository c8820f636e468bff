package master

import "errors"

// ErrGeneration: the provider has no master key of that generation.
var ErrGeneration = errors.New("no such master key generation")
