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

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
)

// redis looks at Redis as the instances of that shop use it. If its id is not
// known ("") names of another shop stand in.
func (r *Report) redis(ctx context.Context, s serve.Settings, o Options, shop string) {
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	rdb, err := s.OpenRedis()
	if err != nil {
		r.bad(Error, "redis.url", "%v", err)
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
	if usable { // or each command would be said to be refused
		keys, _ := store.NamedShop(cmp.Or(shop, "doctor")).Keys()
		r.commands(ctx, rdb, keys)
		r.pubsub(ctx, rdb, keys, form == "cluster")
	}
}

func (r *Report) open(text string) {
	r.check(isOpen(text), Warning, "redis.open", "Redis is reached over a network, and asks for no password", "Redis asks for a password, or is near")
}

// isOpen: the URL names a server that is elsewhere, and has no password for it.
func isOpen(text string) bool {
	u, err := url.Parse(text)
	if err != nil || text == "" {
		return false
	}
	_, password := u.User.Password()
	return !password && u.Query().Get("password") == "" && !private(u.Hostname())
}

// refused: Redis answers, and does not let this user do that.
func refused(err error) bool { return strings.HasPrefix(err.Error(), "NOPERM") }

// noRedis says why there was no answer.
func (r *Report) noRedis(ctx context.Context, err error, address string) {
	said := err.Error()
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	switch {
	case has("NOAUTH", "WRONGPASS", "invalid password", "AUTH "):
		r.bad(Error, "redis.login", "Redis does not let the user in: %s", said)
		return
	case isTLS(err):
		r.bad(Error, "redis.tls", "TLS: %s", said)
		return
	case has("CLUSTERDOWN", "cluster support disabled", "MOVED", "all sentinels", "no sentinel", "IDONTKNOW"):
		r.bad(Error, "redis.mode", "what answers is not of the form that --redis says: %s", said)
		return
	}
	u, _ := url.Parse(address) // which it is: a client was made of it
	encrypts := strings.HasPrefix(u.Scheme, "rediss")
	switch g := greet(ctx, u.Host); {
	case strings.HasPrefix(g.says, "-DENIED"):
		r.bad(Error, "redis.protected", "Redis is in protected mode, and takes connections of its own machine only")
	case g.listens && g.tls && !encrypts:
		r.bad(Error, "redis.tls", "what answers speaks TLS, and --redis is redis://")
	case g.listens && !g.tls && encrypts:
		r.bad(Error, "redis.tls", "what answers speaks no TLS, and --redis is rediss://: %s", said)
	default:
		r.bad(Error, "redis.reach", "Redis does not answer: %s", said)
	}
}

// A greeting is what can be seen of a server before anything is said to it.
type greeting struct {
	listens bool
	says    string // by itself
	tls     bool   // it shakes hands, with whatever certificate
}

// greet looks who is there: a client only says that it could not talk to it.
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
	n, _ := conn.Read(line) // mostly it says nothing
	conn.Close()
	g.says = string(line[:n])
	if conn, err = dialer.DialContext(ctx, "tcp", address); err != nil {
		return g
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	g.tls = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) == nil // nothing is said to it
	return g
}

// formOf is how many servers the URL is of: single, sentinel or cluster.
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

// nodesOf are the primaries.
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

// node looks at one primary. It is usable if it is one.
func (r *Report) node(ctx context.Context, rdb redis.UniversalClient, form string) (usable bool) {
	text, err := rdb.Info(ctx).Result()
	if err != nil {
		r.bad(Warning, "redis.version", "it cannot be seen what Redis this is: INFO: %v", err)
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

// readInfo has the fields of INFO.
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
		r.bad(Warning, "redis.version", "%s says that its version is %q", name, info["redis_version"])
	case major < least[0] || major == least[0] && minor < least[1]:
		r.bad(Error, "redis.version", "%s %s is older than %d.%d", name, info["redis_version"], least[0], least[1])
	default:
		r.ok("redis.version", "%s %s", name, info["redis_version"])
	}
}

// mode holds what answers against what the URL says.
func (r *Report) mode(info map[string]string, form string) (fits bool) {
	mode := info["redis_mode"] // standalone, sentinel or cluster
	switch {
	case mode == "sentinel":
		r.bad(Error, "redis.mode", "what answers is a sentinel, and --redis names no master_name")
	case mode == "cluster" && form != "cluster":
		r.bad(Error, "redis.mode", "what answers is a node of a Cluster, and --redis is of a single server")
	case info["role"] == "slave":
		r.bad(Error, "redis.mode", "what answers is a replica (of %s:%s)", info["master_host"], info["master_port"])
	default:
		r.ok("redis.mode", "%s, a primary", cmp.Or(mode, "standalone"))
		return true
	}
	return false
}

// memory: all that Shelfcast keeps in Redis expires and may be lost, so a Redis
// that is full is to drop something rather than to refuse what is new.
func (r *Report) memory(info map[string]string) {
	most, _ := strconv.ParseInt(info["maxmemory"], 10, 64)
	policy := info["maxmemory_policy"]
	if most == 0 {
		r.bad(Warning, "redis.memory", "Redis has no maxmemory")
		return
	}
	r.ok("redis.memory", "%d MiB", most>>20)
	r.check(policy == "noeviction", Warning, "redis.eviction", "a Redis that is full refuses writes (noeviction)", policy)
}

// outputs is what a burst may put before a subscriber: versions of a reprice of
// 10,000 products (450 KB) and a census of as many (200 KB), and as much again.
const outputs = 1 << 20

// outputBuffer looks at how much Redis keeps for a subscriber that is behind.
func (r *Report) outputBuffer(ctx context.Context, rdb redis.UniversalClient) {
	const code = "redis.output_buffer"
	said, err := rdb.ConfigGet(ctx, "client-output-buffer-limit").Result()
	if err != nil {
		r.ok(code, "not to be seen (%v); a provider's default is ample", firstWords(err))
		return
	}
	hard, soft, seconds, ok := pubsubLimit(said["client-output-buffer-limit"])
	switch {
	case !ok:
		r.ok(code, "not to be seen")
	case hard > 0 && hard < outputs, soft > 0 && soft < outputs/4:
		r.bad(Warning, code, "Redis cuts a subscriber that is %d bytes behind, or %d for %d s", hard, soft, seconds)
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

// noScript is the hash of no script: whoever may call scripts is told so.
const noScript = "0000000000000000000000000000000000000000"

// commands tries each command that an instance uses, on each kind of key, in a way
// that changes nothing: a SET with XX of a key that is not there asks for the
// right and for memory, and writes nothing; nor is there a script to be kept.
func (r *Report) commands(ctx context.Context, rdb redis.UniversalClient, keys store.Keys) {
	name := "{doctor-" + rand.Text() + "}" // one slot
	var denied []string
	full := false
	try := func(what string, err error) {
		switch {
		case err == nil, errors.Is(err, redis.Nil), strings.HasPrefix(err.Error(), "NOSCRIPT"):
		case refused(err):
			denied = append(denied, what)
		case strings.HasPrefix(err.Error(), "OOM"):
			full = true
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
	r.check(full, Error, "redis.full", "Redis is full, and refuses writes", "Redis takes writes")
	r.check(len(denied) > 0, Error, "redis.rights", "the user may not: "+strings.Join(denied, ", "), "the user may do what an instance does")
}

// firstWords are of an error of Redis: what it adds may be long.
func firstWords(err error) string { return fmt.Sprintf("%.120s", err) }

// wait is for what comes back at once, if it comes.
const wait = 2 * time.Second

// pubsub subscribes to the channels of an instance, and waits for what it
// publishes to itself on the channel of an inbox that nobody else has.
func (r *Report) pubsub(ctx context.Context, rdb redis.UniversalClient, keys store.Keys, sharded bool) {
	const code = "redis.pubsub"
	channel, inbox := keys.Channel(), keys.Beside("probe:doctor-"+rand.Text())
	subscription := rdb.Subscribe(ctx)
	defer subscription.Close()
	subscribe, publish := subscription.Subscribe, rdb.Publish
	if sharded {
		subscribe, publish = subscription.SSubscribe, rdb.SPublish
	}
	channels := []string{channel, keys.Beside("census"), keys.Beside("broadcast"), inbox}
	err := subscribe(ctx, channels...)
	for confirmed := 0; err == nil && confirmed < len(channels); confirmed++ {
		_, err = subscription.ReceiveTimeout(ctx, wait)
	}
	if err != nil {
		r.bad(Error, code, "an instance's channels (%s, %s) cannot be subscribed to: %v", channel, keys.Beside("*"), err)
		return
	}
	if err := publish(ctx, inbox, "doctor").Err(); err != nil {
		r.bad(Error, code, "nothing can be published on %s: %v", keys.Beside("*"), err)
		return
	}
	for {
		message, err := subscription.ReceiveTimeout(ctx, wait)
		if err != nil {
			r.bad(Error, code, "what is published does not come back within %v: %v", wait, err)
			return
		}
		if m, ok := message.(*redis.Message); ok && m.Channel == inbox {
			r.ok(code, "what is published comes back")
			return
		}
	}
}
