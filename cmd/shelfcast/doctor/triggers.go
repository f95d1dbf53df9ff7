package doctor

import (
	"fmt"
	"strings"

	"shelfcast/store"
)

// triggers checks whether changes by SQL of other programs are noticed.
func (r *Report) triggers(s store.Diagnostics, g grants) {
	may := g.has("TRIGGER")
	switch {
	case s.HasTriggers:
		r.ok("mysql.triggers", "installed: changes by other programs with plain SQL are noticed")
	case !may && !g.roles:
		r.ok("mysql.triggers", "unknown: this user lacks TRIGGER, and cannot see whether they are installed")
	default:
		r.ok("mysql.triggers",
			"not installed: changes by other programs with plain SQL are not noticed; "+
				"`shelfcast migrate --triggers` installs them")
	}
	r.definers(s)
	r.check(s.EventCount > 0 && on(s, "event_scheduler") && !s.HasTriggers, Warning, "mysql.events",
		fmt.Sprintf("the event scheduler is on, and the database has %d events; "+
			"what they write to the products is not noticed", s.EventCount), "no events, or triggers notice what they write")
	refused := on(s, "log_bin") && !on(s, "log_bin_trust_function_creators") && !g.super()
	switch {
	case refused && !s.HasTriggers:
		r.add(Warning, "mysql.binlog",
			"the server has a binary log and no log_bin_trust_function_creators, and this user lacks SUPER")
	case on(s, "log_bin"):
		r.ok("mysql.binlog", "the binary log does not prevent triggers")
	default:
		r.ok("mysql.binlog", "the server has no binary log")
	}
}

// definers checks that the definers of the triggers exist and have their privileges:
// otherwise every write to the products fails.
func (r *Report) definers(s store.Diagnostics) {
	const code = "mysql.definer"
	for _, d := range s.Definers {
		var lacks []string
		g := readGrants(d.Grants)
		for _, right := range []string{"SELECT", "UPDATE", "TRIGGER"} {
			if !g.has(right) {
				lacks = append(lacks, right)
			}
		}
		switch {
		case !d.Known:
			r.ok(code, "the definer of the triggers is %s; this user may not see whether it exists", d.Name)
		case !d.Exists:
			r.add(Error, code, "the definer of the triggers is %s, which does not exist", d.Name)
		case len(lacks) > 0 && !g.roles:
			r.add(Error, code, "the definer of the triggers is %s, which lacks %s", d.Name, strings.Join(lacks, ", "))
		default:
			r.ok(code, "the definer of the triggers is %s", d.Name)
		}
	}
}
