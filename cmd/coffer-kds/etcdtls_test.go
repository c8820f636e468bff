package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-fs/coffer/kds/cluster/etcdtest"
	"github.com/coffer-fs/coffer/kds/cluster/kv"
)

// certify writes a certificate and its key, signed by an issuer or by itself.
func certify(t *testing.T, dir, name string, by *x509.Certificate, byKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if by == nil {
		c.IsCA, c.KeyUsage, by, byKey = true, x509.KeyUsageCertSign, c, k
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, k.Public(), byKey)
	must(t, err)
	c, err = x509.ParseCertificate(der)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	must(t, err)
	write := func(file, typ string, b []byte) {
		must(t, os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: b}), 0o600))
	}
	write(name+".pem", "CERTIFICATE", der)
	write(name+".key", "PRIVATE KEY", secret)
	return c, k
}

// An etcd that wants certificates of its clients is reached with the flags, and not
// without.
func TestEtcdTLS(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	ca, caKey := certify(t, dir, "ca", nil, nil)
	certify(t, dir, "server", ca, caKey)
	certify(t, dir, "node", ca, caKey)
	certify(t, dir, "stranger", nil, nil)
	e := etcdtest.StartTLS(t, "--client-cert-auth", "--trusted-ca-file", in("ca.pem"), "--cert-file", in("server.pem"), "--key-file", in("server.key"))
	reach := func(f etcdTLS) error {
		c, err := f.config()
		must(t, err)
		s, err := kv.OpenEtcd([]string{e.URL}, "/test/", kv.EtcdOptions{TLS: c, Timeout: 2 * time.Second})
		must(t, err)
		defer s.Close()
		_, err = s.Get(context.Background(), "x")
		return err
	}
	good := etcdTLS{in("ca.pem"), in("node.pem"), in("node.key")}
	if err := reach(good); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	for name, f := range map[string]etcdTLS{"no flags": {}, "no certificate": {ca: good.ca},
		"a stranger's": {good.ca, in("stranger.pem"), in("stranger.key")}, "another etcd": {in("stranger.pem"), good.cert, good.key}} {
		if reach(f) == nil {
			t.Errorf("%s: etcd is reached", name)
		}
	}
	for name, f := range map[string]etcdTLS{"half": {cert: good.cert}, "no file": {ca: in("none")}, "no certificate in it": {ca: in("node.key")},
		"another's key": {cert: good.cert, key: in("stranger.key")}} {
		if _, err := f.config(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
