package fs

import "context"

// GetXattr returns an extended attribute of a file or of a symbolic link itself,
// as lgetxattr does.
func (f *FS) GetXattr(name, attr string) (value []byte, err error) {
	ctx := context.Background()
	err = f.tree.at(ctx, name, false, func(a Attr) (err error) {
		value, err = f.tree.GetXattr(ctx, a.Ino, attr)
		return err
	})
	return value, pathError("getxattr", name, err)
}

// SetXattr sets an extended attribute; see XattrCreate for the flags.
func (f *FS) SetXattr(name, attr string, value []byte, flags uint32) error {
	ctx := context.Background()
	err := f.tree.at(ctx, name, false, func(a Attr) error { return f.tree.SetXattr(ctx, a.Ino, attr, value, flags) })
	return pathError("setxattr", name, err)
}

// RemoveXattr removes an extended attribute.
func (f *FS) RemoveXattr(name, attr string) error {
	ctx := context.Background()
	err := f.tree.at(ctx, name, false, func(a Attr) error { return f.tree.RemoveXattr(ctx, a.Ino, attr) })
	return pathError("removexattr", name, err)
}

// ListXattr returns the names of all extended attributes of a file.
func (f *FS) ListXattr(name string) (names []string, err error) {
	ctx := context.Background()
	err = f.tree.at(ctx, name, false, func(a Attr) (err error) {
		names, err = f.tree.ListXattr(ctx, a.Ino)
		return err
	})
	return names, pathError("listxattr", name, err)
}
