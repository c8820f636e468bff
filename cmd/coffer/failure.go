package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/coffer-fs/coffer"
	"github.com/coffer-fs/coffer/config"
	cofs "github.com/coffer-fs/coffer/fs"
	"github.com/coffer-fs/coffer/fs/mount"
	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/platform"
	"github.com/coffer-fs/coffer/store"
	"github.com/coffer-fs/coffer/store/host"
	"github.com/coffer-fs/coffer/store/host/local"
)

// failure is an error with its exit code and what to do about it.
type failure struct {
	code int
	err  error
	hint string // none if empty
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usageError is a mistake on the command line.
func usageError(hint, format string, args ...any) error {
	return &failure{exitUsage, fmt.Errorf(format, args...), hint}
}

// classes gives errors their exit codes and hints: the first that fits counts.
var classes = []struct {
	is   error
	code int
	hint string
}{
	{host.ErrInUse, exitInUse, "unmount it first; after a crash of its machine, wait until its process is gone"},
	{host.ErrFenced, exitInUse, "another process took the volume over: what was synced before is safe"},
	{local.ErrBusy, exitInUse, "somebody holds the volume's files for long: try again"},
	{coffer.ErrOtherSpec, exitWrongKey, "use the configuration and the enclave it was made for, or migrate it: coffer migrate VOLUME --to FILE"},
	{store.ErrWrongKey, exitWrongKey, "a machine's own key opens a volume on that machine only"},
	{store.ErrVersion, exitFormat, "a later version of coffer made it: use that"},
	{local.ErrFormat, exitFormat, "a later version of coffer made it: use that"},
	{cofs.ErrNoFilesystem, exitDamaged, ""},
	{store.ErrDamaged, exitDamaged, "restore the volume from a copy; files that are not hit can still be read"},
	{local.ErrDamaged, exitDamaged, "restore the volume from a copy"},
	{store.ErrAccounting, exitDamaged, "copy the files to a new volume, and report this as a defect"},
	{store.ErrNoVolume, exitNoVolume, "make one: coffer init VOLUME --config FILE"},
	{store.ErrFull, exitFull, "delete something: a full volume lets you"},
	{host.ErrNoSpace, exitFull, "make room on the host's disk"},
	{store.ErrReadOnly, exitReadOnly, "what was synced is safe: look at the host's disk, then open the volume again"},
	{kds.ErrNoKDS, exitNoKDS, "say where it is: --kds.url URL"},
	{kds.ErrURL, exitUsage, "an example: --kds.url http://127.0.0.1:8470"},
	{kds.ErrUnreachable, exitKDSDown, "is it running, and is --kds.url right?"},
	{kds.ErrTimeout, exitKDSDown, "give it longer: --kds.connection.timeout.seconds N"},
	{kds.ErrRefused, exitKDSRefused, "the KDS's audit log says who asked, and which term of the policy failed"},
	{kds.ErrNotTrusted, exitKDSLied, "compare kdsEnclaveConstraint of the configuration with the KDS that runs"},
	{kds.ErrWrongAnswer, exitKDSLied, "somebody between here and the KDS changes answers"},
	{kds.ErrDamaged, exitKDSLied, "somebody between here and the KDS changes answers"},
	{kds.ErrMalformed, exitKDSLied, "is --kds.url really a KDS?"},
	{mount.ErrBusy, exitMountBusy, "coffer umount it, or mount somewhere else"},
	{mount.ErrMountPoint, exitMountPoint, "make an empty directory for it"},
	{config.ErrInvalid, exitConfig, "docs/operations.md shows a whole one"},
	{config.ErrSize, exitConfig, "sizes are numbers with k, m, g or t, from 8m to 8t"},
	{coffer.ErrNotConfigured, exitConfig, "set persistentFileSystemSize"},
	{attest.ErrNoEnclave, exitPlatform, "start it with EGo, or simulate an enclave: --sim-cpu DIR"},
	{platform.ErrKind, exitPlatform, ""},
	{host.ErrExists, exitExists, "choose another place, or remove what is there"},
	{host.ErrNotFound, exitNoVolume, "make one: coffer init VOLUME --config FILE"},
	{fs.ErrNotExist, exitNotFound, ""},
	{fs.ErrExist, exitExists, ""},
	{context.Canceled, exitInterrupted, ""},
}

// classify finds the exit code and the hint of an error.
func classify(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	for _, c := range classes {
		if errors.Is(err, c.is) {
			return &failure{c.code, err, c.hint}
		}
	}
	if strings.HasPrefix(err.Error(), "unknown command") {
		return &failure{exitUsage, err, `see "coffer --help"`}
	}
	return &failure{exitFailure, err, ""}
}

// report tells a person what went wrong, and returns the exit code.
func report(to io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	f := classify(err)
	fmt.Fprintf(to, "coffer: error: %s\n", oneLine(err.Error()))
	if f.hint != "" {
		fmt.Fprintf(to, "coffer: hint: %s\n", f.hint)
	}
	return f.code
}

// oneLine joins the lines of an error.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
