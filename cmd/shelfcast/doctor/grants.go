package doctor

import (
	"regexp"
	"strings"
)

// grants are the privileges of a user according to SHOW GRANTS. They are used for privileges
// to change the schema, which EXPLAIN cannot check.
type grants struct {
	everywhere map[string]bool // on *.*
	here       map[string]bool // on any database
	roles      bool            // roles may add privileges that are not listed
}

var grantLine = regexp.MustCompile(`(?i)^GRANT (.+?) ON (?:TABLE )?(\S+) TO `)

// readGrants parses the lines of SHOW GRANTS. A privilege on any database counts as one on
// the shop's: matching MySQL's wildcards and quotes is complex, and the user of a shop has
// one database.
func readGrants(lines []string) grants {
	g := grants{everywhere: map[string]bool{}, here: map[string]bool{}}
	for _, line := range lines {
		m := grantLine.FindStringSubmatch(line)
		if m == nil {
			g.roles = g.roles || strings.HasPrefix(strings.ToUpper(line), "GRANT ")
			continue
		}
		to := g.here
		if m[2] == "*.*" {
			to = g.everywhere
		}
		for right := range strings.SplitSeq(m[1], ",") {
			right, _, _ = strings.Cut(right, "(") // of some columns only
			to[strings.ToUpper(strings.TrimSpace(right))] = true
		}
	}
	return g
}

func (g grants) has(right string) bool {
	for _, on := range []map[string]bool{g.everywhere, g.here} {
		if on[right] || on["ALL"] || on["ALL PRIVILEGES"] {
			return true
		}
	}
	return false
}

// super reports whether the user may create triggers on a server with a binary log and
// without log_bin_trust_function_creators.
func (g grants) super() bool {
	return g.everywhere["SUPER"] || g.everywhere["ALL PRIVILEGES"] || g.everywhere["SET_USER_ID"] ||
		g.everywhere["SET_ANY_DEFINER"]
}
