package kv

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// DefaultTimeout is how long etcd may take for one request.
const DefaultTimeout = 3 * time.Second

// EtcdOptions say how to reach etcd.
type EtcdOptions struct {
	// TLS is for endpoints with https. Nothing depends on it: etcd is not
	// trusted. Default the system's certificates.
	TLS *tls.Config
	// Timeout is how long a request may take. Default DefaultTimeout.
	Timeout time.Duration
}

// Etcd keeps values in etcd, below a prefix.
type Etcd struct {
	c       *clientv3.Client
	prefix  string
	timeout time.Duration
}

var _ Store = (*Etcd)(nil)

// OpenEtcd opens the values below prefix in the etcd at endpoints. It does not
// wait until etcd can be reached.
func OpenEtcd(endpoints []string, prefix string, o EtcdOptions) (*Etcd, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: o.Timeout, TLS: o.TLS, Logger: zap.NewNop(),
		DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: o.Timeout,
		MaxCallRecvMsgSize: 64 << 20,
		// Without this, etcd is asked every two minutes only when it was away long.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: o.Timeout,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("open etcd: %w", err)
	}
	return &Etcd{c, prefix, o.Timeout}, nil
}

// Close implements Store.
func (e *Etcd) Close() error { return e.c.Close() }

// Get implements Store.
func (e *Etcd) Get(ctx context.Context, names ...string) ([]Value, error) {
	var ops []clientv3.Op
	for _, n := range names {
		ops = append(ops, clientv3.OpGet(e.prefix+n))
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	r, err := e.c.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if len(r.Responses) != len(names) {
		return nil, fmt.Errorf("%w: %d values, asked for %d", ErrAnswer, len(r.Responses), len(names))
	}
	values := make([]Value, len(names))
	for i, one := range r.Responses {
		kvs := one.GetResponseRange().GetKvs()
		switch {
		case len(kvs) == 0:
		case len(kvs) > 1 || string(kvs[0].Key) != e.prefix+names[i] || kvs[0].ModRevision == 0:
			return nil, fmt.Errorf("%w: another value than %q", ErrAnswer, names[i])
		default:
			values[i] = Value{kvs[0].Value, kvs[0].ModRevision}
		}
		if len(values[i].Data) > MaxValueBytes {
			return nil, fmt.Errorf("%w: value %q has %d bytes", ErrAnswer, names[i], len(values[i].Data))
		}
	}
	return values, nil
}

// List implements Store.
func (e *Etcd) List(ctx context.Context, prefix string) ([]Named, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	r, err := e.c.Get(ctx, e.prefix+prefix, clientv3.WithPrefix(), clientv3.WithLimit(MaxListed), clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if len(r.Kvs) > MaxListed {
		return nil, fmt.Errorf("%w: %d values under %q", ErrAnswer, len(r.Kvs), prefix)
	}
	var all []Named
	for _, one := range r.Kvs {
		name, last := string(one.Key), ""
		if len(all) > 0 {
			last = e.prefix + all[len(all)-1].Name
		}
		if len(name) < len(e.prefix+prefix) || name[:len(e.prefix+prefix)] != e.prefix+prefix || name <= last || len(one.Value) > MaxValueBytes {
			return nil, fmt.Errorf("%w: value %.80q in the list of %q", ErrAnswer, name, prefix)
		}
		all = append(all, Named{name[len(e.prefix):], Value{one.Value, one.ModRevision}})
	}
	return all, nil
}

// Commit implements Store.
func (e *Etcd) Commit(ctx context.Context, ifs []If, puts []Put) (bool, error) {
	if err := check(puts); err != nil {
		return false, err
	}
	var conditions []clientv3.Cmp
	for _, i := range ifs {
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(e.prefix+i.Name), "=", i.Revision))
	}
	var ops []clientv3.Op
	for _, p := range puts {
		if p.Data == nil {
			ops = append(ops, clientv3.OpDelete(e.prefix+p.Name))
		} else {
			ops = append(ops, clientv3.OpPut(e.prefix+p.Name, string(p.Data)))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	r, err := e.c.Txn(ctx).If(conditions...).Then(ops...).Commit()
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return r.Succeeded, nil
}
