package azurehsm

import (
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
)

// maxSecretBytes is the longest client secret.
const maxSecretBytes = 4096

// Login says as whom the node asks. It is the host's business, and never found in
// the environment or in other programs. The zero Login is the machine's managed
// identity.
type Login struct {
	// Tenant and Client are IDs. Client alone is a managed identity that was
	// made by the user.
	Tenant, Client string
	// SecretFile has the client's secret on one line.
	SecretFile string
	// TokenFile is a federated token, as Kubernetes keeps one.
	TokenFile string
	// Authority is where tokens are asked for. Default Azure's public cloud.
	Authority string
}

// Credential is the login as the library wants it.
func (l Login) Credential(t policy.Transporter) (azcore.TokenCredential, error) {
	c, err := l.open(policy.ClientOptions{Transport: bounded{t}, Telemetry: policy.TelemetryOptions{Disabled: true},
		Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: l.Authority}})
	if err != nil {
		return nil, as(ErrCredential, err)
	}
	return c, nil
}

func (l Login) open(o policy.ClientOptions) (azcore.TokenCredential, error) {
	own := l.Authority != ""
	if !own {
		o.Cloud = cloud.AzurePublic
	}
	switch {
	case l.SecretFile != "" && l.TokenFile != "":
		return nil, errors.New("a client has a secret or a token, not both")
	case (l.SecretFile != "" || l.TokenFile != "") && (l.Tenant == "" || l.Client == ""):
		return nil, errors.New("a client's secret or token needs tenant and client")
	case l.SecretFile != "":
		secret, err := secretfile.Line(l.SecretFile, maxSecretBytes)
		if err != nil {
			return nil, err
		}
		return azidentity.NewClientSecretCredential(l.Tenant, l.Client, string(secret), &azidentity.ClientSecretCredentialOptions{ClientOptions: o, DisableInstanceDiscovery: own})
	case l.TokenFile != "":
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: o, DisableInstanceDiscovery: own,
			TenantID: l.Tenant, ClientID: l.Client, TokenFilePath: l.TokenFile})
	}
	m := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: o}
	if l.Client != "" {
		m.ID = azidentity.ClientID(l.Client)
	}
	return azidentity.NewManagedIdentityCredential(m)
}
