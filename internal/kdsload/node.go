package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coffer-fs/coffer/kds"
	"github.com/coffer-fs/coffer/kds/attest"
	"github.com/coffer-fs/coffer/kds/attest/dcap"
	"github.com/coffer-fs/coffer/kds/attest/dcap/dcaptest"
	"github.com/coffer-fs/coffer/kds/attest/dcap/pccs"
	"github.com/coffer-fs/coffer/kds/audit"
	"github.com/coffer-fs/coffer/kds/audit/bolt"
	"github.com/coffer-fs/coffer/kds/kdstest"
	"github.com/coffer-fs/coffer/kds/master"
	"github.com/coffer-fs/coffer/kds/server"
)

const much = "1000000000" // requests a second: the limit is not what is measured

// process is a node that runs.
type process struct {
	dir, url string
	cmd      *exec.Cmd
}

// start runs a node.
func (o options) start(ctx context.Context) (*process, error) {
	dir, err := os.MkdirTemp(".", "kdsload-")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir}
	if o.evidence == "sim" {
		p.cmd = exec.CommandContext(ctx, o.kds, "serve", "--listen", "127.0.0.1:0", "--master", "development", "--data", filepath.Join(dir, "data"),
			"--sim-cpu", filepath.Join(dir, "cpu"), "--rate", much, "--rate.identity", much, "--log", "error")
	} else {
		if err := writeMachine(dir); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		p.cmd = exec.CommandContext(ctx, "/proc/self/exe", "-evidence", o.evidence, "-node", dir)
		p.cmd.Env = append(os.Environ(), "GOGC=400", "GOMEMLIMIT=192MiB") // as coffer-kds has them
	}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		p.stop()
		return nil, errors.New("the node does not start")
	}
	p.url = lines.Text()
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	_ = os.RemoveAll(p.dir)
}

// cpu is the processor time that the node has used.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var user, system int64
	_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return time.Duration(user+system) * 10 * time.Millisecond // 100 ticks a second, on every Linux that Go runs on
}

// memory is a line of the node's status, in MiB.
func (p *process) memory(name string) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return -1
	}
	_, after, _ := strings.Cut(string(b), name+":")
	kib := 0
	_, _ = fmt.Sscan(after, &kib)
	return kib >> 10
}

// runNode is a node that trusts a machine that is made up: the same server, with the
// same audit log.
func (o options) runNode(ctx context.Context) error {
	m, err := readMachine(o.node)
	if err != nil {
		return err
	}
	vo := m.Options()
	vo.Now = nil // the machine's dates are around now
	if o.evidence == "ego" {
		url, stop, err := collateral(m)
		if err != nil {
			return err
		}
		defer stop()
		vo.Source = &pccs.Client{URL: url}
	}
	store, err := bolt.Open(filepath.Join(o.node, "audit.db"), bolt.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	_, k, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	log, err := audit.Open(ctx, store, k, nil)
	if err != nil {
		return err
	}
	defer log.Close()
	node, err := server.New(server.Options{Platform: kdstest.Release(kdstest.NodeBuild, attest.Secure), Verifier: dcap.New(vo), Audit: log,
		Masters: []master.Provider{kdstest.Master{KeyType: kds.Cluster}}, Rate: 1e9, IdentityRate: 1e9})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", l.Addr())
	return node.Serve(ctx, l)
}

// collateral is a PCCS of the machine.
func collateral(m *dcaptest.Machine) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	_, c := m.Make(nil)
	h := &http.Server{Handler: dcaptest.Service{Collateral: c}, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = h.Serve(l) }()
	return "http://" + l.Addr().String() + "/v4", func() { _ = h.Close() }, nil
}

var names = []string{"root", "ca", "pck", "tcb", "attestation"}

// writeMachine makes a machine, for the askers here and the node in its process.
func writeMachine(dir string) error {
	m := dcaptest.NewAt(time.Now())
	for i, k := range m.Keys.All() {
		b, err := x509.MarshalECPrivateKey(*k)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, names[i]), b, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "root.der"), m.Root().Raw, 0o600)
}

func readMachine(dir string) (*dcaptest.Machine, error) {
	m := dcaptest.NewAt(time.Now())
	for i, k := range m.Keys.All() {
		b, err := os.ReadFile(filepath.Join(dir, names[i]))
		if err != nil {
			return nil, err
		}
		if *k, err = x509.ParseECPrivateKey(b); err != nil {
			return nil, err
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "root.der"))
	if err != nil {
		return nil, err
	}
	m.RootCert, err = x509.ParseCertificate(b)
	return m, err
}
