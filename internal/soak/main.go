// Soak exercises a directory of a mounted filesystem for longer than a test may:
//
//	soak fsx DIR OPERATIONS SEED    random operations on one file, beside a model
//	soak large DIR                  what is large: files, directories, names
//
// The directory may be of any filesystem: the kernel's own are the reference.
// scripts/soak runs it.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "fsx":
		operations, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		seed, err := strconv.ParseUint(args[3], 10, 64)
		if err != nil {
			return err
		}
		return fsx(args[1], operations, seed)
	case len(args) == 2 && args[0] == "large":
		return large(args[1])
	}
	return fmt.Errorf("usage: soak fsx DIR OPERATIONS SEED | soak large DIR")
}
