//go:build pkcs11 && cgo

package pkcs11

// Judge is judge.
var Judge = judge
