package testkit

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A Sentinel is a Redis primary with a replica and three sentinels, which promote the
// replica when the primary fails.
type Sentinel struct {
	Primary, Replica *RedisServer
	sentinels        []*RedisServer
}

// URL returns the URL of the sentinels, for redis.ParseFailoverURL.
func (s *Sentinel) URL() string {
	url := "redis://" + s.sentinels[0].addr + "/0?master_name=shop"
	for _, other := range s.sentinels[1:] {
		url += "&addr=" + other.addr
	}
	return url
}

// StartSentinel starts a Sentinel, which ends with the test.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	s := &Sentinel{Primary: StartRedis(t, syncNow...)}
	host, port, _ := net.SplitHostPort(s.Primary.addr)
	s.Replica = StartRedis(t, append([]string{"--replicaof", host + " " + port}, syncNow...)...)
	waitForSync(t, s.Replica)
	for range 3 {
		s.sentinels = append(s.sentinels, startRedis(t, pong, func(dir string, at int) []string {
			file := filepath.Join(dir, "sentinel.conf") // sentinels write to it
			text := fmt.Sprintf("port %d\nsentinel monitor shop %s %s 2\n"+
				"sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 3000\n", at, host, port)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{file, "--sentinel"}
		}))
	}
	for _, one := range s.sentinels {
		Eventually(t, "the sentinels know each other and the replica", func() bool {
			out := redisCLI(t, one.addr, "SENTINEL", "MASTER", "shop")
			return field(out, "num-slaves") == "1" && field(out, "num-other-sentinels") == "2"
		})
	}
	return s
}

// syncNow makes a primary send the first copy without waiting for other replicas.
var syncNow = []string{"--repl-diskless-sync-delay", "0"}

// waitForSync waits until a replica has its first copy: without one it is never
// promoted.
func waitForSync(t testing.TB, replica *RedisServer) {
	t.Helper()
	Eventually(t, "the replica has its copy", func() bool {
		return strings.Contains(redisCLI(t, replica.addr, "INFO", "replication"), "master_link_status:up")
	})
}

// field returns the line after the one with the name.
func field(out, name string) string {
	lines := strings.Split(out, "\n")
	for i := range len(lines) - 1 {
		if strings.TrimSpace(lines[i]) == name {
			return strings.TrimSpace(lines[i+1])
		}
	}
	return ""
}

// redisCLI returns the answer of a Redis to a command, as text.
func redisCLI(t testing.TB, addr string, args ...string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	out, _ := exec.Command(find(t, "redis-tools", "redis-cli"),
		append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	return string(out)
}

// A RedisCluster has three primaries with a replica each.
type RedisCluster struct {
	Nodes []*RedisServer
	t     testing.TB
}

// URL returns a URL for redis.ParseClusterURL.
func (c *RedisCluster) URL() string {
	url := "redis://" + c.Nodes[0].addr
	for i, node := range c.Nodes[1:] {
		url += string("?&"[min(i, 1)]) + "addr=" + node.addr
	}
	return url
}

// StartRedisCluster starts a RedisCluster, which ends with the test.
func StartRedisCluster(t testing.TB) *RedisCluster {
	t.Helper()
	c := &RedisCluster{t: t}
	create := []string{"--cluster", "create"}
	for range 6 {
		node := startRedis(t, pong, func(dir string, port int) []string {
			return append([]string{"--port", strconv.Itoa(port), "--save", "", "--appendonly", "no", "--cluster-enabled", "yes",
				"--cluster-port", strconv.Itoa(FreePort(t)), "--cluster-node-timeout", "1000"}, syncNow...)
		})
		c.Nodes = append(c.Nodes, node)
		create = append(create, node.addr)
	}
	out, err := exec.Command(find(t, "redis-tools", "redis-cli"),
		append(create, "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, node := range c.Nodes {
		Eventually(t, "the cluster is whole", func() bool {
			info := redisCLI(t, node.addr, "CLUSTER", "INFO")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:6")
		})
		if strings.Contains(redisCLI(t, node.addr, "INFO", "replication"), "role:slave") {
			waitForSync(t, node)
		}
	}
	return c
}

// Owner returns the primary of the slot of a key or channel.
func (c *RedisCluster) Owner(key string) *RedisServer {
	c.t.Helper()
	slot := strings.TrimSpace(redisCLI(c.t, c.Nodes[0].addr, "CLUSTER", "KEYSLOT", key))
	n, err := strconv.Atoi(slot)
	if err != nil {
		c.t.Fatal(slot)
	}
	for line := range strings.Lines(redisCLI(c.t, c.Nodes[0].addr, "CLUSTER", "NODES")) {
		fields := strings.Fields(line)
		for _, span := range fields[min(8, len(fields)):] {
			var from, to int
			if _, err := fmt.Sscanf(span, "%d-%d", &from, &to); err != nil || n < from || n > to {
				continue
			}
			addr, _, _ := strings.Cut(fields[1], "@")
			for _, node := range c.Nodes {
				if node.addr == addr {
					return node
				}
			}
		}
	}
	c.t.Fatalf("no node has slot %d", n)
	return nil
}
