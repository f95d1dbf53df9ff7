// Package mask hides secrets in settings before they are printed or logged. It hides
// everything that is not known to be harmless.
package mask

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Hidden replaces secrets.
const Hidden = "***"

// DSN returns a data source name of github.com/go-sql-driver/mysql without its password.
// An invalid one is hidden as a whole, as the password could be anywhere in it.
func DSN(text string) string {
	if text == "" {
		return ""
	}
	c, err := mysql.ParseDSN(text)
	if err != nil {
		return Hidden
	}
	user := c.User
	if c.Passwd != "" {
		user += ":" + Hidden
	}
	if user != "" {
		user += "@"
	}
	masked := user + c.Net + "(" + c.Addr + ")/" + c.DBName
	// Split as the driver does: a password may contain ? and /.
	if _, params, found := strings.Cut(text[strings.LastIndex(text, "/"):], "?"); found {
		masked += "?" + query(params, dsnOptions)
	}
	return masked
}

// dsnOptions are the options of the driver that contain no secrets.
var dsnOptions = []string{
	"allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext", "allowNativePasswords",
	"allowOldPasswords",
	"charset", "checkConnLiveness", "clientFoundRows", "collation", "columnsWithAlias", "compress",
	"innodb_lock_wait_timeout", "interpolateParams", "loc", "maxAllowedPacket", "multiStatements", "parseTime",
	"readTimeout", "rejectReadOnly", "serverPubKey", "sql_mode", "time_zone",
	"timeTruncate", "timeout", "tls", "transaction_isolation", "tx_isolation", "writeTimeout",
}

// URL returns a URL without its password, without a token in place of a user name, and
// without the values of its query, except for those of Redis's options that contain no
// secrets. An invalid one is hidden as a whole.
func URL(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return Hidden
	}
	masked := u.Scheme + "://"
	if u.User != nil {
		if _, has := u.User.Password(); has && u.User.Username() != "" {
			masked += url.User(u.User.Username()).String() + ":"
		}
		masked += Hidden + "@"
	}
	masked += u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		masked += "?" + query(u.RawQuery, redisOptions)
	}
	if u.Fragment != "" {
		masked += "#" + Hidden
	}
	return masked
}

// redisOptions are the options of a Redis URL that contain no secrets.
var redisOptions = []string{"addr", "db", "master_name", "skip_verify"}

// plainName matches the names of options.
var plainName = regexp.MustCompile(`^[A-Za-z_][\w.-]*$`)

// query hides the values of all options except open, and options without a value, which
// may be tokens.
func query(raw string, open []string) string {
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		name, value, has := strings.Cut(pair, "=")
		switch {
		case !has, !plainName.MatchString(name):
			pairs[i] = Hidden
		case !slices.Contains(open, name) || strings.ContainsAny(value, "@") ||
			strings.Contains(strings.ToLower(value), "%40"):
			pairs[i] = name + "=" + Hidden
		}
	}
	return strings.Join(pairs, "&")
}

// Text returns a setting that is not a secret. It may still contain a URL with a
// password, which is hidden.
func Text(text string) string {
	switch {
	case strings.Contains(text, "://"):
		return URL(text)
	case strings.Contains(text, "@") && strings.Contains(text, ":"):
		return Hidden
	}
	return text
}

// All hides a text as a whole.
func All(text string) string {
	if text == "" {
		return ""
	}
	return Hidden
}
