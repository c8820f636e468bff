package main

// Exit codes are part of the interface: a number is never reused, and one that
// a caller does not know means failure. The table stands in docs/operations.md
// too, and a test compares them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNoVolume    = 3
	exitExists      = 4
	exitInUse       = 5
	exitWrongKey    = 6
	exitDamaged     = 7
	exitFormat      = 8
	exitFull        = 9
	exitKDSDown     = 10
	exitKDSRefused  = 11
	exitKDSLied     = 12
	exitNoKDS       = 13
	exitMountPoint  = 14
	exitMountBusy   = 15
	exitConfig      = 16
	exitPlatform    = 17
	exitNotFound    = 18
	exitReadOnly    = 19
	exitInterrupted = 20
	exitUnfinished  = 21
	exitHost        = 22
	exitPartial     = 27
	exitStale       = 30
	exitAnchor      = 31
	exitHandover    = 36
	exitDiffer      = 40
	exitTransfer    = 41
	exitDiverged    = 42
)

// exitCodes says each code in words.
var exitCodes = map[int]string{
	exitOK:          "done",
	exitFailure:     "anything not below",
	exitUsage:       "unknown command, flag or argument",
	exitNoVolume:    "there is no volume",
	exitExists:      "there is something already",
	exitInUse:       "the volume is in use",
	exitWrongKey:    "the volume or mail is sealed for another key",
	exitDamaged:     "something stored is damaged or missing",
	exitFormat:      "unknown format version or cipher suite",
	exitFull:        "no room is left in the volume or on the host",
	exitKDSDown:     "the KDS cannot be reached or does not answer in time",
	exitKDSRefused:  "the KDS refused",
	exitKDSLied:     "the KDS is not trusted, or its answer is wrong",
	exitNoKDS:       "a release enclave is given no KDS",
	exitMountPoint:  "the mount point cannot be used",
	exitMountBusy:   "the mount point is busy",
	exitConfig:      "the configuration is missing or invalid",
	exitPlatform:    "not in an enclave, the simulated one cannot start, or this one may not do that",
	exitNotFound:    "no such file in the volume or on the machine",
	exitReadOnly:    "the volume is read-only, or became it after a failure",
	exitInterrupted: "stopped by a signal",
	exitUnfinished:  "a migration is begun and must be finished first",
	exitHost:        "the host process or object store cannot be reached, refuses, fails or answers wrongly",
	exitPartial:     "not everything could be salvaged; the list says what is lost",
	exitStale:       "the volume is older than its anchor knows, or another copy than the one that goes on",
	exitHandover:    "the upgrade ticket or the handover is not valid, has expired or is for something else",
	exitDiffer:      "two copies of a volume are not the same",
	exitTransfer:    "a transfer is not finished: it was cut off, or another one was begun there",
	exitDiverged:    "the copy is not, or not any more, at the point that a transfer goes on from",
	exitAnchor:      "the volume's anchor does not answer, is not configured, or knows nothing of the volume",
}
