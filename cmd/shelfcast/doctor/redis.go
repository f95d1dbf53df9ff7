package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"shelfcast/server"
	"shelfcast/store"
)

// redis checks Redis as the instances of that shop use it. If the shop's id is unknown
// (""), it uses the keys of another one.
func (r *Report) redis(ctx context.Context, s server.Settings, o Options, shop string) {
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	rdb, err := s.OpenRedis()
	if err != nil {
		r.add(Error, "redis.url", "%v", err)
		return
	}
	defer rdb.Close()
	if err := rdb.Ping(ctx).Err(); err != nil && !refused(err) {
		r.noRedis(ctx, err, s.Redis)
		return
	}
	r.ok("redis.reach", "Redis answers")
	r.open(s.Redis)
	form, usable := formOf(s.Redis), true
	nodes := nodesOf(ctx, rdb)
	for _, n := range nodes {
		first := len(r.Findings)
		usable = r.node(ctx, n.client, form) && usable
		for i := first; i < len(r.Findings) && len(nodes) > 1; i++ {
			r.Findings[i].What = n.addr + ": " + r.Findings[i].What
		}
	}
	if usable { // otherwise each command would be reported as refused
		keys, _ := store.NamedShop(cmp.Or(shop, "doctor")).Keys()
		r.commands(ctx, rdb, keys)
		r.pubsub(ctx, rdb, keys, form == "cluster")
	}
}

func (r *Report) open(text string) {
	r.check(isOpen(text), Warning, "redis.open", "Redis is on a network and requires no password",
		"Redis requires a password, or is on a private network")
}

// isOpen reports whether the URL names a server that is not private, without a password.
func isOpen(text string) bool {
	u, err := url.Parse(text)
	if err != nil || text == "" {
		return false
	}
	_, password := u.User.Password()
	return !password && u.Query().Get("password") == "" && !private(u.Hostname())
}

// refused reports whether this user lacks permission for a command.
func refused(err error) bool { return strings.HasPrefix(err.Error(), "NOPERM") }

// noRedis reports why Redis did not respond.
func (r *Report) noRedis(ctx context.Context, err error, address string) {
	said := err.Error()
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	switch {
	case has("NOAUTH", "WRONGPASS", "invalid password", "AUTH "):
		r.add(Error, "redis.login", "Redis rejects the login: %s", said)
		return
	case isTLS(err):
		r.add(Error, "redis.tls", "TLS: %s", said)
		return
	case has("LOADING "):
		r.add(Error, "redis.loading", "Redis is loading its data: %s", said)
		return
	case has("MISCONF "):
		r.add(Error, "redis.saving", "Redis cannot save to disk and rejects writes: %s", said)
		return
	case has("CLUSTERDOWN", "cluster support disabled", "MOVED", "all sentinels", "no sentinel", "IDONTKNOW"):
		r.add(Error, "redis.mode", "the server is not of the kind that --redis names: %s", said)
		return
	}
	u, _ := url.Parse(address) // it is valid: a client was made from it
	encrypts := strings.HasPrefix(u.Scheme, "rediss")
	switch g := greet(ctx, u.Host); {
	case strings.HasPrefix(g.says, "-DENIED"):
		r.add(Error, "redis.protected", "Redis is in protected mode, and accepts only connections from its own machine")
	case g.listens && g.tls && !encrypts:
		r.add(Error, "redis.tls", "the server uses TLS, but --redis is redis://")
	case g.listens && !g.tls && encrypts:
		r.add(Error, "redis.tls", "the server does not use TLS, but --redis is rediss://: %s", said)
	default:
		r.add(Error, "redis.reach", "Redis does not answer: %s", said)
	}
}

// A greeting is what a server shows to any client.
type greeting struct {
	listens bool
	says    string // before any command
	tls     bool   // a TLS handshake succeeds, with any certificate
}

// greet connects to a server to see what it is, which the client's error does not show.
func greet(ctx context.Context, address string) (g greeting) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, "6379")
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return g
	}
	g.listens = true
	conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	line := make([]byte, 64)
	n, _ := conn.Read(line) // mostly times out
	conn.Close()
	g.says = string(line[:n])
	if conn, err = dialer.DialContext(ctx, "tcp", address); err != nil {
		return g
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	g.tls = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) == nil // no data is sent
	return g
}

// formOf returns the kind of Redis that the URL names: single, sentinel or cluster.
func formOf(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "single"
	case strings.HasSuffix(u.Scheme, "+cluster"):
		return "cluster"
	case u.Query().Has("master_name"):
		return "sentinel"
	}
	return "single"
}

// A node is one primary.
type node struct {
	client redis.UniversalClient
	addr   string
}

// nodesOf returns all primaries.
func nodesOf(ctx context.Context, rdb redis.UniversalClient) []node {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		return []node{{client: rdb}}
	}
	var mu sync.Mutex
	var all []node
	_ = cluster.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, node{master, master.Options().Addr})
		return nil
	})
	return all
}

// node checks one server, and reports whether it is a primary.
func (r *Report) node(ctx context.Context, rdb redis.UniversalClient, form string) (usable bool) {
	text, err := rdb.Info(ctx).Result()
	if err != nil {
		r.add(Warning, "redis.version", "the version of Redis is unknown: INFO: %v", err)
		return true
	}
	info := readInfo(text)
	r.redisVersion(info, form)
	if usable = r.mode(info, form); usable {
		r.memory(info)
		r.outputBuffer(ctx, rdb)
	}
	return usable
}

// readInfo returns the fields of INFO.
func readInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			info[name] = value
		}
	}
	return info
}

func (r *Report) redisVersion(info map[string]string, form string) {
	least := [2]int{6, 2}
	if form == "cluster" {
		least = [2]int{7, 0}
	}
	var major, minor int
	_, err := fmt.Sscanf(info["redis_version"], "%d.%d", &major, &minor)
	name := cmp.Or(info["server_name"], "redis")
	switch {
	case err != nil:
		r.add(Warning, "redis.version", "%s reports the version %q", name, info["redis_version"])
	case major < least[0] || major == least[0] && minor < least[1]:
		r.add(Error, "redis.version", "%s %s is older than %d.%d", name, info["redis_version"], least[0], least[1])
	default:
		r.ok("redis.version", "%s %s", name, info["redis_version"])
	}
}

// mode compares the server with what the URL names.
func (r *Report) mode(info map[string]string, form string) (fits bool) {
	// standalone, sentinel or cluster; the fields of Redis and of Valkey
	mode := cmp.Or(info["redis_mode"], info["server_mode"])
	switch {
	case mode == "sentinel":
		r.add(Error, "redis.mode", "the server is a sentinel, but --redis has no master_name")
	case mode == "cluster" && form != "cluster":
		r.add(Error, "redis.mode", "the server is a node of a Cluster, but --redis names a single server")
	case info["role"] == "slave":
		r.add(Error, "redis.mode", "the server is a replica (of %s:%s)", info["master_host"], info["master_port"])
	default:
		r.ok("redis.mode", "%s, a primary", cmp.Or(mode, "standalone"))
		return true
	}
	return false
}

// memory checks maxmemory and its policy. All keys of Shelfcast expire and may be lost,
// so a full Redis should evict keys instead of rejecting writes.
func (r *Report) memory(info map[string]string) {
	most, _ := strconv.ParseInt(info["maxmemory"], 10, 64)
	policy := info["maxmemory_policy"]
	if most == 0 {
		r.add(Warning, "redis.memory", "Redis has no maxmemory")
		return
	}
	r.ok("redis.memory", "%d MiB", most>>20)
	r.check(policy == "noeviction", Warning, "redis.eviction", "Redis rejects writes when it is full (noeviction)", policy)
}

// outputs is the largest backlog of a subscriber after a burst: the versions of a reprice
// of 10,000 products (450 KB), the watcher counts of as many (200 KB), and as much again.
const outputs = 1 << 20

// outputBuffer checks how much output Redis keeps for a slow subscriber.
func (r *Report) outputBuffer(ctx context.Context, rdb redis.UniversalClient) {
	const code = "redis.output_buffer"
	said, err := rdb.ConfigGet(ctx, "client-output-buffer-limit").Result()
	if err != nil {
		r.ok(code, "unknown (%v); a provider's default is ample", firstWords(err))
		return
	}
	hard, soft, seconds, ok := pubsubLimit(said["client-output-buffer-limit"])
	switch {
	case !ok:
		r.ok(code, "unknown")
	case hard > 0 && hard < outputs, soft > 0 && soft < outputs/4:
		r.add(Warning, code, "Redis disconnects a subscriber with a backlog of %d bytes, or of %d for %d s",
			hard, soft, seconds)
	default:
		r.ok(code, "%d bytes, or %d for %d s; 0 is no limit", hard, soft, seconds)
	}
}

// pubsubLimit reads "normal 0 0 0 slave … pubsub 33554432 8388608 60".
func pubsubLimit(text string) (hard, soft, seconds int64, ok bool) {
	fields := strings.Fields(text)
	at := slices.Index(fields, "pubsub")
	if at < 0 || len(fields) < at+4 {
		return 0, 0, 0, false
	}
	var all [3]int64
	for i := range all {
		n, err := strconv.ParseInt(fields[at+1+i], 10, 64)
		if err != nil {
			return 0, 0, 0, false
		}
		all[i] = n
	}
	return all[0], all[1], all[2], true
}

// noScript is the hash of no script: a user that may run scripts gets NOSCRIPT.
const noScript = "0000000000000000000000000000000000000000"

// commands tries each command that an instance uses, on each kind of key, without
// changing anything: a SET with XX of a missing key needs permission and free memory, but
// writes nothing, and the script does not exist.
func (r *Report) commands(ctx context.Context, rdb redis.UniversalClient, keys store.Keys) {
	name := "{doctor-" + rand.Text() + "}" // one slot
	var denied []string
	full, unsaved := false, false
	try := func(what string, err error) {
		switch {
		case err == nil, errors.Is(err, redis.Nil), strings.HasPrefix(err.Error(), "NOSCRIPT"):
		case refused(err):
			denied = append(denied, what)
		case strings.HasPrefix(err.Error(), "OOM"):
			full = true
		case strings.HasPrefix(err.Error(), "MISCONF"):
			unsaved = true
		default:
			denied = append(denied, fmt.Sprintf("%s (%v)", what, firstWords(err)))
		}
	}
	for _, kind := range []string{"fragment:", "current:", "lease:", "ratelimit:"} {
		key := keys.Key(kind + name)
		try("GET "+kind+"*", rdb.Get(ctx, key).Err())
		try("SET "+kind+"*", rdb.SetArgs(ctx, key, "1", redis.SetArgs{Mode: "XX", TTL: time.Second}).Err())
		try("EVALSHA "+kind+"*", rdb.EvalSha(ctx, noScript, []string{key}).Err())
	}
	try("DEL lease:*", rdb.Del(ctx, keys.Key("lease:"+name)).Err())
	try("UNLINK current:*", rdb.Unlink(ctx, keys.Key("current:"+name)).Err())
	try("SCAN", rdb.Scan(ctx, 0, keys.Key("current:"+name), 1).Err())
	try("TIME", rdb.Time(ctx).Err())
	r.check(unsaved, Error, "redis.saving", "Redis cannot save to disk and rejects writes",
		"saving to disk does not prevent writes")
	r.check(full, Error, "redis.full", "Redis is full and rejects writes", "Redis accepts writes")
	r.check(len(denied) > 0, Error, "redis.rights", "the user lacks permission to: "+strings.Join(denied, ", "),
		"the user has the permissions that an instance needs")
}

// firstWords returns the beginning of an error of Redis, which may be long.
func firstWords(err error) string { return fmt.Sprintf("%.120s", err) }

// wait is the timeout for messages, which normally arrive at once.
const wait = 2 * time.Second

// pubsub subscribes to the channels of an instance, and waits for its own message on a
// channel that no other program uses.
func (r *Report) pubsub(ctx context.Context, rdb redis.UniversalClient, keys store.Keys, sharded bool) {
	const code = "redis.pubsub"
	channel, inbox := keys.Channel(), keys.SiblingChannel("inbox:doctor-"+rand.Text())
	subscription := rdb.Subscribe(ctx)
	defer subscription.Close()
	subscribe, publish := subscription.Subscribe, rdb.Publish
	if sharded {
		subscribe, publish = subscription.SSubscribe, rdb.SPublish
	}
	channels := []string{channel, keys.SiblingChannel("watcher-count"), keys.SiblingChannel("broadcast"), inbox}
	err := subscribe(ctx, channels...)
	for confirmed := 0; err == nil && confirmed < len(channels); confirmed++ {
		_, err = subscription.ReceiveTimeout(ctx, wait)
	}
	if err != nil {
		r.add(Error, code, "subscribing to the channels of an instance (%s, %s) failed: %v",
			channel, keys.SiblingChannel("*"), err)
		return
	}
	if err := publish(ctx, inbox, "doctor").Err(); err != nil {
		r.add(Error, code, "publishing on %s failed: %v", keys.SiblingChannel("*"), err)
		return
	}
	for {
		message, err := subscription.ReceiveTimeout(ctx, wait)
		if err != nil {
			r.add(Error, code, "a published message did not arrive within %v: %v", wait, err)
			return
		}
		if m, ok := message.(*redis.Message); ok && m.Channel == inbox {
			r.ok(code, "published messages arrive")
			return
		}
	}
}
