package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
)

const resultsFile = "bench-out/bench.json"

// results are all numbers, by workload in the order of the table.
type results struct {
	Machine   string            `json:"machine"`
	Workloads []*workloadResult `json:"workloads"`
	// PeakBytes is the most memory a mount had resident, by contender.
	PeakBytes map[string]int64 `json:"peak_bytes"`
}

// workloadResult is what all contenders did in one workload, by round.
type workloadResult struct {
	Workload string               `json:"workload"`
	Unit     string               `json:"unit"` // more is better
	Rounds   map[string][]float64 `json:"rounds"`
	Medians  map[string]float64   `json:"medians"`
	// Ratios say how many times faster coffer is.
	Ratios map[string]float64 `json:"ratios"`
}

// loadResults begins with nothing, or with what was measured before.
func loadResults(keep bool) (*results, error) {
	rs := &results{PeakBytes: map[string]int64{}}
	if keep {
		b, err := os.ReadFile(resultsFile)
		if err == nil {
			err = json.Unmarshal(b, rs)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	rs.Machine = fmt.Sprintf("%d cores, %s", runtime.NumCPU(), runtime.Version())
	return rs, nil
}

// begin forgets what was measured before of a workload: ratios are of one run.
func (rs *results) begin(name, unit string) {
	r := &workloadResult{
		Workload: name, Unit: unit,
		Rounds: map[string][]float64{}, Medians: map[string]float64{}, Ratios: map[string]float64{},
	}
	at := slices.IndexFunc(rs.Workloads, func(old *workloadResult) bool { return old.Workload == name })
	if at >= 0 {
		rs.Workloads[at] = r
		return
	}
	rs.Workloads = append(rs.Workloads, r)
	names := allNames()
	slices.SortStableFunc(rs.Workloads, func(a, b *workloadResult) int {
		return slices.Index(names, a.Workload) - slices.Index(names, b.Workload)
	})
}

func (rs *results) find(name string) *workloadResult {
	return rs.Workloads[slices.IndexFunc(rs.Workloads, func(r *workloadResult) bool { return r.Workload == name })]
}

// add adds one round.
func (rs *results) add(name, contender string, v float64) {
	r := rs.find(name)
	r.Rounds[contender] = append(r.Rounds[contender], v)
	r.Medians[contender] = median(r.Rounds[contender])
	for c, m := range r.Medians {
		if c != "coffer" && m > 0 {
			r.Ratios[c] = r.Medians["coffer"] / m
		}
	}
}

func (rs *results) memory(contender string, bytes int64) {
	rs.PeakBytes[contender] = max(rs.PeakBytes[contender], bytes)
}

func median(vs []float64) float64 {
	s := slices.Sorted(slices.Values(vs))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func (rs *results) save() error {
	b, err := json.MarshalIndent(rs, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll("bench-out", 0o755); err != nil {
		return err
	}
	return os.WriteFile(resultsFile, append(b, '\n'), 0o644)
}

// print shows a table for each set of contenders: medians, and how many times
// faster coffer is.
func (rs *results) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", rs.Machine)
	before := ""
	for _, r := range rs.Workloads {
		var cs []string
		for _, c := range columns {
			if _, ok := r.Medians[c]; ok {
				cs = append(cs, c)
			}
		}
		if set := strings.Join(cs, " "); set != before {
			before = set
			printHead(w, cs)
		}
		fmt.Fprintf(w, "| %s | %s |", r.Workload, r.Unit)
		for _, c := range cs {
			fmt.Fprintf(w, " %s |", short(r.Medians[c]))
		}
		for _, c := range cs[1:] {
			fmt.Fprintf(w, " %.2f |", r.Ratios[c])
		}
		fmt.Fprintln(w)
	}
	for _, c := range columns {
		if n := rs.PeakBytes[c]; n > 0 {
			fmt.Fprintf(w, "\nmost memory of %s: %d MiB", c, n>>20)
		}
	}
	fmt.Fprintln(w)
}

func printHead(w io.Writer, cs []string) {
	fmt.Fprint(w, "\n| workload | unit |")
	for _, c := range cs {
		fmt.Fprintf(w, " %s |", c)
	}
	for _, c := range cs[1:] {
		fmt.Fprintf(w, " over %s |", c)
	}
	fmt.Fprintf(w, "\n|---|---|%s\n", strings.Repeat("---|", 2*len(cs)-1))
}

// short is v with three digits that matter.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// columns are all who are measured, in the order of the tables.
var columns = []string{"coffer", noACL, "gocryptfs", "securefs", "cryfs", "plain", "AES-256-GCM", "disk", "fresh"}
