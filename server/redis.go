package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// newRedis returns a client for a single Redis, Sentinel or a Cluster, depending on
// the URL. ca is a file of certificate authorities, or "" for the system's. Redis need
// not be reachable yet.
func newRedis(address, ca string) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("Redis URL: not a valid URL") // err contains the password
	}
	roots, err := rootsOf(ca)
	if err != nil {
		return nil, fmt.Errorf("Redis: %w", err)
	}
	for name := range u.Query() {
		if !slices.Contains([]string{"addr", "master_name", "username", "password", "db", "skip_verify"}, name) {
			return nil, fmt.Errorf("Redis URL: the option %s is not one of "+
				"addr, master_name, username, password, db, skip_verify", name)
		}
	}
	scheme, form, _ := strings.Cut(u.Scheme, "+")
	u.Scheme = scheme
	switch {
	case form == "cluster":
		o, err := redis.ParseClusterURL(u.String())
		if err != nil {
			return nil, fmt.Errorf("Redis URL: %w", err)
		}
		all := limited(redis.UniversalOptions{Addrs: o.Addrs, Username: o.Username, Password: o.Password,
			TLSConfig: withRoots(o.TLSConfig, roots)})
		cluster := all.Cluster()
		// The default goes on asking a lost node for up to a minute.
		cluster.ClusterStateReloadInterval = time.Second
		return redis.NewClusterClient(cluster), nil
	case form != "":
		return nil, fmt.Errorf("Redis URL: there is no form %q; "+
			"redis, rediss, redis+cluster and rediss+cluster are known", form)
	case u.Query().Has("master_name"):
		o, err := redis.ParseFailoverURL(u.String())
		if err != nil {
			return nil, fmt.Errorf("Redis URL: %w", err)
		}
		all := limited(redis.UniversalOptions{
			MasterName: o.MasterName, Addrs: o.SentinelAddrs, Username: o.Username, Password: o.Password, DB: o.DB,
			SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword, TLSConfig: withRoots(o.TLSConfig, roots),
		})
		return redis.NewFailoverClient(all.Failover()), nil
	}
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("Redis URL: %w", err)
	}
	all := limited(redis.UniversalOptions{Addrs: []string{o.Addr}, Username: o.Username, Password: o.Password, DB: o.DB,
		TLSConfig: withRoots(o.TLSConfig, roots)})
	single := all.Simple()
	single.Network = o.Network // a unix socket
	return redis.NewClient(single), nil
}

// limited sets timeouts: by default go-redis waits for seconds, and ignores the
// deadline of a context.
func limited(o redis.UniversalOptions) *redis.UniversalOptions {
	o.ContextTimeoutEnabled = true
	o.DialTimeout = 300 * time.Millisecond
	o.ReadTimeout = 500 * time.Millisecond
	o.WriteTimeout = 500 * time.Millisecond
	o.DialerRetries = 1
	o.MaxRetries = 1 // for an idle connection that Redis has closed
	o.MinRetryBackoff = time.Millisecond
	o.MaxRetryBackoff = 5 * time.Millisecond
	o.ReadBufferSize, o.WriteBufferSize = 8<<10, 8<<10
	o.DisableIdentity = true // Redis before 7.2 refuses CLIENT SETINFO
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &o
}

// withRoots returns c with these certificate authorities, if neither is nil.
func withRoots(c *tls.Config, roots *x509.CertPool) *tls.Config {
	if c != nil && roots != nil {
		c.RootCAs = roots
	}
	return c
}

// rootsOf reads a PEM file of certificate authorities; it returns nil for "".
func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return roots, nil
}
