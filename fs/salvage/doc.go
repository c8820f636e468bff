// Package salvage writes what is left of a damaged volume's files into a
// directory of the machine.
//
//	DIR/files        the tree, as far as its names are left
//	DIR/lost+found   files whose names are lost, by inode
//	DIR/damage.txt   everything that is lost or was changed, one a line
//
// It promises that nothing wrong is written: a range of a file that can't be read
// is a hole, and in the list. Nor is anything of another history than the rest, unless
// the wreck was opened to take segments at their own word, which the list says. It never follows a symbolic link, since all it does
// is relative to directories that it made and holds open, and it needs memory for
// one file, however many there are. Files are first written under their numbers, in
// DIR/work, and linked where their names say, so that hard links stay what they are
// and a file whose name is lost is what has none at the end.
//
// It refuses a directory that is not empty. It is imported by cmd.
package salvage
