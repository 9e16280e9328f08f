package conformance

import (
	"bytes"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/test/conformance/oracle"
)

var reportFile = flag.String("report", "", "file for a report: how many answers are as expected, by file and by what the expectation rests on")

// result is what came of the cases of a file.
type result struct {
	file        string
	same, cases map[oracle.Class]int
	differences []string
}

// newResult returns the result of a file without cases.
func newResult(file string) *result {
	return &result{file: file, same: map[oracle.Class]int{}, cases: map[oracle.Class]int{}}
}

// add adds a case. same means that the answer was as expected.
func (r *result) add(d *datadriven.TestData, c oracle.Case, same bool) {
	r.cases[c.Class]++
	if same {
		r.same[c.Class]++
		return
	}
	why := c.Differs
	if why == "" {
		why = "NOT EXPECTED"
	}
	r.differences = append(r.differences, fmt.Sprintf("%s: %s (%s): %s", d.Pos, d.Cmd, c.Source, why))
}

// report is the results of all files.
type report []*result

// String renders a row per file and a column per class. A cell is the number of answers as expected, and of all if some differ.
func (all report) String() string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "answers as expected")
	for _, class := range oracle.Classes {
		fmt.Fprintf(w, "\t%s", class)
	}
	total := newResult("all")
	for _, r := range append(all, total) {
		fmt.Fprintf(w, "\n%s", r.file)
		for _, class := range oracle.Classes {
			switch same, cases := r.same[class], r.cases[class]; {
			case cases == 0:
				fmt.Fprint(w, "\t")
			case same < cases:
				fmt.Fprintf(w, "\t%d of %d", same, cases)
			default:
				fmt.Fprintf(w, "\t%d", cases)
			}
			if r != total {
				total.same[class] += r.same[class]
				total.cases[class] += r.cases[class]
			}
		}
		if r != total {
			total.differences = append(total.differences, r.differences...)
		}
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	if total.differences != nil {
		fmt.Fprintf(&out, "\nAnswers that differ:\n%s\n", strings.Join(total.differences, "\n"))
	}
	return out.String()
}
