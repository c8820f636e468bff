package dcap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/coffer-fs/coffer/kds/internal/secretfile"
)

// maxMemoryBytes is the longest file of a memory.
const maxMemoryBytes = 4 << 20

// fileMemory is a memory that outlives the process: marks are on the disk
// before they count. The mutex is held while the file is written.
type fileMemory struct {
	path string
	mu   sync.Mutex
	ram  *ram
}

// OpenMemory is a memory kept in a file. Who can write the file can make a
// verifier forget, which is then as good as one that was started for the first
// time; a file that cannot be read is an error.
func OpenMemory(path string) (Memory, error) {
	m := &fileMemory{path: path, ram: &ram{marks: map[string]Mark{}}}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, nil
	case err != nil:
		return nil, fmt.Errorf("open memory of collateral: %w", err)
	case info.Size() > maxMemoryBytes:
		return nil, fmt.Errorf("open memory of collateral: %q has %d bytes", path, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open memory of collateral: %w", err)
	}
	var marks []Mark
	if err := json.Unmarshal(b, &marks); err != nil {
		return nil, fmt.Errorf("open memory of collateral: %q is damaged: %w", path, err)
	}
	return m, m.ram.Advance(context.Background(), marks)
}

// Newest implements Memory.
func (m *fileMemory) Newest(ctx context.Context) (time.Time, error) { return m.ram.Newest(ctx) }

// Advance implements Memory.
func (m *fileMemory) Advance(ctx context.Context, marks []Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ram.knows(marks) {
		return nil
	}
	next := m.ram.copy()
	if err := next.Advance(ctx, marks); err != nil {
		return err
	}
	if err := m.write(next); err != nil {
		return fmt.Errorf("keep memory of collateral: %w", err)
	}
	return m.ram.Advance(ctx, marks)
}

// knows reports whether marks change nothing.
func (m *ram) knows(marks []Mark) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range marks {
		old, ok := m.marks[k.Subject]
		if !ok || !old.Issued.Equal(k.Issued) || old.Number != k.Number {
			return false
		}
	}
	return true
}

func (m *ram) copy() *ram {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &ram{newest: m.newest, marks: map[string]Mark{}}
	for s, k := range m.marks {
		c.marks[s] = k
	}
	return c
}

// write replaces the file: beside, synced, renamed.
func (m *fileMemory) write(r *ram) error {
	marks := make([]Mark, 0, len(r.marks))
	for _, k := range r.marks {
		marks = append(marks, k)
	}
	b, err := json.Marshal(marks)
	if err != nil {
		return err
	}
	dir := filepath.Dir(m.path)
	tmp, err := os.CreateTemp(dir, ".collateral-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(tmp.Name(), m.path), secretfile.SyncDir(dir))
}
