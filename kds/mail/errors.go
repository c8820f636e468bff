package mail

import "errors"

// Posting.
var (
	// ErrPostOffice: the post office lacks something, such as a sender.
	ErrPostOffice = errors.New("post office is not set up")
	// ErrTopic: a topic is not 1 to 255 letters, digits and '-'.
	ErrTopic = errors.New("invalid topic")
	// ErrLimit: a part is larger than the format allows.
	ErrLimit = errors.New("mail is too large")
)

// Opening.
var (
	// ErrNotMail: the bytes are something else.
	ErrNotMail = errors.New("not a mail")
	// ErrVersion: the mail is of a version that this package does not know.
	ErrVersion = errors.New("unknown version of mail")
	// ErrKind: a letter where a reply is asked for, or the reverse.
	ErrKind = errors.New("wrong kind of mail")
	// ErrNoKey: the key source gave no key. Its reason is wrapped too.
	ErrNoKey = errors.New("no key for the mail")
	// ErrOtherKey: the mail is for another key than that of its spec, or of the
	// one who opens it.
	ErrOtherKey = errors.New("mail is for another key")
	// ErrDamaged: a byte of the mail was changed, added or lost, or a reply is
	// not from whom it was asked of.
	ErrDamaged = errors.New("mail is damaged")
	// ErrSender: the signature is not that of the sender whom the mail names.
	ErrSender = errors.New("mail is not from the sender it names")
)
