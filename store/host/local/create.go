package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/coffer-fs/coffer/store/host"
)

// catalogNewPrefix begins the name of a catalog that is being made.
const catalogNewPrefix = "catalog.new."

// Create makes an empty volume in dir, which may exist if it is empty; its
// parent must exist. ErrExists if there is a volume, or anything else.
//
// A volume is there when its catalog has its name, which is the last step. What
// an earlier step made goes away after an error, and is used by the next Create
// after a crash.
func Create(dir string) error {
	if err := create(dir); err != nil {
		return fmt.Errorf("create volume %q: %w", dir, err)
	}
	return nil
}

func create(dir string) error {
	// 1. The directory.
	switch err := os.Mkdir(dir, dirMode); {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no parent directory: %w", host.ErrNotFound)
	case errors.Is(err, fs.ErrExist):
		return createIn(dir)
	default:
		return err
	}
	if err := createIn(dir); err != nil {
		os.Remove(dir) // which fails if someone else put a volume there
		return err
	}
	return nil
}

// createIn makes a volume in a directory that should be empty.
func createIn(dir string) error {
	root, err := os.OpenFile(dir, os.O_RDONLY|sysDirectory, 0)
	if isNotDirectory(err) {
		return fmt.Errorf("a file of that name: %w", host.ErrExists)
	} else if err != nil {
		return err
	}
	defer root.Close()
	if err := refuseUnlessEmpty(root); err != nil {
		return err
	}
	if err := fill(root); err != nil {
		return err
	}
	return syncDirs(root, dir)
}

// fill puts a volume into an empty directory, or leaves it empty.
func fill(root *os.File) (err error) {
	var undo []func()
	defer func() {
		for _, do := range slices.Backward(undo) {
			if err != nil {
				do()
			}
		}
	}()
	// 2. The directories in it.
	for _, name := range []string{segmentsName, spareName} {
		err := mkdirAt(root, name)
		if err == nil {
			undo = append(undo, func() { removeAt(root, name, unix.AT_REMOVEDIR) })
		} else if err != unix.EEXIST {
			return err
		}
	}
	// 3. The catalog, under a name of its own.
	name := fmt.Sprintf("%s%d", catalogNewPrefix, os.Getpid())
	undo = append(undo, func() { removeAt(root, name, 0) })
	if err := makeCatalog(root, name, initCatalog); err != nil {
		return err
	}
	if err := root.Sync(); err != nil {
		return err
	}
	// 4. The catalog gets its name.
	err = renameNew(root, name, root, catalogName)
	if err == unix.EEXIST {
		return host.ErrExists
	}
	return err
}

// refuseUnlessEmpty accepts an empty directory, and what a Create that was cut
// off left in it.
func refuseUnlessEmpty(root *os.File) error {
	names, err := readNames(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case name == catalogName:
			return host.ErrExists
		case name == segmentsName || name == spareName:
			if err := refuseContent(root, name); err != nil {
				return err
			}
		case strings.HasPrefix(name, catalogNewPrefix):
			if err := removeAt(root, name, 0); err != nil {
				return err
			}
		default:
			return fmt.Errorf("directory is not empty, it has %q: %w", name, host.ErrExists)
		}
	}
	return nil
}

func refuseContent(root *os.File, name string) error {
	dir, err := openDir(root, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := readNames(dir)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("directory is not empty, it has %q: %w", filepath.Join(name, names[0]), host.ErrExists)
	}
	return err
}

// makeCatalog writes a catalog with what init puts into it, durably.
func makeCatalog(root *os.File, name string, init func(*bbolt.Tx) error) error {
	file, err := openFile(root, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	db, err := bbolt.Open(name, fileMode, &bbolt.Options{
		PageSize: pageSize,
		Timeout:  lockWait,
		OpenFile: func(string, int, fs.FileMode) (*os.File, error) { return file, nil },
	})
	if err != nil {
		file.Close()
		return err
	}
	defer db.Close()
	if err := db.Update(init); err != nil {
		return err
	}
	err = setAside(file, catalogInitialBytes)
	if isNoSpace(err) {
		err = fmt.Errorf("%w: %w", host.ErrNoSpace, err)
	}
	if err != nil {
		return err
	}
	return file.Sync()
}

func initCatalog(tx *bbolt.Tx) error {
	if _, err := tx.CreateBucket(recordsBucket); err != nil {
		return err
	}
	b, err := tx.CreateBucket(volumeBucket)
	if err == nil {
		err = b.Put(formatKey, []byte(catalogFormat))
	}
	if err == nil {
		err = b.Put(epochKey, binary.BigEndian.AppendUint64(nil, 0))
	}
	return err
}

// syncDirs makes the volume's own names durable.
func syncDirs(root *os.File, dir string) error {
	if err := root.Sync(); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}
