// Package control lets another process of the same user ask the process that has a
// volume open for what only that one can do: snapshots, a new size, and whatever else
// a mounted volume is asked for.
//
// It is HTTP on a Unix socket, one socket a volume, whose name follows from the
// volume's: so whoever is told of a volume finds who serves it, mounted or not. The
// socket lies in a directory that is its owner's alone, and either side asks the
// kernel who the other is: the server answers its own user and root, and the client
// talks to its own user, root, and, if it is root, the volume's owner. Nothing that
// passes is secret, and no key ever passes.
//
// What can be asked for is not this package's business: handlers are. It is imported
// by cmd/coffer and imports nothing of the module. It is for debugging and simulated
// enclaves, as mounts are; a release enclave offers nothing of it.
package control
