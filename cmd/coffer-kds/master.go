package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/master/azurehsm"
	"github.com/coffer-fs/coffer/kds/master/pkcs11"
	"github.com/coffer-fs/coffer/kds/master/wrapped"
	"github.com/coffer-fs/coffer/kds/nodeconfig"
)

// openTimeout is how long it may take to have the master keys unwrapped.
const openTimeout = 2 * time.Minute

// hsmFlags are the flags of serve for master keys that an HSM wraps.
type hsmFlags struct {
	create uint32
	module string
	pin    string
	azure  azurehsm.Login
}

func (f *hsmFlags) add(c *cobra.Command) {
	c.Flags().Uint32Var(&f.create, "master.create", 0, "make this generation of the master key if it is not there; for azure_hsm and pkcs11")
	c.Flags().StringVar(&f.module, "pkcs11.module", "", "library of the HSM; required with --master pkcs11")
	c.Flags().StringVar(&f.pin, "pkcs11.pin-file", "", "file with the PIN of the HSM's user; required with --master pkcs11")
	c.Flags().StringVar(&f.azure.Tenant, "azure.tenant", "", "tenant of the client that asks Azure")
	c.Flags().StringVar(&f.azure.Client, "azure.client", "", "client that asks Azure; without secret and token it is a managed identity")
	c.Flags().StringVar(&f.azure.SecretFile, "azure.secret-file", "", "file with the client's secret")
	c.Flags().StringVar(&f.azure.TokenFile, "azure.token-file", "", "file with the client's federated token")
	c.Flags().StringVar(&f.azure.Authority, "azure.authority", "", "where Azure's tokens are asked for; default its public cloud")
}

// check finds what is missing before anything is opened.
func (f *hsmFlags) check(t kds.MasterKeyType) error {
	switch {
	case t != kds.PKCS11 && (f.module != "" || f.pin != ""):
		return &failure{exitUsage, errors.New("--pkcs11.module and --pkcs11.pin-file are for --master pkcs11"), ""}
	case t == kds.PKCS11 && (f.module == "" || f.pin == ""):
		return &failure{exitUsage, errors.New("--master pkcs11 needs --pkcs11.module and --pkcs11.pin-file"), `see "Keep the master key in an HSM" in docs/operations.md`}
	case t != kds.AzureHSM && f.azure != (azurehsm.Login{}):
		return &failure{exitUsage, errors.New("--azure.tenant, --azure.client, --azure.secret-file, --azure.token-file and --azure.authority are for --master azure_hsm"), ""}
	case t != kds.PKCS11 && t != kds.AzureHSM && f.create != 0:
		return &failure{exitUsage, errors.New("--master.create is for --master azure_hsm and pkcs11"), ""}
	}
	return nil
}

// needsConfig reports whether a node with such a master key has a measured
// configuration, and names its block.
func needsConfig(t kds.MasterKeyType, c *nodeconfig.Config) (block string, missing bool) {
	switch t {
	case kds.Cluster:
		return "cluster", c == nil || c.Cluster == nil
	case kds.AzureHSM:
		return "azure_hsm", c == nil || c.AzureHSM == nil
	case kds.PKCS11:
		return "pkcs11", c == nil || c.PKCS11 == nil
	}
	return "", false
}

// openMaster opens the master keys of a node that is none of a cluster.
func (f serveFlags) openMaster(ctx context.Context, c *nodeconfig.Config, p attest.Platform, log *audit.Log, logger *slog.Logger) (master.Provider, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	switch kds.MasterKeyType(f.master) {
	case kds.AzureHSM:
		kek, err := f.hsm.azureKEK(c.AzureHSM, p)
		if err != nil {
			return nil, hsmFailure(err, f.data)
		}
		defer kek.Close()
		return f.openWrapped(ctx, kek, c.AzureHSM.Name, p, log, logger)
	case kds.PKCS11:
		kek, err := pkcs11.Open(pkcs11.Options{Module: f.hsm.module, Token: c.PKCS11.Token, Key: c.PKCS11.Key, PINFile: f.hsm.pin})
		if err != nil {
			return nil, hsmFailure(err, f.data)
		}
		defer kek.Close()
		return f.openWrapped(ctx, kek, c.PKCS11.Name, p, log, logger)
	}
	return openDevelopment(f.data)
}

func openDevelopment(dir string) (master.Provider, error) {
	mk, err := master.OpenDevelopment(dir)
	if err == nil {
		return mk, nil
	}
	path, hint := filepath.Join(dir, master.DevelopmentFile), ""
	switch {
	case errors.Is(err, master.ErrPermissions):
		hint = fmt.Sprintf("chmod 600 %q", path)
	case errors.Is(err, master.ErrDamaged):
		hint = fmt.Sprintf("restore %q from a copy: without it every key is lost", path)
	}
	return nil, &failure{exitMaster, err, hint}
}

// azureKEK prepares the use of the key in Azure.
func (f *hsmFlags) azureKEK(c *nodeconfig.AzureHSM, p attest.Platform) (*azurehsm.KEK, error) {
	transport := azurehsm.NewTransport(c.Roots)
	credential, err := f.azure.Credential(transport)
	if err != nil {
		return nil, err
	}
	return azurehsm.Open(azurehsm.Options{Config: c, Platform: p, Credential: credential, Transport: transport})
}

// openWrapped opens master keys that kek wraps.
func (f serveFlags) openWrapped(ctx context.Context, kek wrapped.KEK, name string, p attest.Platform, log *audit.Log, logger *slog.Logger) (master.Provider, error) {
	keys, err := wrapped.Open(ctx, wrapped.Options{KEK: kek, Dir: f.data, Name: name, Mode: p.Mode(), Audit: log, Create: kds.Generation(f.hsm.create)})
	if err != nil {
		return nil, hsmFailure(err, f.data)
	}
	if g := keys.Made(); g != 0 {
		logger.Warn("a master key was made: give its record to every other node of the service, and keep a copy", "generation", g, "record", filepath.Join(f.data, fmt.Sprintf("master-%s-%d.wrapped", kek.Kind(), g)))
	}
	for i, c := range keys.Commitments() {
		logger.Info("master key is open", "generation", i+1, "commitment", c)
	}
	if p.Mode() == attest.Simulation {
		logger.Warn("the node is simulated: it keeps a development master key, and protects nothing")
	}
	return keys, nil
}

// hsmFailure says what to do when an HSM does not give the master keys.
func hsmFailure(err error, data string) error {
	for _, known := range []struct {
		is   error
		code int
		hint string
	}{
		{wrapped.ErrNone, exitMaster, "copy the records from another node of the service; only if there has never been one, start once with --master.create 1"},
		{wrapped.ErrCreate, exitMaster, "generations are made one after the other"},
		{wrapped.ErrRecord, exitMaster, fmt.Sprintf("restore the records in %q from another node or a copy: without them every key is lost", data)},
		{wrapped.ErrUnwrap, exitMaster, "is this the HSM and the key of this service? If so, restore the record from another node or a copy"},
		{pkcs11.ErrBuilt, exitUsage, "or use another --master"},
		{pkcs11.ErrPINFile, exitHSM, "it holds the PIN on one line, and has mode 0600"},
		{pkcs11.ErrPIN, exitHSM, "mend the PIN file before the next start: HSMs lock after a few wrong PINs"},
		{pkcs11.ErrLocked, exitHSM, "the HSM's security officer unlocks it"},
		{pkcs11.ErrToken, exitHSM, "is the HSM connected, and is the label in the configuration its token's?"},
		{pkcs11.ErrModule, exitHSM, "give the HSM's own library, such as /usr/lib/softhsm/libsofthsm2.so, with --pkcs11.module"},
		{pkcs11.ErrKey, exitHSM, "give the key that the records were wrapped by, or make one that stays in the HSM"},
		{azurehsm.ErrCredential, exitHSM, "see the --azure flags; the identity needs the rights to get and to release the key"},
		{azurehsm.ErrUnreachable, exitHSM, "nodes that run go on; start this one again when Azure answers"},
		{azurehsm.ErrThrottled, exitHSM, "start it again later"},
		{azurehsm.ErrRefused, exitHSM, "does the identity have the right to release the key, and does its release policy name this enclave?"},
		{azurehsm.ErrWrongVault, exitHSM, "somebody is between this node and its vault, or the configuration names another one"},
		{azurehsm.ErrAttestation, exitHSM, "is the attestation service of the configuration one that takes SGX quotes?"},
		{azurehsm.ErrKey, exitHSM, `make the key as "Keep the master key in an HSM" in docs/operations.md says`},
		{azurehsm.ErrAnswer, exitHSM, "somebody is between this node and its vault"},
	} {
		if errors.Is(err, known.is) {
			return &failure{known.code, err, known.hint}
		}
	}
	return &failure{exitMaster, err, ""}
}
