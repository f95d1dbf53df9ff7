package doctor

import (
	"fmt"
	"io"
	"strings"
)

// A Severity is how bad a finding is.
type Severity string

const (
	OK      Severity = "ok"
	Warning Severity = "warning" // works, but with a loss now or later
	Error   Severity = "error"   // an instance does not start or cannot do its work
)

// A Finding is the result of one check.
type Finding struct {
	Code     string   `json:"code"` // stable: docs/doctor.md has them all
	Severity Severity `json:"severity"`
	What     string   `json:"what"` // the problem, or the state if it is ok
	// What it causes and how to fix it; empty if it is ok.
	Consequence string `json:"consequence,omitempty"`
	Fix         string `json:"fix,omitempty"`
}

// A Report has all findings, in the order of the checks.
type Report struct {
	Findings []Finding `json:"findings"`
}

// Count returns the number of findings of that severity.
func (r *Report) Count(s Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

func (r *Report) ok(code, what string, args ...any) {
	r.Findings = append(r.Findings, Finding{Code: code, Severity: OK, What: fmt.Sprintf(what, args...)})
}

// add adds a finding of that severity, with the explanation of its code.
func (r *Report) add(severity Severity, code, what string, args ...any) {
	e, known := explanations[code]
	if !known {
		panic("doctor: no explanation of " + code) // each code is in a test
	}
	r.Findings = append(r.Findings, Finding{code, severity, fmt.Sprintf(what, args...), e.consequence, e.fix})
}

// check adds a finding with the text for its outcome.
func (r *Report) check(wrong bool, severity Severity, code, whatWrong, whatOK string) {
	if wrong {
		r.add(severity, code, "%s", whatWrong)
	} else {
		r.ok(code, "%s", whatOK)
	}
}

// Print writes the report for people.
func (r *Report) Print(to io.Writer) error {
	var text strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&text, "%-7s  %-22s  %s\n", strings.ToUpper(string(f.Severity)), f.Code, f.What)
		if f.Severity != OK {
			fmt.Fprintf(&text, "         consequence: %s\n         fix:         %s\n", f.Consequence, f.Fix)
		}
	}
	fmt.Fprintf(&text, "\n%s, %s, %d in order\n", count(r.Count(Error), "error"),
		count(r.Count(Warning), "warning"), r.Count(OK))
	_, err := io.WriteString(to, text.String())
	return err
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}
