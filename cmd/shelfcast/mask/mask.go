// Package mask takes out of settings what nobody is to read on a screen or in a
// log. What it does not know for harmless it hides.
package mask

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Hidden stands for what is secret.
const Hidden = "***"

// DSN is a data source name of github.com/go-sql-driver/mysql without its
// password. What is no DSN is hidden altogether, as nobody can say where in it
// the password is.
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
	// As the driver reads it: a password may have a ? and a / too.
	if _, params, found := strings.Cut(text[strings.LastIndex(text, "/"):], "?"); found {
		masked += "?" + query(params, dsnOptions)
	}
	return masked
}

// dsnOptions are those of the driver that have nothing secret.
var dsnOptions = []string{
	"allowAllFiles", "allowCleartextPasswords", "allowFallbackToPlaintext", "allowNativePasswords", "allowOldPasswords", "charset",
	"checkConnLiveness", "clientFoundRows", "collation", "columnsWithAlias", "compress", "innodb_lock_wait_timeout", "interpolateParams",
	"loc", "maxAllowedPacket", "multiStatements", "parseTime", "readTimeout", "rejectReadOnly", "serverPubKey", "sql_mode", "time_zone",
	"timeTruncate", "timeout", "tls", "transaction_isolation", "tx_isolation", "writeTimeout",
}

// URL is a URL without the password, or a token that stands where a user's name
// may, and with no value in its query but those of the options of Redis that
// have nothing secret. What is no URL is hidden altogether.
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

// redisOptions are those of a Redis URL.
var redisOptions = []string{"addr", "db", "master_name", "skip_verify"}

// plainName is what an option is called that is one.
var plainName = regexp.MustCompile(`^[A-Za-z_][\w.-]*$`)

// query hides the values of all but these options, and an option that has no
// value, which may be a token.
func query(raw string, open []string) string {
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		name, value, has := strings.Cut(pair, "=")
		switch {
		case !has, !plainName.MatchString(name):
			pairs[i] = Hidden
		case !slices.Contains(open, name) || strings.ContainsAny(value, "@") || strings.Contains(strings.ToLower(value), "%40"):
			pairs[i] = name + "=" + Hidden
		}
	}
	return strings.Join(pairs, "&")
}

// Text is a setting that has no secret of its own. Somebody may still have
// written a URL with a password there.
func Text(text string) string {
	switch {
	case strings.Contains(text, "://"):
		return URL(text)
	case strings.Contains(text, "@") && strings.Contains(text, ":"):
		return Hidden
	}
	return text
}

// All is for what is secret altogether.
func All(text string) string {
	if text == "" {
		return ""
	}
	return Hidden
}
