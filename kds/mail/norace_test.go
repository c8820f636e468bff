//go:build !race

package mail_test

// bitStep is 1: every bit is flipped.
const bitStep = 1
