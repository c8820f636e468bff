package main

// Exit codes are part of the interface: a number is never reused, and one that
// a caller does not know means failure. The table also stands in
// docs/protocol.md, and a test compares them.
const (
	exitOK       = 0 // done
	exitFailure  = 1 // anything not below
	exitUsage    = 2 // unknown command, flag or argument
	exitPlatform = 3 // not in an enclave, or the simulated one cannot start
	exitMaster   = 4 // the master key is damaged, unreadable or open to others
	exitAudit    = 5 // the audit log is damaged, in use or cannot be written
	exitListen   = 6 // the address cannot be listened on
	exitEvidence = 7 // the evidence is not valid
	exitMismatch = 8 // the evidence does not meet the policy
)

// exitCodes says each code in words.
var exitCodes = map[int]string{
	exitOK:       "done",
	exitFailure:  "anything not below",
	exitUsage:    "unknown command, flag or argument",
	exitPlatform: "not in an enclave, or the simulated one cannot start",
	exitMaster:   "the master key is damaged, unreadable or open to others",
	exitAudit:    "the audit log is damaged, in use or cannot be written",
	exitListen:   "the address cannot be listened on",
	exitEvidence: "the evidence is not valid",
	exitMismatch: "the evidence does not meet the policy",
}
