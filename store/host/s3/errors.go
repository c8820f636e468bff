package s3

import (
	"errors"
	"fmt"

	"github.com/coffer-fs/coffer/store/host"
)

// When opening.
var (
	// ErrURL: the address of a volume is malformed, or not allowed.
	ErrURL = errors.New("not the address of a volume in an object store")
	// ErrUnauthorized: the object store does not accept the credentials.
	ErrUnauthorized = errors.New("the object store does not accept the credentials")
	// ErrCertificate: nobody who is trusted vouches for the object store.
	ErrCertificate = errors.New("the object store's certificate is not trusted")
	// ErrConditions: the store ignores If-None-Match or If-Match, so that nothing
	// would keep two writers apart.
	ErrConditions = errors.New("the object store ignores conditions of requests")
	// ErrFormat: a head or an entry has another version than this program knows.
	ErrFormat = errors.New("unknown layout version")
)

// When acquiring.
var (
	// ErrUnshipped: syncs were acknowledged that are only in a journal on the disk
	// of the writer that made them.
	ErrUnshipped = errors.New("acknowledged changes are only in a local journal")
)

// When calling.
var (
	// ErrUnreachable: the object store could not be reached, or did not answer,
	// for as long as Options.Patience.
	ErrUnreachable = errors.New("the object store cannot be reached")
	// ErrAnswer: the object store answered what no honest one does, or an object
	// is damaged or gone.
	ErrAnswer = errors.New("the object store gave a wrong answer")
	// ErrUncertain: nobody knows whether a change had its effect. It is final
	// for the writer.
	ErrUncertain = errors.New("the outcome of a change is unknown")
)

var (
	errReleased = fmt.Errorf("writer was released: %w", host.ErrInvalid)
	errNoDir    = errors.New("local durability needs a directory, which no other process uses")
	errClosed   = fmt.Errorf("volume was closed: %w", host.ErrInvalid)
)

// Answers of the store that decide something. They do not leave this package.
var (
	errAbsent    = errors.New("no such object")
	errCondition = errors.New("the condition does not hold")
	errSame      = errors.New("the object is the same")
	errOther     = fmt.Errorf("%w: it has other changes", ErrAnswer)
)

// isNewHead reports whether the head is another one than was read.
func isNewHead(err error) bool { return errors.Is(err, errCondition) || errors.Is(err, errAbsent) }
