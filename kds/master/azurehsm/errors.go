package azurehsm

import "errors"

// Before asking.
var (
	// ErrOptions: something that Open needs is missing.
	ErrOptions = errors.New("the key in Azure is not set up")
	// ErrCredential: no access to Azure: the credential is not taken, or there is none.
	ErrCredential = errors.New("no access to Azure: the credential is not taken")
)

// Asking.
var (
	// ErrUnreachable: no usable answer came, however often it was asked.
	ErrUnreachable = errors.New("cannot reach Azure")
	// ErrThrottled: the service wants to be asked less often, or later than is
	// waited for.
	ErrThrottled = errors.New("too many requests for Azure")
	// ErrRefused: the vault said no. Only it verifies tokens.
	ErrRefused = errors.New("the vault refuses")
	// ErrWrongVault: the answer is another service's, or for another one's clients.
	ErrWrongVault = errors.New("not the service of the configuration")
)

// Judging the answers.
var (
	// ErrAttestation: Azure Attestation gives no token for this enclave.
	ErrAttestation = errors.New("the attestation service does not vouch for this enclave")
	// ErrKey: the key is not one to be used.
	ErrKey = errors.New("wrapping key in Azure cannot be used")
	// ErrAnswer: what the vault released is damaged, or not what was asked for.
	ErrAnswer = errors.New("released key is damaged or another one")
)
