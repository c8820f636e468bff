//go:build race

package mail_test

// bitStep is 8 under the race detector, which makes key exchange ten times as
// slow: one bit of every byte is flipped, another one in each.
const bitStep = 8
