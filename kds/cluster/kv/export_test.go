package kv

// Bound makes n bytes the largest file.
func (f *File) Bound(n int) { f.most = n }
