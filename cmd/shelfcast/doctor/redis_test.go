package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"shelfcast/testkit"
)

// heard is what is found of that Redis, and of nothing else.
func heard(t *testing.T, url, ca string) Report {
	t.Helper()
	s := settled()
	s.Redis, s.RedisCA = url, ca
	var r Report
	r.redis(t.Context(), s, Options{Limit: 10 * time.Second}, "k3xq")
	return r
}

// A Redis for each flag that is wrong.
func TestRedisServerFindings(t *testing.T) {
	for what, c := range map[string]struct {
		flags []string
		want  map[string]Severity
		says  string
	}{
		"as it should be":         {sound, nil, ""},
		"that drops by frequency": {[]string{"--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lfu"}, nil, ""},
		"that drops what expires": {[]string{"--maxmemory", "64mb", "--maxmemory-policy", "volatile-ttl"}, nil, ""},
		"that drops nothing": {[]string{"--maxmemory", "64mb", "--maxmemory-policy", "noeviction"},
			one("redis.eviction", Warning), "noeviction"},
		"without a bound": {nil, one("redis.memory", Warning), "no maxmemory"},
		"that is full": {[]string{"--maxmemory", "1kb", "--maxmemory-policy", "noeviction"},
			map[string]Severity{"redis.full": Error, "redis.eviction": Warning}, "rejects writes"},
		"with small buffers": {append([]string{"--client-output-buffer-limit", "pubsub", "64kb", "16kb", "5"},
			sound...), one("redis.output_buffer", Warning), "65536 bytes, or of 16384 for 5 s"},
		"with a small soft buffer": {append([]string{"--client-output-buffer-limit", "pubsub", "32mb", "64kb", "5"},
			sound...), one("redis.output_buffer", Warning), "or of 65536 for 5 s"},
		"with no bound on buffers": {append([]string{"--client-output-buffer-limit", "pubsub", "0", "0", "0"}, sound...),
			nil, ""},
		"that asks for a password": {append([]string{"--requirepass", password}, sound...),
			one("redis.login", Error), "NOAUTH"},
		"a node of a Cluster": {append([]string{"--cluster-enabled", "yes", "--cluster-port",
			fmt.Sprint(testkit.FreePort(t))}, sound...), one("redis.mode", Error), "a node of a Cluster"},
	} {
		t.Run(what, func(t *testing.T) {
			wrong(t, heard(t, testkit.StartRedis(t, c.flags...).URL(), ""), c.want, c.says)
		})
	}
}

// A Redis in states that it gets into.
func TestRedisStateFindings(t *testing.T) {
	server := testkit.StartRedis(t, sound...)
	server.FailSaves()
	wrong(t, heard(t, server.URL(), ""), one("redis.saving", Error), "cannot save")
	r := Report{}
	r.noRedis(t.Context(), errors.New("LOADING Redis is loading the dataset in memory"), "redis://127.0.0.1:1")
	wrong(t, r, one("redis.loading", Error), "is loading")
}

// A user for each right that is missing.
func TestRedisACLFindings(t *testing.T) {
	server := testkit.StartRedis(t, append([]string{"--requirepass", "root of the tests"}, sound...)...)
	root := redis.NewClient(&redis.Options{Addr: server.Addr(), Password: "root of the tests"})
	t.Cleanup(func() { root.Close() })
	url := "redis://shop:" + password + "@" + server.Addr() + "/0"
	const (
		keys     = "~shelfcast:k3xq:*"
		channels = "&product_updates:* &{product_updates:*"
		commands = "+get +set +del +unlink +scan +eval +evalsha +time +ping +publish +subscribe +unsubscribe"
		looks    = "+info +config|get"
	)
	for what, c := range map[string]struct {
		rules string
		want  map[string]Severity
		says  []string
	}{
		"the explanation's ACL": {strings.Join([]string{keys, channels, commands, looks}, " "), nil, nil},
		"no INFO": {strings.Join([]string{keys, channels, commands}, " "), one("redis.version", Warning),
			[]string{"is unknown"}},
		"no CONFIG": {strings.Join([]string{keys, channels, commands, "+info"}, " "), nil, nil},
		"no PUBLISH": {strings.Join([]string{keys, channels, commands, looks, "-publish"}, " "),
			one("redis.pubsub", Error), []string{"publishing on"}},
		"no SUBSCRIBE": {strings.Join([]string{keys, channels, commands, looks, "-subscribe"}, " "),
			one("redis.pubsub", Error), []string{"subscribing to the channels"}},
		"no channels": {strings.Join([]string{keys, commands, looks}, " "),
			one("redis.pubsub", Error), []string{"NOPERM"}},
		"no inbox": {strings.Join([]string{keys, "&product_updates:*", commands, looks}, " "),
			one("redis.pubsub", Error), []string{"NOPERM"}},
		"no news": {strings.Join([]string{keys, "&{product_updates:*", commands, looks}, " "),
			one("redis.pubsub", Error), []string{"NOPERM"}},
		"fragments only": {strings.Join([]string{"~shelfcast:k3xq:fragment:*", channels, commands, looks}, " "),
			one("redis.rights", Error), []string{"GET current:*", "SET lease:*", "EVALSHA ratelimit:*"}},
		"of another shop": {strings.Join([]string{"~shelfcast:other:*", channels, commands, looks}, " "),
			one("redis.rights", Error), []string{"GET fragment:*"}},
		"only to read": {strings.Join([]string{"%R~*", channels, commands, looks}, " "), one("redis.rights", Error),
			[]string{"SET fragment:*", "DEL lease:*"}},
		"no scripts": {strings.Join([]string{keys, channels, commands, looks, "-@scripting"}, " "),
			one("redis.rights", Error), []string{"EVALSHA current:*"}},
		"no SCAN, no TIME": {strings.Join([]string{keys, channels, commands, looks, "-scan -time"}, " "),
			one("redis.rights", Error), []string{"the user lacks permission to: SCAN, TIME\n"}},
		"no PING": {strings.Join([]string{keys, channels, commands, looks, "-ping"}, " "), nil, nil},
	} {
		t.Run(what, func(t *testing.T) {
			args := []any{"ACL", "SETUSER", "shop", "reset", "on", ">" + password}
			for rule := range strings.FieldsSeq(c.rules) {
				args = append(args, rule)
			}
			if err := root.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
			wrong(t, heard(t, url, ""), c.want, c.says...)
		})
	}
	for what, wrongURL := range map[string]string{
		"another password": strings.Replace(url, password, password+"x", 1),
		"another user":     strings.Replace(url, "//shop", "//nobody", 1),
	} {
		r := heard(t, wrongURL, "")
		wrong(t, r, one("redis.login", Error), "WRONGPASS")
		if text := fmt.Sprint(r); strings.Contains(text, password) {
			t.Errorf("%s: it shows the password: %s", what, text)
		}
	}
}

func TestRedisConnectionFindings(t *testing.T) {
	plain := testkit.StartRedis(t, sound...)
	secure, ca := testkit.StartRedisTLS(t)
	otherCA, _, _ := testkit.Certificates(t)
	for what, c := range map[string]struct {
		url, ca string
		want    map[string]Severity
		says    string
	}{
		"a URL that is none": {"redis://:pass word@x", "", one("redis.url", Error), "not a valid URL"},
		"nobody there": {fmt.Sprint("redis://127.0.0.1:", testkit.FreePort(t)), "",
			one("redis.reach", Error), "refused"},
		"TLS, and none is spoken": {"redis://:secret@" + secure.Addr(), "", one("redis.tls", Error), "the server uses TLS"},
		"TLS of somebody else":    {"rediss://:secret@" + secure.Addr(), otherCA, one("redis.tls", Error), "certificate"},
		"TLS where there is none": {"rediss://" + plain.Addr(), "", one("redis.tls", Error), "does not use TLS"},
		"TLS":                     {"rediss://:secret@" + secure.Addr(), ca, one("redis.memory", Warning), ""},
		"a Cluster that is none": {"redis+cluster://" + plain.Addr(), "", one("redis.mode", Error),
			"cluster support disabled"},
		"protected mode": {"redis://" + protected(t), "", one("redis.protected", Error), "protected mode"},
	} {
		t.Run(what, func(t *testing.T) { wrong(t, heard(t, c.url, c.ca), c.want, c.says) })
	}
}

// protected says what a Redis in protected mode says to other machines, which no
// test on one machine is, and as it does: at once, and then it hangs up.
func protected(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "-DENIED Redis is running in protected mode because protected mode is enabled "+
				"and no password is set for the default user.\r\n")
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// Sentinels, and what they watch over.
func TestSentinelFindings(t *testing.T) {
	fleet := testkit.StartSentinel(t)
	wrong(t, heard(t, fleet.URL(), ""), one("redis.memory", Warning))
	sentinel, _, _ := strings.Cut(fleet.URL(), "?")
	wrong(t, heard(t, sentinel, ""), one("redis.mode", Error), "a sentinel")
	wrong(t, heard(t, fleet.Replica.URL(), ""), one("redis.mode", Error), "a replica (of 127.0.0.1:")
	wrong(t, heard(t, strings.Replace(fleet.URL(), "=shop", "=nothing", 1), ""), one("redis.mode", Error))
}

func TestEveryClusterNodeIsChecked(t *testing.T) {
	cluster := testkit.StartRedisCluster(t)
	url := "redis+cluster" + strings.TrimPrefix(cluster.URL(), "redis")
	primaries := []string{}
	for _, node := range cluster.Nodes {
		client := redis.NewClient(&redis.Options{Addr: node.Addr()})
		t.Cleanup(func() { client.Close() })
		if info, err := client.Info(t.Context(), "replication").Result(); err != nil {
			t.Fatal(err)
		} else if strings.Contains(info, "role:master") {
			primaries = append(primaries, node.Addr()+": Redis has no maxmemory")
		}
		for name, value := range map[string]string{"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"} {
			if node == cluster.Nodes[0] {
				if err := client.ConfigSet(t.Context(), name, value).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	r := heard(t, url, "")
	wrong(t, r, one("redis.memory", Warning))
	if n := r.Count(Warning); n < len(primaries)-1 {
		t.Errorf("%d warnings for %v", n, primaries)
	}
}

// What Redis may say that none here does.
func TestRedisErrorsAreClassified(t *testing.T) {
	for what, c := range map[string]struct {
		info, form string
		want       map[string]Severity
	}{
		"old":                {"redis_version:6.0.16", "single", one("redis.version", Error)},
		"just new enough":    {"redis_version:6.2.0", "single", nil},
		"old, for a Cluster": {"redis_version:6.2.14", "cluster", one("redis.version", Error)},
		"Valkey":             {"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0", "cluster", nil},
		"something else":     {"redis_version:unknown", "single", one("redis.version", Warning)},
	} {
		var r Report
		r.redisVersion(readInfo("# Server\r\n"+c.info+"\r\n"), c.form)
		t.Run(what, func(t *testing.T) { wrong(t, r, c.want) })
	}
	for text, want := range map[string][3]int64{
		"normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60": {33554432, 8388608, 60},
		"normal 0 0 0 pubsub 0 0 0": {},
	} {
		if hard, soft, seconds, ok := pubsubLimit(text); [3]int64{hard, soft, seconds} != want || !ok {
			t.Errorf("%s: %d %d %d %t", text, hard, soft, seconds, ok)
		}
	}
	for _, text := range []string{"", "normal 0 0 0", "normal 0 0 0 pubsub 1 2", "pubsub a b c"} {
		if _, _, _, ok := pubsubLimit(text); ok {
			t.Errorf("%q is no limit", text)
		}
	}
}

// A Redis elsewhere that asks for no password. Its URL says that it is elsewhere.
func TestOpenRedisIsReported(t *testing.T) {
	for url, open := range map[string]bool{
		"redis://cache.example:6379/0": true, "redis://:pass@cache.example:6379/0": false,
		"redis://cache.example:6379/0?password=pass": false, "redis://127.0.0.1:6379/0": false, "redis://cache:6379": false,
		"redis://10.1.2.3:6379": false, "redis://8.8.4.4:6379": true,
	} {
		if got := isOpen(url); got != open {
			t.Errorf("%s: open is %t", url, got)
		}
	}
	var r Report
	r.open("redis://cache.example:6379/0")
	wrong(t, r, one("redis.open", Warning), "no password")
}

// Neither the database nor Redis is another one afterwards.
func TestDoctorChangesNothing(t *testing.T) {
	ctx := context.Background()
	server, cache := testkit.StartMySQL(t), testkit.StartRedis(t, sound...)
	s := settled()
	s.MySQL, s.Redis = migrated(t, server.Database(t)), cache.URL()
	rdb := redis.NewClient(&redis.Options{Addr: cache.Addr()})
	t.Cleanup(func() { rdb.Close() })
	if err := rdb.Set(ctx, "current:{1}", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		t.Helper()
		text, err := rdb.Info(ctx, "persistence", "memory", "keyspace").Result()
		if err != nil {
			t.Fatal(err)
		}
		info := readInfo(text)
		return fmt.Sprint(info["rdb_changes_since_last_save"], info["db0"], info["number_of_cached_scripts"])
	}
	before := state()
	server.Exec("SET GLOBAL log_output = 'TABLE'")
	server.Exec("SET GLOBAL general_log = ON")
	wrong(t, Examine(t.Context(), s, Options{}), nil)
	server.Exec("SET GLOBAL general_log = OFF")
	if after := state(); after != before {
		t.Errorf("Redis was %s, and is %s", before, after)
	}
	var said []string
	db := testkit.SQL(t, server.DSN("mysql"))
	rows, err := db.Query(`SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log ` +
		`WHERE command_type IN ('Query', 'Prepare', 'Execute')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var statement string
		if err := rows.Scan(&statement); err != nil {
			t.Fatal(err)
		}
		word, _, _ := strings.Cut(strings.TrimSpace(statement), " ")
		switch word {
		case "SELECT", "SHOW", "EXPLAIN":
			said = append(said, statement)
		case "SET": // of the connection, as a DSN has it; or the test's own
			if strings.Contains(statement, "GLOBAL") && !strings.Contains(statement, "general_log") {
				t.Error(statement)
			}
		default:
			t.Errorf("it said %s", statement)
		}
	}
	if err := rows.Err(); err != nil || len(said) < 10 {
		t.Errorf("%v, and only %v", err, said)
	}
}

// Valkey calls the mode otherwise than Redis does.
func TestRedisModeIsRecognised(t *testing.T) {
	for _, name := range []string{"redis_mode", "server_mode"} {
		for _, mode := range []string{"sentinel", "cluster"} {
			r := &Report{}
			if r.mode(map[string]string{name: mode}, "single") {
				t.Errorf("%s:%s is taken for a single server", name, mode)
			}
		}
	}
}
