package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// failure is an error with its exit code and what to do about it.
type failure struct {
	code int
	err  error
	hint string // none if empty
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// report tells a person what went wrong, and returns the exit code.
func report(to io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{code: exitFailure, err: err}
		if strings.HasPrefix(err.Error(), "unknown command") {
			f = &failure{exitUsage, err, `see "coffer-kds --help"`}
		}
	}
	fmt.Fprintf(to, "coffer-kds: error: %s\n", oneLine(err.Error()))
	if f.hint != "" {
		fmt.Fprintf(to, "coffer-kds: hint: %s\n", f.hint)
	}
	return f.code
}

// oneLine joins the lines of an error.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
