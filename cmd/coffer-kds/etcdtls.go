package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// etcdTLS are the flags for an etcd that wants TLS. Nothing depends on them: etcd is
// not trusted. They keep strangers from writing to it.
type etcdTLS struct{ ca, cert, key string }

func (f *etcdTLS) add(c *cobra.Command) {
	c.Flags().StringVar(&f.ca, "etcd.ca-file", "", "certificates that etcd's own must come from (default the system's)")
	c.Flags().StringVar(&f.cert, "etcd.cert-file", "", "certificate to show to etcd")
	c.Flags().StringVar(&f.key, "etcd.key-file", "", "its private key")
}

// config is nil if no flag is given: then an https address is held against the
// system's certificates.
func (f *etcdTLS) config() (*tls.Config, error) {
	if *f == (etcdTLS{}) {
		return nil, nil
	}
	if (f.cert == "") != (f.key == "") {
		return nil, errors.New("--etcd.cert-file and --etcd.key-file: one is missing")
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--etcd.ca-file: %q has no certificate", f.ca)
		}
	}
	if f.cert == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	c.Certificates = []tls.Certificate{pair}
	return c, err
}
