package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// failure is an error with its exit code and what to do about it.
type failure struct {
	code int
	err  error
	hint string // none if empty; see fill
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usageError is a mistake on the command line.
func usageError(hint, format string, args ...any) error {
	return &failure{exitUsage, fmt.Errorf(format, args...), hint}
}

// errSaid is the failure of a process that has said itself what went wrong.
type errSaid struct{ code int }

func (e *errSaid) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// report tells a person what went wrong, and returns the exit code.
func report(to io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if said := (*errSaid)(nil); errors.As(err, &said) {
		return said.code
	}
	f := classify(err)
	text := oneLine(err.Error())
	if f.code == exitInterrupted {
		text = strings.ReplaceAll(text, context.Canceled.Error(), "stopped by a signal")
	}
	fmt.Fprintf(to, "coffer: error: %s\n", text)
	if f.hint != "" {
		fmt.Fprintf(to, "coffer: hint: %s\n", fill(f.hint, err))
	}
	return f.code
}

// oneLine joins the lines of an error.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// fill puts the user's own words into a hint: COMMAND is what was typed, and
// VOLUME the volume that the error is about.
func fill(hint string, err error) string {
	volume := "VOLUME"
	if v := (*errVolume)(nil); errors.As(err, &v) {
		volume = quote(v.volume)
	}
	return strings.NewReplacer("COMMAND", typed(), "VOLUME", volume).Replace(hint)
}

// typed is the command line, as one would type it again.
func typed() string {
	words := []string{"coffer"}
	for _, a := range os.Args[1:] {
		words = append(words, quote(a))
	}
	return strings.Join(words, " ")
}

// quote is a word for a shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
