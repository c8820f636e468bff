package dcap

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
)

// FMSPC names a family of platforms.
type FMSPC [6]byte

// String is the name in upper-case hexadecimal digits, as Intel writes it.
func (f FMSPC) String() string { return strings.ToUpper(hex.EncodeToString(f[:])) }

// PCEID names a provisioning certification enclave.
type PCEID [2]byte

// String is the name in upper-case hexadecimal digits, as Intel writes it.
func (p PCEID) String() string { return strings.ToUpper(hex.EncodeToString(p[:])) }

// componentCount is how many components a TCB has.
const componentCount = 16

// tcb is how well a platform is patched.
type tcb struct {
	components [componentCount]uint8
	pceSVN     uint16
}

// covers reports whether t is at least o in every part.
func (t tcb) covers(o tcb) bool {
	for i, svn := range o.components {
		if t.components[i] < svn {
			return false
		}
	}
	return t.pceSVN >= o.pceSVN
}

// platformInfo is what a PCK certificate says of its platform.
type platformInfo struct {
	fmspc FMSPC
	pceID PCEID
	tcb   tcb
}

// oidSGX is Intel's extension of PCK certificates, and the arc of what is in it.
var oidSGX = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}

// Arcs below oidSGX.
const (
	arcTCB    = 2
	arcPCEID  = 3
	arcFMSPC  = 4
	arcPCESVN = componentCount + 1 // below arcTCB, after the components
)

// attribute is one name and value in the extension.
type attribute struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

// parseExtension reads the value of the extension. What it does not know, it
// leaves alone; what it needs must be there, once.
func parseExtension(der []byte) (platformInfo, error) {
	var p platformInfo
	top, err := readAttributes(der, oidSGX)
	if err != nil {
		return p, err
	}
	if err := octets(p.fmspc[:], top, arcFMSPC, "FMSPC"); err != nil {
		return p, err
	}
	if err := octets(p.pceID[:], top, arcPCEID, "PCEID"); err != nil {
		return p, err
	}
	levels, err := readAttributes(top[arcTCB].FullBytes, append(oidSGX[:len(oidSGX):len(oidSGX)], arcTCB))
	if err != nil {
		return p, err
	}
	p.tcb, err = readTCB(levels)
	return p, err
}

func readTCB(levels map[int]asn1.RawValue) (t tcb, err error) {
	for i := range t.components {
		n, err := number(levels, i+1, 1<<8-1)
		if err != nil {
			return t, err
		}
		t.components[i] = uint8(n)
	}
	n, err := number(levels, arcPCESVN, 1<<16-1)
	t.pceSVN = uint16(n)
	return t, err
}

// readAttributes reads a sequence of attributes into a map by the one number
// that their names have below arc.
func readAttributes(der []byte, arc asn1.ObjectIdentifier) (map[int]asn1.RawValue, error) {
	var all []attribute
	if rest, err := asn1.Unmarshal(der, &all); err != nil || len(rest) != 0 {
		return nil, extension("%v is no sequence of attributes", arc)
	}
	byNumber := map[int]asn1.RawValue{}
	for _, a := range all {
		n := len(arc)
		if len(a.ID) != n+1 || !a.ID[:n].Equal(arc) {
			return nil, extension("attribute %v is not below %v", a.ID, arc)
		}
		if _, ok := byNumber[a.ID[n]]; ok {
			return nil, extension("attribute %v is given twice", a.ID)
		}
		byNumber[a.ID[n]] = a.Value
	}
	return byNumber, nil
}

// octets copies an octet string that fills to.
func octets(to []byte, from map[int]asn1.RawValue, arc int, name string) error {
	var b []byte
	rest, err := asn1.Unmarshal(from[arc].FullBytes, &b)
	if err != nil || len(rest) != 0 || len(b) != len(to) {
		return extension("no %s of %d bytes", name, len(to))
	}
	copy(to, b)
	return nil
}

// number reads an integer from 0 to most.
func number(from map[int]asn1.RawValue, arc int, most int64) (int64, error) {
	var n int64
	rest, err := asn1.Unmarshal(from[arc].FullBytes, &n)
	if err != nil || len(rest) != 0 || n < 0 || n > most {
		return 0, extension("no TCB number %d from 0 to %d", arc, most)
	}
	return n, nil
}

func extension(format string, args ...any) error {
	return fmt.Errorf("%w: SGX extension of the PCK certificate: %s", ErrCertificate, fmt.Sprintf(format, args...))
}
