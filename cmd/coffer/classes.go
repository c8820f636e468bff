package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/mount"
	"github.com/coffer-fs/coffer/fs/salvage"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/handover"
	"github.com/coffer-fs/coffer/kds/mail"
	"github.com/coffer-fs/coffer/kds/policy"
	"github.com/coffer-fs/coffer/migrate"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
	"github.com/coffer-fs/coffer/store/host/point"
	"github.com/coffer-fs/coffer/store/host/remote"
	"github.com/coffer-fs/coffer/store/host/s3"
	"github.com/coffer-fs/coffer/store/host/transfer"
)

// class is a kind of error with its exit code, and what to do about it.
type class struct {
	is   error
	code int
	hint string // see fill
}

// classes gives errors their exit codes and hints: the first that fits counts.
var classes = []class{
	{store.ErrRolledBack, exitStale, "bring the newest copy; if it is lost: coffer anchor show VOLUME --config FILE tells how to go on with this one"},
	{store.ErrForked, exitStale, "another copy of the volume goes on: use that; coffer anchor show VOLUME --config FILE tells more"},
	{store.ErrAnchorMissing, exitAnchor, "name it in the anchor block of the configuration; type none there lets it go"},
	{store.ErrAnchorFirstUse, exitAnchor, "if this is the newest copy: coffer anchor adopt VOLUME --config FILE"},
	{store.ErrAnchorLost, exitAnchor, "is it the right KDS, or directory? If the record is lost: coffer anchor show VOLUME --config FILE tells how to go on"},
	{store.ErrAnchorOther, exitAnchor, "the volume was migrated: this copy is from before, or coffer migrate has to be run again"},
	{store.ErrAnchorUnavailable, exitAnchor, "nothing that was synced is lost: open the volume again when the anchor can be reached"},
	{coffer.ErrNoTicketKey, exitConfig, "coffer ticket key FILE prints one; it makes another enclave"},
	{handover.ErrTicket, exitHandover, "coffer ticket show TICKET shows what it says"},
	{handover.ErrExpired, exitHandover, "have a new one signed: coffer ticket create"},
	{handover.ErrNotFor, exitHandover, "coffer ticket show TICKET shows what it is for"},
	{handover.ErrMessage, exitHandover, "have the old enclave hand the volume over again"},
	{coffer.ErrAnchor, exitConfig, "the anchor block is described in docs/operations.md"},
	{local.ErrDiverged, exitDiverged, "send the whole volume, to another directory: without --since"},
	{local.ErrOther, exitTransfer, "finish it, as coffer receive DIR --token says, or remove what came: coffer receive DIR --abort"},
	{local.ErrPartial, exitTransfer, "go on with it: coffer receive VOLUME --token prints what coffer send --resume-token wants"},
	{transfer.ErrCut, exitTransfer, "nothing came that could be kept: send it again"},
	{transfer.ErrPosition, exitTransfer, "coffer receive DIR --token prints the right token"},
	{transfer.ErrStream, exitDamaged, "it is what coffer send writes, of this version; send it again"},
	{transfer.ErrPart, exitUsage, "compare what was received of it"},
	{transfer.ErrToken, exitUsage, "coffer receive DIR --token prints it"},
	{point.ErrToken, exitUsage, "coffer receive DIR --token prints it"},
	{host.ErrInUse, exitInUse, "unmount it, or wait until that process is gone; coffer info VOLUME shows who it is"},
	{host.ErrFenced, exitInUse, "another process took the volume over: what was synced before is safe"},
	{remote.ErrURL, exitUsage, "see coffer host serve --help"},
	{remote.ErrUnauthorized, exitHost, "COMMAND --host.token-file FILE, with the token that it was started with"},
	{remote.ErrUnreachable, exitHost, "is coffer host serve running there?"},
	{remote.ErrAnswer, exitHost, "is it really a host process, of this version?"},
	{remote.ErrFailed, exitHost, "its log says why: see standard error of coffer host serve"},
	{transfer.ErrFilled, exitExists, "name another place, or remove what is there"},
	{s3.ErrUnshipped, exitInUse, "open it on the machine that has the journal, with the same --s3.dir"},
	{s3.ErrURL, exitUsage, "s3://BUCKET/PREFIX, and --s3.endpoint https://HOST where it is not Amazon's"},
	{s3.ErrUnauthorized, exitHost, "credentials are taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, or the machine's role"},
	{s3.ErrCertificate, exitHost, "--s3.ca-file FILE, or $AWS_CA_BUNDLE, with the certificate of who vouches for it"},
	{s3.ErrConditions, exitHost, "two writers could not be kept apart there: use a store that keeps If-None-Match and If-Match of a PUT"},
	{s3.ErrFormat, exitFormat, "a later version of coffer made it: use that"},
	{s3.ErrUncertain, exitHost, "open the volume again: it tells whether the last change is there"},
	{s3.ErrUnreachable, exitHost, "see --s3.endpoint, and whether the store is there; what was acknowledged is safe"},
	{s3.ErrAnswer, exitHost, "is it a volume, and an object store? An object that is damaged or gone comes back from a copy only"},
	{local.ErrBusy, exitInUse, "somebody holds the volume's files for long: try again"},
	{coffer.ErrOtherSpec, exitWrongKey, "use the configuration it was made for, or migrate it: coffer migrate VOLUME --config OLD --to NEW"},
	{store.ErrNewerKey, exitWrongKey, "a migration to another key was begun: use the configuration that it goes to"},
	{store.ErrWrongKey, exitWrongKey, "a key of one machine, or of a KDS with another master key, opens a volume only there"},
	{store.ErrVersion, exitFormat, "a later version of coffer made it: use that"},
	{local.ErrFormat, exitFormat, "a later version of coffer made it: use that"},
	{cofs.ErrNoFilesystem, exitDamaged, "making it was cut off: remove VOLUME and make it again"},
	{errPartial, exitPartial, "what is not in the list is as it was"},
	{salvage.ErrNotEmpty, exitExists, "name a directory that is empty, or not there"},
	{store.ErrNoRoot, exitNotFound, "leave --root away to have the newest one"},
	{store.ErrAmbiguous, exitDamaged, "say which one is meant: COMMAND --id ID; coffer info shows it"},
	{store.ErrSnapshotList, exitDamaged, "the files as they are now can still be read: coffer get VOLUME, coffer mount VOLUME DIR --read-only, or coffer salvage VOLUME DIR"},
	{store.ErrDamaged, exitDamaged, "restore the volume from a copy; files that are not hit can still be read"},
	{local.ErrDamaged, exitDamaged, "make it anew from the segments: coffer recover VOLUME --config FILE; or restore the volume from a copy"},
	{store.ErrAccounting, exitDamaged, "no data is lost: copy the files to a new volume, and report this as a defect"},
	{errTree, exitDamaged, "copy the files to a new volume, and report this as a defect"},
	{store.ErrNoVolume, exitNoVolume, "make one: coffer init VOLUME --config FILE"},
	{host.ErrNoSpace, exitFull, "make room on the host's disk"},
	{store.ErrFull, exitFull, "remove something: a full volume lets you; or a snapshot, which holds on to what was removed"},
	{store.ErrSnapshots, exitFull, "delete one: coffer snapshot list VOLUME"},
	{store.ErrSnapshotExists, exitExists, "choose another name, or delete that one"},
	{store.ErrNoSnapshot, exitNotFound, "coffer snapshot list VOLUME"},
	{store.ErrSnapshotName, exitUsage, ""},
	{coffer.ErrSize, exitConfig, "raise persistentFileSystemSize; that makes another enclave of it"},
	{syscall.ENOSPC, exitFull, "make room, in the volume or on the machine"},
	{store.ErrReadOnly, exitReadOnly, "what was synced is safe: look at the host's disk, then open the volume again"},
	{coffer.ErrMigrating, exitUnfinished, "coffer migrate VOLUME --status shows it"},
	{errNoMigration, exitUsage, "coffer migrate VOLUME --to NEW begins one, or goes on with one that was cut off"},
	{migrate.ErrLastStep, exitUsage, "bring the volume back by another migration: coffer migrate VOLUME --to OLD"},
	{store.ErrUnfinished, exitUnfinished, "finish it first: the same command without --rewrap; or call it off: --cancel"},
	{host.ErrHeld, exitUnfinished, "drop them: coffer point drop VOLUME NAME; then run the same command again"},
	{kds.ErrNoKDS, exitNoKDS, "say where it is: COMMAND --kds.url URL"},
	{kds.ErrURL, exitUsage, "an example: --kds.url http://127.0.0.1:8470"},
	{kds.ErrUnreachable, exitKDSDown, "is it running, and is --kds.url right?"},
	{kds.ErrTimeout, exitKDSDown, "give it longer: COMMAND --kds.connection.timeout.seconds 60"},
	{kds.ErrRefused, exitKDSRefused, "the KDS's audit log says who asked, and which term of the policy failed"},
	{kds.ErrNotTrusted, exitKDSLied, "compare kdsEnclaveConstraint of the configuration with the KDS that runs"},
	{kds.ErrWrongAnswer, exitKDSLied, "somebody between here and the KDS changes what passes"},
	{kds.ErrDamaged, exitKDSLied, "is --kds.url really a KDS? If it is, somebody on the way changes what passes"},
	{mail.ErrDamaged, exitDamaged, "have it sent again; what came out of it before is not to be used"},
	{mail.ErrSender, exitDamaged, "somebody posts in another's name: do not use it"},
	{mail.ErrVersion, exitFormat, "a later version of coffer wrote it: use that"},
	{mail.ErrOtherKey, exitWrongKey, "it is for other readers, or for a KDS with another master key; coffer mail header shows which"},
	{mail.ErrNotMail, exitDamaged, "coffer mail post writes letters"},
	{mail.ErrKind, exitUsage, "coffer mail open is for letters, coffer mail read for replies"},
	{mail.ErrTopic, exitUsage, "an example: --topic orders-2"},
	{mount.ErrBusy, exitMountBusy, "coffer umount it, or mount somewhere else"},
	{mount.ErrMountPoint, exitMountPoint, "make an empty directory for it"},
	{mount.ErrNotAllowed, exitMountPoint, `do it as root, or see "Mount it" in docs/operations.md`},
	{config.ErrInvalid, exitConfig, "docs/operations.md shows a whole one"},
	{policy.ErrInvalid, exitConfig, "docs/operations.md shows a whole one"},
	{coffer.ErrNotConfigured, exitConfig, "set persistentFileSystemSize"},
	{attest.ErrNoEnclave, exitPlatform, "start it with EGo, or simulate an enclave: COMMAND --sim-cpu DIR"},
	{attest.ErrSeal, exitPlatform, ""},
	{kds.ErrPlatform, exitPlatform, ""},
	{coffer.ErrHostInProcess, exitPlatform, "serve its directory by coffer host serve, and name the volume by its address"},
	{host.ErrExists, exitExists, "choose another place, or remove what is there"},
	{host.ErrNotFound, exitNoVolume, "make one: coffer init VOLUME --config FILE"},
	{fs.ErrNotExist, exitNotFound, ""},
	{syscall.ENOTEMPTY, exitExists, "coffer rm -r removes a directory with all that is in it"},
	{fs.ErrExist, exitExists, ""},
	{context.Canceled, exitInterrupted, ""},
}

// classify finds the exit code and the hint of an error.
func classify(err error) *failure {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f
	}
	for _, c := range classes {
		if errors.Is(err, c.is) {
			return &failure{c.code, err, c.hint}
		}
	}
	if small := (*store.ErrTooSmall)(nil); errors.As(err, &small) {
		return &failure{exitFull, err, "give it that much, or remove something, or a snapshot"}
	}
	for _, wrong := range []string{"unknown command", "required flag(s)", "at least one of the flags", "if any flags in the group"} {
		if strings.HasPrefix(err.Error(), wrong) {
			return &failure{exitUsage, err, `see "coffer --help"`}
		}
	}
	return &failure{exitFailure, err, ""}
}
