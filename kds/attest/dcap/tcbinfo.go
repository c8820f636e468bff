package dcap

import (
	"encoding/json"
	"fmt"
)

// tcbInfoJSON is TCB info of version 2 or 3.
type tcbInfoJSON struct {
	statement
	FMSPC  string         `json:"fmspc"`
	PCEID  string         `json:"pceId"`
	Type   *int           `json:"tcbType"`
	Levels []tcbLevelJSON `json:"tcbLevels"`
}

type tcbLevelJSON struct {
	TCB json.RawMessage `json:"tcb"`
	statusJSON
}

// tcbInfo says what a family of platforms is worth, by how it is patched.
type tcbInfo struct {
	statement
	fmspc  FMSPC
	pceID  PCEID
	levels []tcbLevel // best first
}

type tcbLevel struct {
	tcb tcb
	worth
}

// read refuses TCB info of other machines and versions.
func (j tcbInfoJSON) read() (t tcbInfo, err error) {
	t.statement = j.statement
	switch {
	case j.Version != 2 && j.Version != 3:
		return t, fmt.Errorf("%w: TCB info of version %d, want 2 or 3", ErrCollateral, j.Version)
	case j.ID != "SGX" && (j.Version != 2 || j.ID != ""):
		return t, fmt.Errorf("%w: TCB info is of %q, want SGX", ErrCollateral, clip(j.ID))
	case j.Type == nil || *j.Type != 0:
		return t, fmt.Errorf("%w: TCB info has no TCB type 0", ErrCollateral)
	case j.Number == nil:
		return t, fmt.Errorf("%w: TCB info has no evaluation data number", ErrCollateral)
	}
	if err := hexField(t.fmspc[:], j.FMSPC, "FMSPC"); err != nil {
		return t, err
	}
	if err := hexField(t.pceID[:], j.PCEID, "PCEID"); err != nil {
		return t, err
	}
	t.levels, err = j.readLevels()
	return t, err
}

func (j tcbInfoJSON) readLevels() (levels []tcbLevel, err error) {
	if err := checkLevels("TCB info", len(j.Levels)); err != nil {
		return nil, err
	}
	for _, one := range j.Levels {
		var l tcbLevel
		if l.worth, err = one.statusJSON.read(); err != nil {
			return nil, err
		}
		if l.tcb, err = readLevelTCB(j.Version, one.TCB); err != nil {
			return nil, err
		}
		levels = append(levels, l)
	}
	return levels, nil
}

// readLevelTCB reads the components, all of which must be there: one that is
// left out would ask for nothing.
func readLevelTCB(version int, text []byte) (t tcb, err error) {
	var fields struct {
		Components []struct {
			SVN *uint8 `json:"svn"`
		} `json:"sgxtcbcomponents"`
		PCESVN *uint16 `json:"pcesvn"`
	}
	if err := json.Unmarshal(text, &fields); err != nil {
		return t, fmt.Errorf("%w: TCB level: %w", ErrCollateral, err)
	}
	if fields.PCESVN == nil {
		return t, fmt.Errorf("%w: TCB level has no pcesvn", ErrCollateral)
	}
	t.pceSVN = *fields.PCESVN
	if version == 2 {
		t.components, err = readNamedComponents(text)
		return t, err
	}
	if len(fields.Components) != componentCount {
		return t, fmt.Errorf("%w: TCB level has %d components, want %d", ErrCollateral, len(fields.Components), componentCount)
	}
	for i, c := range fields.Components {
		if c.SVN == nil {
			return t, fmt.Errorf("%w: TCB level has no component %d", ErrCollateral, i+1)
		}
		t.components[i] = *c.SVN
	}
	return t, nil
}

// readNamedComponents reads the components of version 2, a field each.
func readNamedComponents(text []byte) (c [componentCount]uint8, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return c, fmt.Errorf("%w: TCB level: %w", ErrCollateral, err)
	}
	for i := range c {
		name := fmt.Sprintf("sgxtcbcomp%02dsvn", i+1)
		if string(fields[name]) == "null" || json.Unmarshal(fields[name], &c[i]) != nil {
			return c, fmt.Errorf("%w: TCB level has no %s", ErrCollateral, name)
		}
	}
	return c, nil
}

// worth is the first level that the platform reaches.
func (t tcbInfo) worth(p platformInfo) (worth, error) {
	switch {
	case p.fmspc != t.fmspc:
		return worth{}, fmt.Errorf("%w: platform has FMSPC %s, TCB info is for %s", ErrBinding, p.fmspc, t.fmspc)
	case p.pceID != t.pceID:
		return worth{}, fmt.Errorf("%w: platform has PCEID %s, TCB info is for %s", ErrBinding, p.pceID, t.pceID)
	}
	for _, l := range t.levels {
		if p.tcb.covers(l.tcb) {
			return l.worth, nil
		}
	}
	return worth{}, fmt.Errorf("%w: components %v with PCESVN %d reach none of %d levels", ErrTCB, p.tcb.components, p.tcb.pceSVN, len(t.levels))
}
