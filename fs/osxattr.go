package fs

import "context"

// GetXattr returns an extended attribute of a file or of a symbolic link itself,
// as lgetxattr does.
func (f *FS) GetXattr(name, attr string) (value []byte, err error) {
	ctx := context.Background()
	err = f.at(ctx, name, false, func(n node) (err error) {
		value, err = n.tree.GetXattr(ctx, n.Ino, attr)
		return err
	})
	return value, pathError("getxattr", name, err)
}

// SetXattr sets an extended attribute; see XattrCreate for the flags.
func (f *FS) SetXattr(name, attr string, value []byte, flags uint32) error {
	ctx := context.Background()
	err := f.at(ctx, name, false, func(n node) error { return n.tree.SetXattr(ctx, n.Ino, attr, value, flags) })
	return pathError("setxattr", name, err)
}

// RemoveXattr removes an extended attribute.
func (f *FS) RemoveXattr(name, attr string) error {
	ctx := context.Background()
	err := f.at(ctx, name, false, func(n node) error { return n.tree.RemoveXattr(ctx, n.Ino, attr) })
	return pathError("removexattr", name, err)
}

// ListXattr returns the names of all extended attributes of a file.
func (f *FS) ListXattr(name string) (names []string, err error) {
	ctx := context.Background()
	err = f.at(ctx, name, false, func(n node) (err error) {
		names, err = n.tree.ListXattr(ctx, n.Ino)
		return err
	})
	return names, pathError("listxattr", name, err)
}
