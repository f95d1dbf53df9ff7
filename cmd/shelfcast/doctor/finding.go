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
	Warning Severity = "warning" // it works, and something is lost by it, or will be
	Error   Severity = "error"   // an instance does not start, or does not do what it is for
)

// A Finding is one thing that was looked at.
type Finding struct {
	Code     string   `json:"code"` // stable: docs/doctor.md has them all
	Severity Severity `json:"severity"`
	What     string   `json:"what"`               // is wrong, or is so
	LeadsTo  string   `json:"leads_to,omitempty"` // nothing if it is ok
	Mend     string   `json:"mend,omitempty"`
}

// A Report is all that was found, in the order in which it was looked at.
type Report struct {
	Findings []Finding `json:"findings"`
}

// Count is how many findings are of that severity.
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

// bad adds a finding of that severity. What it leads to and how it is mended is
// in the book, under its code.
func (r *Report) bad(severity Severity, code, what string, args ...any) {
	page, known := book[code]
	if !known {
		panic("doctor: no page for " + code) // each code is in a test
	}
	r.Findings = append(r.Findings, Finding{code, severity, fmt.Sprintf(what, args...), page.leadsTo, page.mend})
}

// check adds a finding: nothing wrong, or what is.
func (r *Report) check(wrong bool, severity Severity, code, whatWrong, whatOK string) {
	if wrong {
		r.bad(severity, code, "%s", whatWrong)
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
			fmt.Fprintf(&text, "         leads to: %s\n         mend it:  %s\n", f.LeadsTo, f.Mend)
		}
	}
	fmt.Fprintf(&text, "\n%s, %s, %d in order\n", count(r.Count(Error), "error"), count(r.Count(Warning), "warning"), r.Count(OK))
	_, err := io.WriteString(to, text.String())
	return err
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}
