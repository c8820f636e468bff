package dcap

import "fmt"

// qeIdentityJSON is the identity of Intel's quoting enclave.
type qeIdentityJSON struct {
	statement
	MiscSelect     string        `json:"miscselect"`
	MiscSelectMask string        `json:"miscselectMask"`
	Attributes     string        `json:"attributes"`
	AttributesMask string        `json:"attributesMask"`
	Signer         string        `json:"mrsigner"`
	ProductID      *uint16       `json:"isvprodid"`
	Levels         []qeLevelJSON `json:"tcbLevels"`
}

type qeLevelJSON struct {
	TCB struct {
		SVN *uint16 `json:"isvsvn"`
	} `json:"tcb"`
	statusJSON
}

// qeIdentity says which quoting enclaves are Intel's and what they are worth.
// Its bytes stand in the order they have in a report.
type qeIdentity struct {
	statement
	misc, miscMask             [4]byte
	attributes, attributesMask [16]byte
	signer                     [32]byte
	productID                  uint16
	levels                     []qeLevel // best first
}

type qeLevel struct {
	svn uint16
	worth
}

// read refuses the identity of other enclaves and versions.
func (j qeIdentityJSON) read() (q qeIdentity, err error) {
	q.statement = j.statement
	switch {
	case j.Version != 2:
		return q, fmt.Errorf("%w: QE identity of version %d, want 2", ErrCollateral, j.Version)
	case j.ID != "QE":
		return q, fmt.Errorf("%w: QE identity is of %q, want QE", ErrCollateral, clip(j.ID))
	case j.ProductID == nil:
		return q, fmt.Errorf("%w: QE identity has no product ID", ErrCollateral)
	case j.Number == nil:
		return q, fmt.Errorf("%w: QE identity has no evaluation data number", ErrCollateral)
	}
	q.productID = *j.ProductID
	for _, f := range []struct {
		to           []byte
		digits, what string
	}{
		{q.misc[:], j.MiscSelect, "miscselect"}, {q.miscMask[:], j.MiscSelectMask, "miscselectMask"},
		{q.attributes[:], j.Attributes, "attributes"}, {q.attributesMask[:], j.AttributesMask, "attributesMask"},
		{q.signer[:], j.Signer, "mrsigner"},
	} {
		if err := hexField(f.to, f.digits, f.what); err != nil {
			return q, err
		}
	}
	q.levels, err = j.readLevels()
	return q, err
}

func (j qeIdentityJSON) readLevels() (levels []qeLevel, err error) {
	if err := checkLevels("QE identity", len(j.Levels)); err != nil {
		return nil, err
	}
	for _, one := range j.Levels {
		if one.TCB.SVN == nil {
			return nil, fmt.Errorf("%w: level of the QE identity has no isvsvn", ErrCollateral)
		}
		l := qeLevel{svn: *one.TCB.SVN}
		if l.worth, err = one.statusJSON.read(); err != nil {
			return nil, err
		}
		levels = append(levels, l)
	}
	return levels, nil
}

// worth is the first level that the quoting enclave reaches, if it is Intel's.
func (q qeIdentity) worth(r Report) (worth, error) {
	switch {
	case r.SignerHash != q.signer:
		return worth{}, fmt.Errorf("%w: it is signed by %x, want %x", ErrQE, r.SignerHash, q.signer)
	case r.ProductID != q.productID:
		return worth{}, fmt.Errorf("%w: it is product %d, want %d", ErrQE, r.ProductID, q.productID)
	case !masked(r.MiscSelect[:], q.miscMask[:], q.misc[:]):
		return worth{}, fmt.Errorf("%w: its MISCSELECT is %x, want %x under %x", ErrQE, r.MiscSelect, q.misc, q.miscMask)
	case !masked(r.Attributes[:], q.attributesMask[:], q.attributes[:]):
		return worth{}, fmt.Errorf("%w: its attributes are %x, want %x under %x", ErrQE, r.Attributes, q.attributes, q.attributesMask)
	}
	for _, l := range q.levels {
		if r.SecurityVersion >= l.svn {
			return l.worth, nil
		}
	}
	return worth{}, fmt.Errorf("%w: its security version %d reaches none of %d levels", ErrQE, r.SecurityVersion, len(q.levels))
}

// masked reports whether got is want in the bits of mask.
func masked(got, mask, want []byte) bool {
	for i := range got {
		if got[i]&mask[i] != want[i] {
			return false
		}
	}
	return true
}
