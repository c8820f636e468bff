// Package secretfile keeps a secret in a file of its own: made once, readable
// by its owner only, and on the disk before anybody uses it.
//
// It promises that two processes that make the same file at once get the same
// secret, that a secret is never overwritten, and that a damaged file is an
// error and never another secret. It is for what has no enclave to hide in: the
// host reads the file at will, and callers say so.
//
// CreateBytes and Replace are for other files that must be whole after a crash.
//
// Imported by packages of kds. Imports nothing of ours.
package secretfile

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

var (
	// ErrDamaged: the file is not what was written.
	ErrDamaged = errors.New("secret file is damaged")
	// ErrPermissions: others than the owner may read the file.
	ErrPermissions = errors.New("secret file may be read by others")
)

const maxFileBytes = 4096

// LoadOrCreate returns the secret in path, of size bytes, and makes the file
// from fresh if there is none. The title, one line, says what the file is.
func LoadOrCreate(path, title string, size int, fresh func() []byte) ([]byte, error) {
	secret, err := load(path, title, size)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if err := create(path, encode(title, fresh())); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := SyncDir(filepath.Dir(path)); err != nil { // also of him who came second
		return nil, err
	}
	return load(path, title, size) // who came first decides, and what is on disk counts
}

// Create makes path from a fresh secret, and fails with fs.ErrExist if it is
// there.
func Create(path, title string, fresh []byte) error {
	return CreateBytes(path, encode(title, fresh))
}

// CreateBytes makes path with b as its content, and fails with fs.ErrExist if it
// is there. When it returns, the file is on the disk.
func CreateBytes(path string, b []byte) error {
	if err := create(path, b); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Load returns the secret in path.
func Load(path, title string, size int) ([]byte, error) { return load(path, title, size) }

// encode: the title, the secret, and a check sum that tells damage from a
// different secret.
func encode(title string, secret []byte) []byte {
	return fmt.Appendf(nil, "%s\n%x\n%x\n", title, secret, checksum(title, secret))
}

func checksum(title string, secret []byte) []byte {
	sum := sha256.Sum256(append([]byte("coffer secret file check\x00"+title+"\x00"), secret...))
	return sum[:8]
}

func load(path, title string, size int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %q is not a regular file", ErrDamaged, path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %q has mode %04o, want 0600", ErrPermissions, path, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes))
	if err != nil {
		return nil, err
	}
	return decode(path, title, size, string(b))
}

func decode(path, title string, size int, text string) ([]byte, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != title || lines[3] != "" {
		return nil, fmt.Errorf("%w: %q is not a %q file", ErrDamaged, path, title)
	}
	secret, err := hex.DecodeString(lines[1])
	if err != nil || len(secret) != size {
		return nil, fmt.Errorf("%w: %q holds no secret of %d bytes", ErrDamaged, path, size)
	}
	sum, err := hex.DecodeString(lines[2])
	if err != nil || subtle.ConstantTimeCompare(sum, checksum(title, secret)) != 1 {
		return nil, fmt.Errorf("%w: check sum of %q does not match", ErrDamaged, path)
	}
	return secret, nil
}

// create makes path with b in one step: after a crash it is whole or not there.
//
//	write and sync a temporary file, link it to path; the caller syncs the directory
func create(path string, b []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".secret-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Link(tmp.Name(), path)
}

// SyncDir puts the names in dir on the disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Line is a secret that a person put into a file of his own: its first and only
// line, of at most max bytes.
func Line(path string, max int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%q has mode %04o, want a regular file of mode 0600", path, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(max)+2))
	if err != nil {
		return nil, err
	}
	line := bytes.TrimSuffix(b, []byte("\n"))
	if len(line) == 0 || len(line) > max || bytes.ContainsAny(line, "\n\x00") {
		clear(b)
		return nil, fmt.Errorf("%q does not hold one line of 1 to %d bytes", path, max)
	}
	return line, nil
}

// ReadBounded reads a regular file of at most most bytes. ErrDamaged.
func ReadBounded(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is refused, not waited for
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%w: %q is no regular file of at most %d bytes", ErrDamaged, path, most)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, fmt.Errorf("%w: %q has more than %d bytes", ErrDamaged, path, most)
	}
	return b, err
}

// Replace makes b the content of path in one step: after a crash it is the old
// or the new one, and when Replace returns it is the new one.
func Replace(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
