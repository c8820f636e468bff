// Package fs is a POSIX filesystem in a sealed volume: the tree of files, without
// FUSE and without cryptography.
//
// It promises that the history of a filesystem is one sequence: whatever state
// is found after a crash, it is that after some number of operations, and holds
// all those before the last Sync that returned. A write of up to 16 MiB is one
// operation. Names, links and attributes are changed in one store.Update each, so
// directories need no locks; buffered data reaches the volume, all of it in one
// Update, before any later operation does.
//
// It refuses what the volume cannot hold with ENOSPC when it is written, never
// when it is flushed or closed. It checks no permissions: a mount lets the kernel
// do that, and a program that uses this package is the owner of its files.
//
// Imported by fs/mount, by adapters and by coffer; imports store.
//
// Locks, outermost first:
//
//	File.mu          offset of one open file
//	  Handle.mu      held for reading by every call on a handle
//	    readAhead.mu what one handle read ahead; only tried
//	    flushMu      one flush of buffered data
//	      file.mu    one file's size, times and buffered blocks; several are
//	                 taken in the order of inode numbers, and only by the flush
//	        (store)
//	          filesMu  which files are in memory, and what flushing them costs;
//	                   a leaf, taken inside of Updates too
package fs
