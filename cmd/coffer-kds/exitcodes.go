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

	exitConfig    = 9  // the node's configuration is missing or invalid
	exitStore     = 10 // the cluster's store cannot be opened
	exitKeyFile   = 11 // a person's key is damaged, open to others, there already or not the right one
	exitUntrusted = 12 // the node is not what it must be
	exitShare     = 13 // a custodian's share is wrong, or the key is not a custodian's
	exitCluster   = 14 // the node cannot be reached, or did not do as asked
	exitHSM       = 15 // the key that wraps the master key cannot be had
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

	exitConfig:    "the node's configuration is missing or invalid",
	exitStore:     "the cluster's store cannot be opened",
	exitKeyFile:   "a person's key is damaged, open to others, there already or not the right one",
	exitUntrusted: "the node is not what it must be",
	exitShare:     "a custodian's share is wrong, or the key is not a custodian's",
	exitCluster:   "the node cannot be reached, or did not do as asked",
	exitHSM:       "the key that wraps the master key cannot be had",
}
