package doctor

import (
	"regexp"
	"strings"
)

// grants are the rights of a user as SHOW GRANTS has them: only for what EXPLAIN
// cannot be asked, which is the rights to change the schema.
type grants struct {
	everywhere map[string]bool // on *.*
	here       map[string]bool // on what may be this database
	roles      bool            // there are rights that are not listed
}

var grantLine = regexp.MustCompile(`(?i)^GRANT (.+?) ON (?:TABLE )?(\S+) TO `)

// readGrants takes a right on any database for one on ours: MySQL's wildcards and
// quotes are many, and the user of a shop has one database.
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

// super: the user may make triggers on a server that does not trust it.
func (g grants) super() bool {
	return g.everywhere["SUPER"] || g.everywhere["ALL PRIVILEGES"] || g.everywhere["SET_USER_ID"] || g.everywhere["SET_ANY_DEFINER"]
}
