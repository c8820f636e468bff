package fs

import (
	"io/fs"
	"path"
	"time"
)

// info is Attr as fs.FileInfo.
type info struct {
	name string
	attr Attr
}

func newInfo(p string, a Attr) info { return info{path.Base("/" + p), a} }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.attr.Size }
func (i info) Mode() fs.FileMode  { return i.attr.FileMode() }
func (i info) ModTime() time.Time { return i.attr.Mtime }
func (i info) IsDir() bool        { return i.attr.IsDir() }

// Sys returns the Attr.
func (i info) Sys() any { return i.attr }
