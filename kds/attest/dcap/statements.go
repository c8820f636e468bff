package dcap

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"
)

// statements are collateral whose signatures are right. Nothing in it depends
// on time or on a quote.
type statements struct {
	tcb                 tcbInfo
	qe                  qeIdentity
	tcbSigner, qeSigner chain
	crlIssuer           chain        // of the PCK list
	rootList, pckList   *revocations // nil only if a test asked for that
}

// readStatements reads collateral and checks every signature in it.
func (r roots) readStatements(c Collateral, lists bool) (*statements, error) {
	s := &statements{}
	var tcb tcbInfoJSON
	var qe qeIdentityJSON
	var err error
	if s.tcbSigner, err = readStatement(r, "TCB info", c.TCBInfo, c.TCBInfoSignature, c.TCBInfoIssuerChain, &tcb); err != nil {
		return nil, err
	}
	if s.qeSigner, err = readStatement(r, "QE identity", c.QEIdentity, c.QEIdentitySignature, c.QEIdentityIssuerChain, &qe); err != nil {
		return nil, err
	}
	if s.tcb, err = tcb.read(); err != nil {
		return nil, err
	}
	if s.qe, err = qe.read(); err != nil {
		return nil, err
	}
	if lists {
		err = s.readLists(r, c)
	}
	return s, err
}

func (s *statements) readLists(r roots, c Collateral) (err error) {
	if s.crlIssuer, err = r.readChain(c.PCKCRLIssuerChain, crlChainRoles); err != nil {
		return fmt.Errorf("issuer of the PCK revocation list: %w", err)
	}
	if s.rootList, err = readRevocations(c.RootCACRL, s.crlIssuer[1], roleRoot); err != nil {
		return err
	}
	s.pckList, err = readRevocations(c.PCKCRL, s.crlIssuer[0], rolePCKCA)
	return err
}

// checkDates refuses what is not valid yet or no more.
func (s *statements) checkDates(now time.Time, p *pck) error {
	own := []period{s.tcb.period("TCB info"), s.qe.period("QE identity")}
	if s.rootList != nil {
		own = append(own, s.rootList.period, s.pckList.period)
	}
	return checkPeriods(now, p.chain.periods(), s.tcbSigner.periods(), s.qeSigner.periods(), s.crlIssuer.periods(), own)
}

// checkRevoked looks every certificate up but the root, which is pinned. The
// lists must be of those who issued the certificates.
func (s *statements) checkRevoked(p *pck) error {
	if s.rootList == nil {
		return nil
	}
	for _, c := range []chain{p.chain, s.tcbSigner, s.qeSigner, s.crlIssuer} {
		if !sameSubject(c[len(c)-1], s.crlIssuer[1]) {
			return fmt.Errorf("%w: chain of %q and revocation list have different roots", ErrBinding, clip(c[0].Subject.CommonName))
		}
		if err := s.rootList.check(c[len(c)-2]); err != nil {
			return err
		}
	}
	if !sameSubject(p.chain[1], s.crlIssuer[0]) {
		return fmt.Errorf("%w: PCK certificate is of %q, revocation list of %q", ErrBinding,
			clip(p.chain[1].Subject.CommonName), clip(s.crlIssuer[0].Subject.CommonName))
	}
	return s.pckList.check(p.chain[0])
}

// sameSubject: the same name with the same key.
func sameSubject(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// checkFloor refuses collateral from before an evaluation of Intel's.
func (s *statements) checkFloor(least uint32) error {
	for _, m := range []Mark{s.tcbMark(), s.qeMark()} {
		if m.Number < least {
			return fmt.Errorf("%w: %s has evaluation data number %d, want %d or more", ErrOlder, m.Subject, m.Number, least)
		}
	}
	return nil
}

func (s *statements) tcbMark() Mark {
	return Mark{"TCB info of " + s.tcb.fmspc.String(), s.tcb.Issued, *s.tcb.Number}
}

func (s *statements) qeMark() Mark { return Mark{"QE identity", s.qe.Issued, *s.qe.Number} }

// marks are how new the statements are.
func (s *statements) marks() []Mark {
	all := []Mark{s.tcbMark(), s.qeMark()}
	if s.rootList != nil {
		all = append(all, s.rootList.mark(s.crlIssuer[1]), s.pckList.mark(s.crlIssuer[0]))
	}
	return all
}
