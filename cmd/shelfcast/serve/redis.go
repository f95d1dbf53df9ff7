package serve

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

// newRedis makes a client for a single Redis, for Sentinel or for a Cluster, as
// the URL says. ca is a file of certificates, or "" for the system's. Nothing
// need be reachable yet.
func newRedis(address, ca string) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("Redis URL: it is not one") // the error has the password in it
	}
	roots, err := rootsOf(ca)
	if err != nil {
		return nil, fmt.Errorf("Redis: %w", err)
	}
	for name := range u.Query() {
		if !slices.Contains([]string{"addr", "master_name", "username", "password", "db", "skip_verify"}, name) {
			return nil, fmt.Errorf("Redis URL: the option %s is not one of addr, master_name, username, password, db, skip_verify", name)
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
		all := limited(redis.UniversalOptions{Addrs: o.Addrs, Username: o.Username, Password: o.Password, TLSConfig: withRoots(o.TLSConfig, roots)})
		cluster := all.Cluster()
		// By default a node that is gone is asked for up to a minute.
		cluster.ClusterStateReloadInterval = time.Second
		return redis.NewClusterClient(cluster), nil
	case form != "":
		return nil, fmt.Errorf("Redis URL: there is no form %q; redis, rediss, redis+cluster and rediss+cluster are known", form)
	case u.Query().Has("master_name"):
		o, err := redis.ParseFailoverURL(u.String())
		if err != nil {
			return nil, fmt.Errorf("Redis URL: %w", err)
		}
		all := limited(redis.UniversalOptions{
			MasterName: o.MasterName, Addrs: o.SentinelAddrs, SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
			Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: withRoots(o.TLSConfig, roots),
		})
		return redis.NewFailoverClient(all.Failover()), nil
	}
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("Redis URL: %w", err)
	}
	all := limited(redis.UniversalOptions{Addrs: []string{o.Addr}, Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: withRoots(o.TLSConfig, roots)})
	single := all.Simple()
	single.Network = o.Network // a unix socket
	return redis.NewClient(single), nil
}

// limited has limits for all that may hang: go-redis waits for seconds by
// default, and longer than a context allows.
func limited(o redis.UniversalOptions) *redis.UniversalOptions {
	o.ContextTimeoutEnabled = true
	o.DialTimeout = 300 * time.Millisecond
	o.ReadTimeout = 500 * time.Millisecond
	o.WriteTimeout = 500 * time.Millisecond
	o.DialerRetries = 1
	o.MaxRetries = 1 // a connection that Redis closed while it was idle
	o.MinRetryBackoff = time.Millisecond
	o.MaxRetryBackoff = 5 * time.Millisecond
	o.ReadBufferSize, o.WriteBufferSize = 8<<10, 8<<10
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &o
}

// withRoots is c, if there is TLS, with the certificates that are to be trusted.
func withRoots(c *tls.Config, roots *x509.CertPool) *tls.Config {
	if c != nil && roots != nil {
		c.RootCAs = roots
	}
	return c
}

// rootsOf reads a file of certificates; nil for no file.
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
